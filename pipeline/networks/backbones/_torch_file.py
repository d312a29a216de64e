"""Tensors out of a file that torch has saved in its old format, without torch.

Such a file is a pickle, and a pickle may call any function that it names. Here it may name four
things, none of which does anything but describe a tensor; any other name ends the reading.
"""

import io
import math
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError

MAGIC = 0x1950A86A20F9469CFC6C
BROKEN = (  # what a pickle of anything raises
    *(pickle.UnpicklingError, struct.error, EOFError, MemoryError, ArithmeticError),
    *(ValueError, LookupError, TypeError, AttributeError),
)
TYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Slice(NamedTuple):
    """Where a tensor lies in a storage."""

    storage: tuple[str, str]  # its key, its type
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _described(
    storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Slice:
    return _Slice(storage, offset, shape, strides)


class _TensorsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _described
        if module == "torch" and name in TYPES:
            return name
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> Any:
        kind, name, key, _, _, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"it refers to a {kind}, which is no tensor")
        return key, name


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of the file by its name, float32 or int64.

    Raises:
        UserError: the file is not of that format, is cut off, or holds anything but tensors.
    """
    try:
        stream = io.BytesIO(path.read_bytes())
        if pickle.Unpickler.load(_TensorsOnly(stream)) != MAGIC:
            raise ValueError("it does not begin as torch's files do")
        _TensorsOnly(stream).load()  # version of the protocol
        _TensorsOnly(stream).load()  # sizes of types
        named: dict[str, _Slice] = _TensorsOnly(stream).load()
        keys: list[str] = _TensorsOnly(stream).load()
        types = {part.storage[0]: part.storage[1] for part in named.values()}
        stored = {key: _storage(stream, TYPES[types[key]]) for key in keys}
        return {name: _tensor(stored[part.storage[0]], part) for name, part in named.items()}
    except OSError as error:
        raise UserError(f"weights {path}: {error.strerror or error}.") from None
    except BROKEN as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"weights {path}: no file of tensors in torch's old format, or a damaged one ({said})."
        ) from None


def _storage(stream: io.BytesIO, dtype: np.dtype[Any]) -> NDArray[Any]:
    (count,) = struct.unpack("<q", stream.read(8))
    content = stream.read(count * dtype.itemsize)
    if len(content) != count * dtype.itemsize:
        raise ValueError("it is cut off")
    return np.frombuffer(content, dtype)


def _tensor(storage: NDArray[Any], part: _Slice) -> NDArray[Any]:
    reach = sum((n - 1) * step for n, step in zip(part.shape, part.strides, strict=True))
    if min((*part.shape, *part.strides, part.offset), default=0) < 0 or (
        part.offset + reach >= len(storage) or math.prod(part.shape) > len(storage)
    ):
        raise ValueError("a tensor in it lies outside its storage")
    strides = [step * storage.itemsize for step in part.strides]
    view = np.lib.stride_tricks.as_strided(storage[part.offset :], part.shape, strides)
    return np.array(view, order="C")
