"""Models of runs are data, whoever logged them: what they name is neither imported nor run.

A logged model's folder says how to load it: which loader, which code, which pickle. All of that is
ignored here but for what this project itself writes, and the computation in the SavedModel may do
nothing but arithmetic: no file, no Python.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.networks.spec import Latents

FLAVOURS = {"keras", "python_function"}  # of what this project logs
LOADER = "mlflow.keras"
SAVED_MODEL = Path("data") / "model"
LARGEST = 2**16  # pixels of a side, numbers of a latent
# Operations with an effect, which arithmetic on stored weights needs.
ALLOWED = {
    "NoOp",
    "ReadVariableOp",
    "ResourceGather",
    "StatefulPartitionedCall",
    "VarHandleOp",
    "VarIsInitializedOp",
    "AssignVariableOp",
}
FILES = {"ReadFile", "WriteFile", "MatchingFiles"}  # TensorFlow calls the first and last harmless
SAVING = ("__inference__traced_save", "__inference__traced_restore")  # called by nobody here


def load(folder: Path, run_id: str) -> Any:
    """The SavedModel in the folder of a logged model; its endpoint is `serve`.

    Raises:
        UserError: it is not what this project logs, or may do more than compute.
    """
    import tensorflow as tf
    from absl import logging

    _check_description(folder, run_id)
    _check_operations(folder / SAVED_MODEL / "saved_model.pb", run_id)
    said = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # it warns that nobody can train the model on
    try:
        return tf.saved_model.load(str(folder / SAVED_MODEL))
    finally:
        logging.set_verbosity(said)


def latents(metadata: Any, run_id: str) -> Latents | None:
    """What a generator is fed, as its model's metadata says; None if they say nothing.

    Raises:
        UserError: they say something else.
    """
    said = (metadata or {}).get("latents")
    if said is None:
        return None
    try:
        found = Latents(int(said["size"]), str(said["distribution"]), int(said["n_classes"]))  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        raise _refused(run_id, f"its latents are {said!r}") from None
    if asdict(found) != said or found.distribution not in ("normal", "uniform"):
        raise _refused(run_id, f"its latents are {said!r}")
    return found


def class_names(metadata: Any, run_id: str) -> tuple[str, ...]:
    """What the classes are called, as the model's metadata says; none if they say nothing.

    Raises:
        UserError: they are no names.
    """
    said = (metadata or {}).get("class_names") or []
    if not isinstance(said, list) or not all(isinstance(name, str) for name in said):
        raise _refused(run_id, f"its class names are {said!r}")
    return tuple(said)


def shape(description: Any, run_id: str) -> tuple[int, ...]:
    """Shape of one row of a model's input, as its signature says.

    Raises:
        UserError: it says none.
    """
    try:
        _, *row = description.signature.inputs.inputs[0].shape
    except (AttributeError, IndexError, TypeError, ValueError):
        raise _refused(run_id, "its signature has no shape") from None
    if not row or not all(isinstance(size, int) and 0 < size <= LARGEST for size in row):
        raise _refused(run_id, f"its signature has the shape {row!r}")
    return tuple(row)


def _check_description(folder: Path, run_id: str) -> None:
    from mlflow.models import Model

    said = Model.load(str(folder / "MLmodel"))
    python = said.flavors.get("python_function", {})
    if others := sorted(set(said.flavors) - FLAVOURS):
        raise _refused(run_id, f"its MLmodel names the flavour {others[0]!r}")
    if python.get("loader_module") != LOADER:
        raise _refused(run_id, f"its MLmodel names the loader {python.get('loader_module')!r}")
    if python.get("code") is not None or (folder / "code").exists():
        raise _refused(run_id, "it brings code")
    if not (folder / SAVED_MODEL / "saved_model.pb").is_file():
        raise _refused(run_id, "it holds no SavedModel")


def _check_operations(file: Path, run_id: str) -> None:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.python.framework import op_def_registry

    graph = SavedModel()
    try:
        graph.ParseFromString(file.read_bytes())
    except DecodeError:
        raise _refused(run_id, "its SavedModel cannot be read") from None
    for node in _nodes(graph):
        known = op_def_registry.get(node.op)
        effect = known is None or (known.is_stateful and node.op not in ALLOWED)
        if effect or node.op in FILES:
            raise _refused(run_id, f"its SavedModel holds the operation {node.op!r}")
        called = [value.func.name for value in node.attr.values() if value.HasField("func")]
        if any(name.startswith(SAVING) for name in called):
            raise _refused(run_id, "its SavedModel writes files")


def _nodes(graph: Any) -> Iterator[Any]:
    """Everything that can be run once the model is loaded, but for its saving."""
    for part in graph.meta_graphs:
        for function in part.graph_def.library.function:
            if not function.signature.name.startswith(SAVING):
                yield from function.node_def


def _refused(run_id: str, what: str) -> UserError:
    return UserError(
        f"run_id = {run_id!r}: its model was not logged by ssgan as it stands ({what}), so it is "
        "not loaded; a model that somebody else has changed may run any program."
    )
