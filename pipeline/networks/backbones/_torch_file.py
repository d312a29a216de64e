"""Tensors out of a file that torch has saved in its old format, without torch.

Such a file is a pickle, and a pickle may call any function that it names. Here it may name four
things, none of which does anything but describe a tensor; any other name ends the reading. So does
any instruction that torch does not write. Python's own unpickler is used, not the one in C, which
takes 16 bytes for every number below that of a memo. Keys are text: to hash nested tuples
may take for ever, or more stack than there is.
"""

import io
import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError

MAGIC = 0x1950A86A20F9469CFC6C
BROKEN = (  # what a pickle of anything raises
    *(pickle.UnpicklingError, struct.error, EOFError, MemoryError, ArithmeticError),
    *(ValueError, LookupError, TypeError, AttributeError, RecursionError),
)
WRITTEN = (  # instructions of the pickles that torch writes
    *(pickle.PROTO, pickle.STOP, pickle.MARK, pickle.GLOBAL, pickle.REDUCE, pickle.BINPERSID),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BINUNICODE),
    *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT),
)
TYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage(NamedTuple):
    key: str
    type: str


class _Slice(NamedTuple):
    """Where a tensor lies in a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _described(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Slice:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor in it has no storage")
    return _Slice(storage, offset, shape, strides)


def _empty() -> OrderedDict[str, Any]:
    return OrderedDict()


class _Known(dict[int, Any]):
    def __missing__(self, code: int) -> Any:
        raise pickle.UnpicklingError(f"it has the instruction {bytes([code])!r}")


class _TensorsOnly(pickle._Unpickler):
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][_text(key)] = value

    def _set_items(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self.stack[-1][_text(key)] = value

    def _leave_out(self) -> None:
        self.stack.pop()  # what torch notes beside the tensors

    dispatch: ClassVar = _Known(
        {
            **{code[0]: pickle._Unpickler.dispatch[code[0]] for code in WRITTEN},
            pickle.SETITEM[0]: _set_item,
            pickle.SETITEMS[0]: _set_items,
            pickle.BUILD[0]: _leave_out,
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _empty
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _described
        if module == "torch" and name in TYPES:
            return name
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no tensor")

    def persistent_load(self, pid: Any) -> Any:
        kind, name, key, _, _, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError("it refers to what is no tensor")
        return _Storage(_text(key), _text(name))


def _text(thing: Any) -> str:
    if not isinstance(thing, str):
        raise pickle.UnpicklingError(f"it has a {type(thing).__name__} where a name should be")
    return thing


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor of the file by its name, float32 or int64.

    Raises:
        UserError: the file is not of that format, is cut off, or holds anything but tensors.
    """
    try:
        stream = io.BytesIO(path.read_bytes())
        if _TensorsOnly(stream).load() != MAGIC:
            raise ValueError("it does not begin as torch's files do")
        _TensorsOnly(stream).load()  # version of the protocol
        _TensorsOnly(stream).load()  # sizes of types
        named: dict[str, _Slice] = _TensorsOnly(stream).load()
        keys: list[str] = _TensorsOnly(stream).load()
        types = {part.storage.key: part.storage.type for part in named.values()}
        stored = {key: _storage(stream, TYPES[types[_text(key)]]) for key in keys}
        return {name: _tensor(stored[part.storage.key], part) for name, part in named.items()}
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
