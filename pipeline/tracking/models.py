"""Models: logged as SavedModels, read back without our code and without a pickle."""

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.models.model import MLMODEL_FILE_NAME
from numpy.typing import NDArray

from pipeline.networks.spec import Latents
from pipeline.tracking import trust
from pipeline.tracking.faults import FAULTS
from pipeline.tracking.store import NOTE, reachable

ROLE = "ssgan.role"
CLASS_NAMES = "class_names"  # metadata of a model: what its classes 0..K-1 are called
REQUIREMENTS = ("mlflow", "numpy", "tensorflow")  # what a logged model needs to be served


@dataclass(frozen=True)
class LoadedModel:
    """A logged model read back."""

    id: str
    call: Callable[[Any], Any]  # one array in, one tensor out
    latents: Latents | None  # what a generator is fed
    class_names: tuple[str, ...]  # of the classes 0..K-1
    shape: tuple[int, ...]  # of one row of its input
    output_shape: tuple[int, ...]


def save(
    folder: Path,
    model: Any,
    example: NDArray[Any],
    output: NDArray[Any],
    *,
    class_names: Sequence[str],
    latents: Latents | None = None,
) -> None:
    """Save a Keras model in MLflow's format to `folder`, which is not there; see `Run.model`.

    The validation by loading the model back is left out: a test does it once, every run would pay
    for it.
    """
    import mlflow.keras
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    signature = ModelSignature(
        Schema([TensorSpec(example.dtype, (-1, *example.shape[1:]))]),
        Schema([TensorSpec(output.dtype, (-1, *output.shape[1:]))]),
    )
    folder.mkdir()  # mlflow 3.17.2 fails on an input example without it
    with contextlib.redirect_stdout(io.StringIO()):  # Keras prints what it exports
        mlflow.keras.save_model(
            model,
            str(folder),
            save_exported_model=True,
            signature=signature,
            input_example=example,
            pip_requirements=_requirements(),
            metadata={CLASS_NAMES: list(class_names)}
            | ({"latents": asdict(latents)} if latents else {}),
        )


def send(
    client: mlflow.MlflowClient,
    experiment_id: str,
    run_id: str,
    files: Path,
    *,
    name: str,
    role: str,
    params: Mapping[str, str],
    note: str,
    register_as: str | None,
) -> str:
    """Log a model that `save` has kept in a folder of `files` to a run; the logged model's id."""
    (folder,) = files.iterdir()
    # Not by `Model.log`: it would make the model in the process-global experiment, and asks the
    # store for the history of every metric of the run.
    entry = client.create_logged_model(
        experiment_id,
        name,
        source_run_id=run_id,
        tags={ROLE: role},
        params=dict(params),
        model_type=role,
    )
    usage = f"`mlflow.pyfunc.load_model('models:/{entry.model_id}').predict(…)`"
    try:
        client.set_logged_model_tags(entry.model_id, {NOTE: f"{note} Load it with {usage}."})
        client.log_outputs(run_id, [LoggedModelOutput(entry.model_id, step=0)])
        with tempfile.TemporaryDirectory() as kept:
            whole = shutil.copytree(folder, Path(kept, "model"))
            _identify(whole / MLMODEL_FILE_NAME, entry, run_id)
            client.log_model_artifacts(entry.model_id, str(whole))
    except Exception:
        with contextlib.suppress(*FAULTS):  # it would look as if it were still coming
            client.finalize_logged_model(entry.model_id, LoggedModelStatus.FAILED)
        raise
    client.finalize_logged_model(entry.model_id, LoggedModelStatus.READY)
    if register_as:
        mlflow.register_model(f"models:/{entry.model_id}", register_as)
    return str(entry.model_id)


def _identify(file: Path, entry: LoggedModel, run_id: str) -> None:
    """Write into a saved model what the store calls it."""
    from mlflow.models import Model

    saved = Model.load(str(file))
    saved.artifact_path, saved.run_id = entry.artifact_location, run_id
    saved.model_id = saved.model_uuid = entry.model_id
    saved.save(str(file))


def logged_model(
    client: mlflow.MlflowClient, experiment_id: str, run_id: str, role: str
) -> str | None:
    """Id of the model of this role that a run has logged whole; what is not whole is removed."""
    asked = f"source_run_id = '{run_id}' AND tags.`{ROLE}` = '{role}'"
    whole = None
    for found in client.search_logged_models([experiment_id], asked):
        if found.status == LoggedModelStatus.READY:
            whole = whole or str(found.model_id)
        else:
            client.delete_logged_model(found.model_id)
    return whole


def register(client: mlflow.MlflowClient, run_id: str, model_id: str, name: str) -> None:
    """Enter a logged model in the registry, unless it is there."""
    source = f"models:/{model_id}"
    if source not in {
        found.source for found in client.search_model_versions(f"run_id = '{run_id}'")
    }:
        mlflow.register_model(source, name)


def describe_versions(
    client: mlflow.MlflowClient, model_id: str, tags: Mapping[str, str], description: str
) -> None:
    """Say on the registered versions of a logged model, if there are any, how good it is."""
    source = client.get_logged_model(model_id).source_run_id
    for found in client.search_model_versions(f"run_id = '{source}'"):
        if found.source == f"models:/{model_id}":
            client.update_model_version(found.name, found.version, description)
            for key, value in tags.items():
                client.set_model_version_tag(found.name, found.version, key, value)


@reachable()
def load_model(run_id: str, role: str) -> LoadedModel | None:
    """The model of a run that has this role, "classifier" or "generator", or None.

    Raises:
        UserError: the model is not one that this project has logged (see `trust`).
    """
    from mlflow.models import Model

    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    asked = f"source_run_id = '{run_id}' AND tags.`{ROLE}` = '{role}'"
    there = client.search_logged_models([run.info.experiment_id], asked)
    found = [model for model in there if model.status == LoggedModelStatus.READY]
    if not found:
        return None
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(
            mlflow.artifacts.download_artifacts(
                artifact_uri=f"models:/{found[0].model_id}", dst_path=kept
            )
        )
        model = trust.load(folder, run_id)
        description = Model.load(str(folder / "MLmodel"))
        metadata = description.metadata or {}
    # Held by the closure: the endpoint alone would not keep the model's variables.
    return LoadedModel(
        id=found[0].model_id,
        call=lambda array: model.serve(array),  # noqa: PLW0108
        latents=trust.latents(metadata, run_id),
        class_names=trust.class_names(metadata, run_id),
        shape=trust.shape(description, run_id),
        output_shape=trust.shape(description, run_id, "outputs"),
    )


def _requirements() -> list[str]:
    return [f"{package}=={version(package)}" for package in REQUIREMENTS]
