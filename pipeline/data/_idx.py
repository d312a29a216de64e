"""The MNIST family: four IDX files, from the user's folder or downloaded once into a cache.

IDX: two zero bytes, a type byte (8 = unsigned byte), the number of dimensions, each size as a
big-endian 32-bit integer, then the values.
"""

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from pipeline import memory
from pipeline.data import _pictures
from pipeline.data._download import download
from pipeline.data.dataset import Dataset, build
from pipeline.errors import UserError, looked_for

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
LOOKED_ON = 2**24  # bytes of a file that is too long, in which damage may show
REMEDY = "replace the file with an intact one, or leave data_dir out to download it"
NEEDED = f"{', '.join(FILES)} (with or without .gz)"


def load(
    name: str,
    class_names: tuple[str, ...],
    data_dir: Path | None,
    base_url: str,
    md5: tuple[str, ...],
) -> Dataset:
    """Load one data set of the family; subsets are welcome, other image sizes are not.

    Files in data_dir are used as they are; without one, the gzipped files come from base_url,
    checked against md5 (both in the order of FILES). Raises UserError for a missing, damaged or
    foreign file and for a failed download.
    """
    if data_dir is None:
        paths = download(name, base_url, [f"{file}.gz" for file in FILES], md5, NEEDED)
    else:
        paths = _find(name, data_dir)
    arrays = [read_idx(path, ndim) for path, ndim in zip(paths, (3, 1, 3, 1), strict=True)]
    for path, array in zip(paths, arrays, strict=True):
        if array.ndim == 3 and array.shape[1:] != (28, 28):
            raise UserError(
                f"{path}: images are {array.shape[1]}x{array.shape[2]}, dataset={name} has 28x28; "
                "for other images use dataset=npz or folder"
            )
    train_images, train_labels, test_images, test_labels = arrays
    return build(
        name,
        str(paths[0].parent),
        (train_images, train_labels),
        (test_images, test_labels),
        class_names,
    )


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped or not, as a read-only array of ndim dimensions.

    Raises UserError if the file cannot be read or is not exactly such a file.
    """
    start, magic = 4 + 4 * ndim, bytes([0, 0, 8, ndim])
    with _opened(path) as file:
        header = file.read(start)
        if header[:4] != magic or len(header) < start:
            raise UserError(
                f"{path}: not an IDX file of unsigned bytes with {ndim} dimension(s): it begins "
                f"with {header[:4].hex(' ') or 'nothing'}, expected {magic.hex(' ')} and at least "
                f"{start} bytes; {REMEDY}"
            )
        shape = tuple(np.frombuffer(header, ">u4", ndim, offset=4).tolist())
        # math.prod on Python integers: a damaged header must not overflow into a fitting size.
        expected = math.prod(shape)
        if expected > memory.limit():
            raise UserError(
                f"{path}: its header says {shape}, {memory.as_gb(expected)}, which is more than "
                f"this machine's memory; {REMEDY}"
            )
        content = file.read(expected + 1)  # hardly more: a gzip file may unpack to anything
        if len(content) > expected:
            file.read(LOOKED_ON)  # a damaged one is told as that
    if len(content) != expected:
        fault = f"cut short: {len(content)}" if len(content) < expected else "too long: more"
        raise UserError(
            f"{path}: {fault} bytes after the header, expected {expected} for the shape {shape} "
            f"in it; {REMEDY}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """A file, unpacked if it is gzip's: browsers unpack .gz files and keep the name."""
    try:
        with path.open("rb") as file:
            packed = file.peek(2)[:2] == b"\x1f\x8b"
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: damaged gzip file ({error}); {REMEDY}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error


def _find(name: str, folder: Path) -> list[Path]:
    """Paths of the four FILES in folder, under any of their usual spellings."""
    if not folder.is_dir():
        fault = "is not a folder" if folder.exists() else f"does not exist{looked_for(folder)}"
        own = "; for own arrays say dataset=npz" if folder.suffix == ".npz" else ""
        raise UserError(
            f"data_dir={folder} {fault}; dataset={name} needs a folder that holds {NEEDED}{own}"
        )
    paths = []
    for file in FILES:
        dotted = file.replace("-idx", ".idx")
        spellings = (file, f"{file}.gz", dotted, f"{dotted}.gz")
        found = [folder / spelling for spelling in spellings if (folder / spelling).is_file()]
        if not found:
            own = ", or say dataset=npz for own arrays" if any(folder.glob("*.npz")) else ""
            if pictures := _pictures.below(folder):
                own = f"; it holds {pictures}: {_pictures.READ_THEM}"
            raise UserError(
                f"data_dir={folder} has no {file} (nor {', '.join(spellings[1:])}); put it there, "
                f"or leave data_dir out to download {name}{own}"
            )
        paths.append(found[0])
    return paths
