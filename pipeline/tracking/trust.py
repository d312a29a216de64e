"""Models of runs are data, whoever logged them: what they name is neither imported nor run.

A logged model's folder says how to load it: which loader, which code, which pickle. All of that is
ignored here but for what this project itself writes, and the computation in the SavedModel may do
nothing but arithmetic: no file, no Python.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.networks.spec import Latents

FLAVOURS = {"keras", "python_function"}  # of what this project logs
LOADER = "mlflow.keras"
SAVED_MODEL = Path("data") / "model"
LARGEST = 2**16  # pixels of a side, numbers of a latent
# What a model of ours may be made of. Whatever is not known to be harmless is refused: TensorFlow
# has operations that touch files and calls them free of effects (DebugIdentity, ReadFile).
NUMBERS = (
    "Abs Add AddN AddV2 Cast Ceil ClipByValue Cumsum Div DivNoNan Erf Erfc Exp Expm1 Floor "
    "FloorDiv FloorMod Log Log1p Maximum Minimum Mul MulNoNan Neg Pow RealDiv Reciprocal Round "
    "Rsqrt Sign Sqrt Square SquaredDifference Sub All Any ArgMax ArgMin Max Mean Min Prod Sum"
)
COMPARISONS = (
    "Equal Greater GreaterEqual IsFinite IsNan Less LessEqual LogicalAnd LogicalNot LogicalOr "
    "NotEqual Select SelectV2"
)
LAYERS = (
    "AvgPool BatchMatMulV2 BatchMatMulV3 BiasAdd Conv2D Conv2DBackpropFilter Conv2DBackpropInput "
    "DepthwiseConv2dNative DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput "
    "Einsum Elu FusedBatchNormV3 L2Loss LeakyRelu LogSoftmax MatMul MaxPool Relu Relu6 Selu "
    "Sigmoid SigmoidGrad Softmax Softplus Softsign Tanh TanhGrad"
)
MOVES = (
    "BatchToSpaceND BroadcastTo ConcatV2 Const DepthToSpace ExpandDims Fill GatherNd GatherV2 "
    "Identity IdentityN MirrorPad NoOp OneHot OnesLike Pack Pad PadV2 Range Rank Reshape "
    "ResizeBicubic ResizeBilinear ResizeNearestNeighbor ReverseV2 Shape ShapeN Size Slice "
    "SpaceToBatchND SpaceToDepth Split SplitV Squeeze StopGradient StridedSlice Tile Transpose "
    "Unpack ZerosLike"
)
WEIGHTS = (  # and functions, which are looked at themselves
    "AssignVariableOp PartitionedCall ReadVariableOp ResourceGather StatefulPartitionedCall "
    "VarHandleOp VarIsInitializedOp"
)
OPERATIONS = frozenset(" ".join((NUMBERS, COMPARISONS, LAYERS, MOVES, WEIGHTS)).split())
SAVING = ("__inference__traced_save", "__inference__traced_restore")  # called by nobody here


def load(folder: Path, run_id: str) -> Any:
    """The SavedModel in the folder of a logged model; its endpoint is `serve`.

    The folder is a copy, whose functions that save the model are removed.

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


def shape(description: Any, run_id: str, side: str = "inputs") -> tuple[int, ...]:
    """Shape of one row of a model's inputs or outputs (`side`), as its signature says.

    Raises:
        UserError: it says none.
    """
    try:
        _, *row = getattr(description.signature, side).inputs[0].shape
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

    graph = SavedModel()
    try:
        graph.ParseFromString(file.read_bytes())
    except DecodeError:
        raise _refused(run_id, "its SavedModel cannot be read") from None
    if len(graph.meta_graphs) != 1 or not graph.meta_graphs[0].HasField("object_graph_def"):
        # TensorFlow would run what such a graph names as its start.
        raise _refused(run_id, "its SavedModel is not of one graph with its objects")
    library = graph.meta_graphs[0].graph_def.library
    # Only saving calls these. They go, so that nothing that is not looked at can be run.
    functions = [each for each in library.function if not each.signature.name.startswith(SAVING)]
    del library.function[:]
    library.function.extend(functions)
    nodes = [node for function in functions for node in function.node_def]
    named = {*_named_by_objects(graph.meta_graphs[0].object_graph_def)}
    named.update(name for node in nodes for name in _named_by(node.attr.values()))
    if any(name.startswith(SAVING) for name in named):
        raise _refused(run_id, "its SavedModel writes files")
    if others := sorted({node.op for node in nodes} - OPERATIONS):
        raise _refused(run_id, f"its SavedModel holds the operation {others[0]!r}")
    file.unlink()  # a copy of what nobody may write cannot be written either
    file.write_bytes(graph.SerializeToString())


def _named_by_objects(objects: Any) -> Iterator[str]:
    """The functions that can be called, or that loading calls, once the model is loaded."""
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name


def _named_by(values: Iterable[Any]) -> Iterator[str]:
    """The functions that attributes of an operation name, alone, in lists and in one another."""
    for value in values:
        for function in (value.func, *value.list.func):
            yield function.name
            yield from _named_by(function.attr.values())


def _refused(run_id: str, what: str) -> UserError:
    return UserError(
        f"run_id = {run_id!r}: its model was not logged by ssgan as it stands ({what}), so it is "
        "not loaded; a model that somebody else has changed may run any program."
    )
