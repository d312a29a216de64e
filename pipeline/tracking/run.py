"""A run that is being written, with an explicit id: several may be open at once."""

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.data import numpy_dataset
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipeline.interrupts import undisturbed
from pipeline.masking import masked_addresses
from pipeline.networks.spec import Latents
from pipeline.tracking import views
from pipeline.tracking.models import describe_versions, log_model
from pipeline.tracking.store import reachable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST = 128  # times the shorter side of a logged image
PADDING = 235  # grey of what is added to it


@dataclass(frozen=True)
class Run:
    """An open run; every method writes to it at once."""

    id: str
    experiment_id: str
    client: mlflow.MlflowClient
    parent: "Run | None" = None

    @property
    def address(self) -> str:
        """The run's page: on the tracking server, or on the one that `make ui` starts."""
        page = f"{views.server()}/#/experiments/{self.experiment_id}/runs/{self.id}"
        return f"{page}?workflowType=machine_learning"

    def view(self, key: str) -> str:
        """The address of a view of the run's experiment; see `views`."""
        return views.address(self.experiment_id, key)

    @reachable()
    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters, leaving out those that `mlflow run` has logged as typed."""
        there = self.client.get_run(self.id).data.params
        missing = [
            Param(key, masked_addresses(str(value)))
            for key, value in values.items()
            if key not in there
        ]
        with undisturbed():
            self.client.log_batch(self.id, params=missing)

    @reachable()
    def metrics(
        self,
        values: Mapping[str, float],
        step: int = 0,
        *,
        model_id: str = "",
        dataset: tuple[str, str] = ("", ""),
    ) -> None:
        """Log metrics at a step (optimiser steps).

        model_id: of the logged model that they measure, if any.
        dataset: name and digest of the data that they are measured on, if any.
        """
        named = {"dataset_name": dataset[0] or None, "dataset_digest": dataset[1] or None}
        now = int(time.time() * 1000)
        batch = [
            Metric(key, float(value), now, step, model_id=model_id or None, run_id=self.id, **named)
            for key, value in values.items()
        ]
        with undisturbed():  # Ctrl-C inside a transaction would leave SQLite locked
            self.client.log_batch(self.id, metrics=batch)

    @reachable()
    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        with undisturbed():
            tags = [RunTag(key, masked_addresses(value)) for key, value in values.items()]
            self.client.log_batch(self.id, tags=tags)

    @reachable()
    def image(self, image: NDArray[np.uint8], key: str, step: int) -> None:
        """Log an image [h, w, 3] that the UI shows in its grid by key and step."""
        # MLflow 3.17.2 makes a small one of it, of no pixel where one side is that much longer.
        short = math.ceil(max(image.shape[:2]) / LONGEST)
        missing = [(0, max(0, short - side)) for side in image.shape[:2]]
        padded = np.pad(image, [*missing, (0, 0)], constant_values=PADDING)
        self.client.log_image(self.id, padded, key=key, step=step, synchronous=True)

    @reachable()
    def figure(self, figure: "Figure", path: str) -> None:
        """Log a matplotlib figure as an artifact."""
        self.client.log_figure(self.id, figure, path)

    @reachable()
    def text(self, text: str, path: str) -> None:
        """Log text as an artifact."""
        self.client.log_text(self.id, masked_addresses(text), path)

    @reachable()
    def table(self, frame: pd.DataFrame, path: str) -> None:
        """Log a table as an artifact, CSV or parquet by the ending of `path`."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(path).name
            if file.suffix == ".parquet":
                frame.to_parquet(file, index=False)
            else:
                frame.to_csv(file, index=False)
            inside = Path(path).parent
            self.client.log_artifact(self.id, str(file), str(inside) if inside.name else None)

    @reachable()
    def dataset(self, name: str, digest: str, images: NDArray[np.uint8]) -> None:
        """Log the training images as the run's input: name, digest and shape, no data."""
        entry = numpy_dataset.from_numpy(images, name=name, digest=digest)
        context = mlflow.entities.InputTag("mlflow.data.context", "training")
        entity = mlflow.entities.DatasetInput(entry._to_mlflow_entity(), [context])
        try:
            self.client.log_inputs(self.id, [entity])
        except MlflowException as error:
            # Of two first runs of an experiment at once mlflow 3.17.2 refuses one: each would
            # make the entry. By now it is there.
            if error.error_code != "BAD_REQUEST":
                raise
            self.client.log_inputs(self.id, [entity])

    @reachable()
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
    ) -> str:
        """Log a Keras model as a SavedModel, which loads without our code and without a pickle.

        Args:
            model: `call` takes what `example` shows.
            name: of the logged model; role: "classifier" or "generator".
            example: input, [n, …]; output: what the model gives for it.
            params, note: what the model's page says of it.
            class_names: kept with the model, of the classes 0..K-1 in this order.
            latents: kept with a generator, so that it can be fed after loading.
            register_as: name in the model registry.

        Returns:
            The logged model's id.
        """
        return log_model(
            self.client,
            self.experiment_id,
            self.id,
            model,
            name,
            role,
            example,
            output,
            params=params,
            note=note,
            class_names=class_names,
            latents=latents,
            register_as=register_as,
        )

    @reachable()
    def describe_versions(self, model_id: str, tags: Mapping[str, str], description: str) -> None:
        """Say on the registered versions of a logged model, if there are any, how good it is."""
        describe_versions(self.client, model_id, tags, description)
