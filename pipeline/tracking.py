"""The only importer of mlflow: runs with explicit ids, and what is read back from them.

Nothing here uses MLflow's process-global active run, so that several runs may be open at once
and in several processes.
"""

import contextlib
import io
import logging
import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A dead server would otherwise hold a run for minutes at every call.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")

import mlflow
import numpy as np
import pandas as pd
from mlflow.data import numpy_dataset
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipeline.errors import RunFailure, UserError
from pipeline.methods import Latents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logging.getLogger("mlflow").setLevel(logging.WARNING)

KIND = "ssgan.kind"
REASON = "ssgan.reason"
REASON_LENGTH = 5000  # characters that every store takes
SOURCE = "ssgan.source"
NOTE = "mlflow.note.content"
RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")  # what `mlflow run` calls a run by itself
REQUIREMENTS = ("mlflow", "numpy", "tensorflow")  # what a logged model needs to be served


@contextmanager
def _store() -> Iterator[None]:
    """Tell a store that cannot be used in one line."""
    try:
        yield
    except (MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"the MLflow store {mlflow.get_tracking_uri()} cannot be used ({reason}); set "
            "MLFLOW_TRACKING_URI to one that can be written, e.g. sqlite:////tmp/mlflow.db."
        ) from None


@dataclass(frozen=True)
class Run:
    """An open run; every method writes to it at once."""

    id: str
    experiment_id: str
    client: mlflow.MlflowClient
    parent: "Run | None" = None

    @property
    def address(self) -> str:
        """The run's page, to be put behind the MLflow UI's own address."""
        page = f"#/experiments/{self.experiment_id}/runs/{self.id}"
        return f"{page}?workflowType=machine_learning"

    @_store()
    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters, leaving out those that `mlflow run` has logged as typed."""
        there = self.client.get_run(self.id).data.params
        missing = [Param(key, str(value)) for key, value in values.items() if key not in there]
        self.client.log_batch(self.id, params=missing)

    @_store()
    def metrics(self, values: Mapping[str, float], step: int = 0, model_id: str = "") -> None:
        """Log metrics at a step (optimiser steps), tied to a logged model if one is named."""
        now = int(time.time() * 1000)
        batch = [
            Metric(key, float(value), now, step, model_id=model_id or None)
            for key, value in values.items()
        ]
        self.client.log_batch(self.id, metrics=batch)

    @_store()
    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        self.client.log_batch(self.id, tags=[RunTag(key, value) for key, value in values.items()])

    @_store()
    def image(self, image: NDArray[np.uint8], key: str, step: int) -> None:
        """Log an image [h, w, 3] that the UI shows in its grid by key and step."""
        self.client.log_image(self.id, image, key=key, step=step, synchronous=True)

    @_store()
    def figure(self, figure: "Figure", path: str) -> None:
        """Log a matplotlib figure as an artifact."""
        self.client.log_figure(self.id, figure, path)

    @_store()
    def text(self, text: str, path: str) -> None:
        """Log text as an artifact."""
        self.client.log_text(self.id, text, path)

    @_store()
    def table(self, frame: pd.DataFrame, path: str) -> None:
        """Log a table as an artifact, CSV or parquet by the ending of `path`."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(path).name
            if file.suffix == ".parquet":
                frame.to_parquet(file, index=False)
            else:
                frame.to_csv(file, index=False)
            self.client.log_artifact(self.id, str(file), str(Path(path).parent))

    @_store()
    def dataset(self, name: str, digest: str, images: NDArray[np.uint8]) -> None:
        """Log the training images as the run's input: name, digest and shape, no data."""
        entry = numpy_dataset.from_numpy(images, name=name, digest=digest)
        context = mlflow.entities.InputTag("mlflow.data.context", "training")
        entity = mlflow.entities.DatasetInput(entry._to_mlflow_entity(), [context])
        self.client.log_inputs(self.id, [entity])

    @_store()
    def model(
        self,
        model: Any,
        name: str,
        example: NDArray[Any],
        output: NDArray[Any],
        *,
        latents: Latents | None = None,
        register_as: str | None = None,
    ) -> str:
        """Log a Keras model as a SavedModel, which loads without our code and without a pickle.

        Args:
            model: `call` takes what `example` shows.
            name: of the logged model, "classifier" or "generator".
            example: input, [n, …]; output: what the model gives for it.
            latents: kept with a generator, so that it can be fed after loading.
            register_as: name in the model registry.

        Returns:
            The logged model's id.
        """
        from mlflow.models import Model, ModelSignature
        from mlflow.types import Schema, TensorSpec

        signature = ModelSignature(
            Schema([TensorSpec(example.dtype, (-1, *example.shape[1:]))]),
            Schema([TensorSpec(output.dtype, (-1, *output.shape[1:]))]),
        )
        # Made here, because Model.log would make it in the process-global experiment.
        entry = self.client.create_logged_model(self.experiment_id, name, source_run_id=self.id)
        Model.log(
            artifact_path=None,
            name=name,
            model_id=entry.model_id,
            flavor=_KerasFlavor,
            run_id=self.id,
            model=model,
            save_exported_model=True,
            signature=signature,
            input_example=example,
            pip_requirements=_requirements(),
            metadata={"latents": asdict(latents)} if latents else None,
            validate_serving_input=False,
            registered_model_name=register_as,
        )
        return str(entry.model_id)


