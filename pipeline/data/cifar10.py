"""CIFAR-10 (Krizhevsky 2009): 32x32 colour photographs, 50,000 to train and 10,000 to test.

Binary version: six files of records, each a label byte and 3,072 bytes, the red, the green and the
blue plane of the image row by row.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pipeline.data import _pictures
from pipeline.data._download import download
from pipeline.data.dataset import Dataset, build
from pipeline.errors import UserError, looked_for

BASE_URL = "https://www.cs.toronto.edu/~kriz/"
ARCHIVE = "cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
FOLDER = "cifar-10-batches-bin"
FILES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
RECORD = 1 + 3 * 32 * 32  # bytes
MOST = 10_000  # records of a file
REMEDY = "replace it by an intact one, or leave data_dir out to download cifar10"


def load(data_dir: Path | None) -> Dataset:
    """Load CIFAR-10, uint8 [n, 32, 32, 3], from data_dir or from the cache, downloading once.

    data_dir is the folder of the six files, one that holds cifar-10-batches-bin, or the archive.
    Files with fewer records are welcome. Raises UserError for a missing, damaged or foreign file
    and for a failed download.
    """
    if data_dir is None:
        (source,) = download("cifar10", BASE_URL, [ARCHIVE], [MD5], ARCHIVE)
    else:
        source = _find(data_dir)
    files = _in_folder(source) if source.is_dir() else _in_archive(source)
    contents = {name: _records(content, f"{source}: {name}") for name, content in files}
    if missing := [name for name in FILES if name not in contents]:
        raise UserError(f"{source}: has no {', '.join(missing)}; {REMEDY}")
    train = _joined([contents.pop(name) for name in FILES[:-1]])
    test = _joined([contents.pop(FILES[-1])])
    return build("cifar10", str(source), train, test, CLASS_NAMES)


def _find(data_dir: Path) -> Path:
    """The folder of the six files, or the archive, that data_dir is or holds."""
    if not data_dir.exists():
        raise UserError(
            f"data_dir={data_dir} does not exist{looked_for(data_dir)}; dataset=cifar10 needs "
            f"{ARCHIVE}, or a folder that holds {', '.join(FILES)}"
        )
    if data_dir.is_file():
        return data_dir
    for folder in (data_dir, data_dir / FOLDER):
        if any((folder / name).is_file() for name in FILES):
            return folder
    if (data_dir / ARCHIVE).is_file():
        return data_dir / ARCHIVE
    remedy = "put the folder or the archive there, or leave data_dir out to download cifar10"
    if any(data_dir.glob("data_batch_1")) or any(data_dir.glob("cifar-10-*py*")):
        fault = " but the Python version, which is pickled: nothing here is ever unpickled"
        remedy = f"the binary version is needed ({ARCHIVE}): {remedy}"
    elif pictures := _pictures.below(data_dir):
        fault = f" but {pictures}"
    else:
        fault = ""
    raise UserError(
        f"data_dir={data_dir} holds neither {FOLDER} nor {FILES[0]} nor {ARCHIVE}{fault}; {remedy}"
    )


def _in_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of those of the six files that are there."""
    for path in (folder / name for name in FILES):
        if path.is_file():
            try:
                with path.open("rb") as file:
                    yield path.name, file.read(MOST * RECORD + 1)
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error


def _in_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the six files in a tar archive, packed or not; nothing is unpacked."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with (
            gzip.open(path) if packed else path.open("rb") as stream,
            tarfile.open(fileobj=stream, mode="r|") as archive,
        ):
            for member in archive:
                name = PurePosixPath(member.name).name
                part = archive.extractfile(member) if member.isreg() and name in FILES else None
                if part:
                    yield name, part.read(MOST * RECORD + 1)
                elif name == "data_batch_1":
                    raise UserError(
                        f"{path}: the Python version of CIFAR-10, which is pickled; nothing here "
                        f"is ever unpickled, so the binary version is needed ({ARCHIVE}); leave "
                        "data_dir out to download it"
                    )
            while stream.read(2**20):  # gzip's checksum comes last
                pass
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: not a tar archive, or damaged ({reason}); {REMEDY}") from error


def _records(content: bytes, where: str) -> NDArray[np.uint8]:
    """The records of a file, uint8 [n, RECORD], with labels 0..9."""
    if not 0 < len(content) <= MOST * RECORD or len(content) % RECORD:
        size = f"more than {MOST * RECORD:,}" if len(content) > MOST * RECORD else len(content)
        raise UserError(
            f"{where}: {size} bytes, expected 1 to {MOST:,} records of {RECORD:,} bytes: cut "
            f"short, or another file; {REMEDY}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    if (highest := int(records[:, 0].max())) > 9:
        at = int(records[:, 0].argmax())
        raise UserError(
            f"{where}: label {highest} in record {at}, allowed are 0..9: damaged, or another file; "
            f"{REMEDY}"
        )
    return records


def _joined(parts: Iterable[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images uint8 [n, 32, 32, 3] and labels uint8 [n] of records."""
    parts = list(parts)
    labels = np.concatenate([part[:, 0] for part in parts])
    images = np.empty((len(labels), 32, 32, 3), np.uint8)
    at = 0
    for part in parts:
        planes = part[:, 1:].reshape(-1, 3, 32, 32)
        images[at : at + len(part)] = np.moveaxis(planes, 1, -1)
        at += len(part)
    return images, labels
