"""A run that is being written, with an explicit id: several may be open at once.

Nothing here waits for the store: see `outbox`.
"""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.data import numpy_dataset
from numpy.typing import NDArray
from PIL import Image

from pipeline.masking import masked_addresses
from pipeline.networks.spec import Latents
from pipeline.tracking import models, views
from pipeline.tracking.faults import StoreAway
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.sending import described
from pipeline.tracking.store import reachable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SOON = 10.0  # seconds to wait for a store that is away, for an id that the terminal shows
LONGEST = 128  # times the shorter side of a logged image
PADDING = 235  # grey of what is added to it


def now() -> int:
    """The time as MLflow counts it: milliseconds since 1970."""
    return int(time.time() * 1000)


@dataclass(frozen=True)
class Run:
    """An open run. What is told of it is kept on disk at once and sent in order.

    Every method raises RunFailure if the store has refused something that was told before, or if
    no disk takes what is told.
    """

    id: str  # of a child that was begun while the store was away: what its spool calls it
    experiment_id: str
    client: mlflow.MlflowClient
    parent: "Run | None" = None

    @functools.cached_property
    def outbox(self) -> Outbox:
        """What sends the records of the run, and of its children."""
        if self.parent:
            return self.parent.outbox
        return Outbox(self.id, self.experiment_id, self.client)

    @property
    def address(self) -> str:
        """The run's page: on the tracking server, or on the one that `make ui` starts."""
        page = f"{views.server()}/#/experiments/{self.experiment_id}/runs/{self.id}"
        return f"{page}?workflowType=machine_learning"

    def view(self, key: str) -> str:
        """The address of a view of the run's experiment; see `views`."""
        return views.address(self.experiment_id, key)

    def first_step(self, prefix: str) -> int:
        """The first step that no metric of this prefix has."""
        return 0

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters, leaving out those that `mlflow run` has logged as typed."""
        shown = {key: masked_addresses(str(value)) for key, value in values.items()}
        self.outbox.put("params", self.id, values=shown)

    def metrics(
        self,
        values: Mapping[str, float],
        step: int = 0,
        *,
        model: str = "",
        dataset: tuple[str, str] = ("", ""),
    ) -> None:
        """Log metrics at a step (optimiser steps).

        model: that they measure, if any: its role in the run, or its id.
        dataset: name and digest of the data that they are measured on, if any.
        """
        numbers = {key: float(value) for key, value in values.items()}
        shown: Any = {"step": step, "time": now(), "model": model, "dataset": dataset}
        self.outbox.put("metrics", self.id, values=numbers, **shown)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        shown = {key: masked_addresses(value) for key, value in values.items()}
        self.outbox.put("tags", self.id, values=shown)

    def image(self, image: NDArray[np.uint8], key: str, step: int) -> None:
        """Log an image [h, w, 3] that the UI shows in its grid by key and step."""
        # MLflow 3.17.2 makes a small one of it, of no pixel where one side is that much longer.
        short = math.ceil(max(image.shape[:2]) / LONGEST)
        missing = [(0, max(0, short - side)) for side in image.shape[:2]]
        padded = np.pad(image, [*missing, (0, 0)], constant_values=PADDING)

        def write(folder: Path) -> None:
            Image.fromarray(padded).save(folder / "image.png")

        self.outbox.put("image", self.id, write, key=key, step=step, time=now())

    def figure(self, figure: "Figure", path: str) -> None:
        """Log a matplotlib figure as a PNG, an artifact."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        # `savefig` draws all a second time, to lay it out; the file is the same.
        self._artifact(path, FigureCanvasAgg(figure).print_png)

    def text(self, text: str, path: str) -> None:
        """Log text as an artifact."""
        shown = masked_addresses(text)
        self._artifact(path, lambda file: file.write_text(shown, encoding="utf-8"))

    def table(self, frame: pd.DataFrame, path: str) -> None:
        """Log a table as an artifact, CSV or parquet by the ending of `path`."""
        write = frame.to_parquet if path.endswith(".parquet") else frame.to_csv
        self._artifact(path, lambda file: write(file, index=False))

    def _artifact(self, path: str, write: Callable[[Path], object]) -> None:
        name = Path(path).name
        self.outbox.put("artifact", self.id, lambda folder: write(folder / name), path=path)

    def dataset(self, name: str, digest: str, images: NDArray[np.uint8]) -> None:
        """Log the training images as the run's input: name, digest and shape, no data."""
        entry = numpy_dataset.from_numpy(images, name=name, digest=digest)
        self.outbox.put("inputs", self.id, dataset=described(entry))

    def model(
        self,
        model: Any,
        name: str,
        role: str,
        example: NDArray[Any],
        output: NDArray[Any],
        *,
        params: Mapping[str, object],
        note: str,
        class_names: Sequence[str],
        latents: Latents | None = None,
        register_as: str | None = None,
    ) -> None:
        """Log a Keras model as a SavedModel, which loads without our code and without a pickle.

        A run that has one of this role already, whole, keeps it.

        Args:
            model: `call` takes what `example` shows.
            name: of the logged model; role: "classifier" or "generator".
            example: input, [n, …]; output: what the model gives for it.
            params, note: what the model's page says of it.
            class_names: kept with the model, of the classes 0..K-1 in this order.
            latents: kept with a generator, so that it can be fed after loading.
            register_as: name in the model registry.
        """

        def write(folder: Path) -> None:
            kept: Any = {"class_names": class_names, "latents": latents}
            models.save(folder / "model", model, example, output, **kept)

        shown = {key: str(value) for key, value in params.items()}
        told: Any = {"params": shown, "note": note, "register_as": register_as}
        self.outbox.put("model", self.id, write, name=name, role=role, **told)

    def model_id(self, role: str) -> str:
        """The id of the model of a role, "" if the store is away; waits for it."""
        with contextlib.suppress(StoreAway):
            if self.outbox.sent(SOON):
                with reachable():
                    return self.outbox.delivery.model_id(self.id, role)
        return ""

    def describe_versions(self, model: str, tags: Mapping[str, str], description: str) -> None:
        """Say on the registered versions of a model, if there are any, how good it is.

        model: its role in the run, or its id.
        """
        told: Any = {"tags": dict(tags), "description": description}
        self.outbox.put("versions", self.id, model=model, **told)