@dataclass(frozen=True)
class LoadedModel:
    """A logged model read back."""

    id: str
    call: Any  # one array in, one tensor out
    latents: Latents | None  # what a generator is fed


class _KerasFlavor:
    """mlflow.keras, with the folder made in which it wants to put the input example.

    mlflow 3.17.2 fails on an input example without it. The validation by loading the model back
    is left out: a test does it once, every run would pay for it.
    """

    @staticmethod
    def save_model(path: str, validate_serving_input: bool, **arguments: Any) -> None:
        """Save as `mlflow.keras.save_model` does."""
        import mlflow.keras

        Path(path).mkdir(parents=True)
        with contextlib.redirect_stdout(io.StringIO()):  # Keras prints what it exports
            mlflow.keras.save_model(path=path, **arguments)


@contextmanager
def open_run(
    kind: str,
    *,
    experiment: str,
    name: str,
    keep_name: bool = False,
    parent: Run | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Open a run and end it: FINISHED, FAILED with its reason, or KILLED on Ctrl-C and SIGTERM.

    Args:
        kind: the tag `ssgan.kind`.
        experiment: the experiment's name, made if it is not there.
        name: the run's name.
        keep_name: leave a name that the user gave to `mlflow run`.
        parent: makes this its child. Without one, goes on with the run `mlflow run` has made.
        tags: more tags.

    Raises:
        UserError: the store cannot be reached or written.
    """
    run = _create(experiment, name, keep_name, parent)
    try:
        run.tags({KIND: kind, **(tags or {})})
        yield run
    except BaseException as error:
        _end(run, error)
        raise
    _end(run, None)


def attached_run() -> str | None:
    """The id of the run that `mlflow run` has made for this process."""
    return os.environ.get("MLFLOW_RUN_ID")


def end_attached_run(status: str, reason: str) -> None:
    """End the run that `mlflow run` has made, for mistakes found before it is opened."""
    run_id = attached_run()
    with contextlib.suppress(MlflowException, OSError):  # a lost store has been told already
        client = mlflow.MlflowClient()
        if run_id and client.get_run(run_id).info.status == "RUNNING":
            client.set_tag(run_id, REASON, reason[:REASON_LENGTH])
            client.set_terminated(run_id, status)


def tag(run_id: str, key: str) -> str | None:
    """One tag of a run."""
    value: str | None = mlflow.MlflowClient().get_run(run_id).data.tags.get(key)
    return value


def source_kind(run_id: str) -> str:
    """The kind of an earlier run.

    Raises:
        UserError: there is no such run in the store, or it is none of ours.
    """
    with _store():
        try:
            tags = mlflow.MlflowClient().get_run(run_id).data.tags
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise UserError(
                f"run_id = {run_id!r} (from --run_id): there is no such run in "
                f"{mlflow.get_tracking_uri()}; the MLflow UI and the end of every run show the ids."
            ) from None
    if KIND not in tags:
        raise UserError(f"run_id = {run_id!r} (from --run_id): that run was not made by ssgan.")
    return str(tags[KIND])


def fetch(run_id: str, artifact: str, folder: Path) -> Path:
    """Download one artifact of a run into `folder` and return its path.

    Raises:
        UserError: the run has no such artifact.
    """
    with _store():
        try:
            return Path(
                mlflow.artifacts.download_artifacts(
                    run_id=run_id, artifact_path=artifact, dst_path=str(folder)
                )
            )
        except (MlflowException, OSError):
            raise UserError(
                f"run_id = {run_id!r}: that run has no artifact {artifact}; did it finish?"
            ) from None


def child_of(run_id: str, kind: str) -> str | None:
    """The id of the finished child run of a kind, or None."""
    client = mlflow.MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_runs(
        [experiment],
        f"tags.`mlflow.parentRunId` = '{run_id}' and tags.`{KIND}` = '{kind}' "
        "and attributes.status = 'FINISHED'",
        max_results=1,
    )
    return found[0].info.run_id if found else None


def last_metrics(run_id: str) -> dict[str, float]:
    """The last value of every metric of a run."""
    return dict(mlflow.MlflowClient().get_run(run_id).data.metrics)


def load_model(run_id: str, name: str) -> LoadedModel | None:
    """A logged model of a run, or None if the run has none of that name.

    Loads a SavedModel: no pickle, none of our code.
    """
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    found = client.search_logged_models(
        [run.info.experiment_id],
        f"source_run_id = '{run_id}' AND name = '{name}'",
    )
    if not found:
        return None
    loaded = mlflow.pyfunc.load_model(f"models:/{found[0].model_id}")
    kept = (loaded.metadata.metadata or {}).get("latents")
    model = loaded.get_raw_model()
    # Held by the closure: the endpoint alone would not keep the model's variables.
    return LoadedModel(
        id=found[0].model_id,
        call=lambda array: model.serve(array),
        latents=Latents(**kept) if kept else None,
    )


def _requirements() -> list[str]:
    from importlib.metadata import version

    return [f"{package}=={version(package)}" for package in REQUIREMENTS]


def _create(experiment: str, name: str, keep_name: bool, parent: Run | None) -> Run:
    run_id = attached_run() if parent is None else None
    with _store():
        client = parent.client if parent else mlflow.MlflowClient()
        if run_id:
            info = client.get_run(run_id).info
            if not keep_name or RANDOM_NAME.fullmatch(info.run_name):
                client.update_run(run_id, name=name)
            return Run(run_id, info.experiment_id, client)
        tags = {"mlflow.parentRunId": parent.id} if parent else {}
        tags |= mlflow.tracking.context.registry.resolve_tags()
        experiment_id = parent.experiment_id if parent else _experiment(client, experiment)
        created = client.create_run(experiment_id, run_name=name, tags=tags)
        return Run(created.info.run_id, experiment_id, client, parent)


def _experiment(client: mlflow.MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name))
    if found.lifecycle_stage != "active":
        raise UserError(
            f"experiment = {name!r}: it was deleted in the MLflow UI; restore it or choose another."
        )
    return str(found.experiment_id)


def _end(run: Run, error: BaseException | None) -> None:
    """Set the final status; a second Ctrl-C cannot leave the run open."""
    killed = isinstance(error, KeyboardInterrupt | SystemExit)
    before = {sign: signal.signal(sign, signal.SIG_IGN) for sign in _SIGNALS} if killed else {}
    try:
        if error is not None:
            reason = "interrupted" if killed else str(error) or type(error).__name__
            run.tags({REASON: reason[:REASON_LENGTH]})
        status = "FINISHED" if error is None else "KILLED" if killed else "FAILED"
        run.client.set_terminated(run.id, status)
    except (MlflowException, UserError, OSError) as failure:
        if error is None:
            raise RunFailure(f"the run could not be closed: {failure}") from None
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
