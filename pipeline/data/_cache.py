"""Decoded pictures kept in ~/.cache/ssgan/pictures: an entry is a folder, whole or not there.

`listings/<fingerprint>` holds the key of the entry that such a listing of files led to, so that an
unchanged folder is found without opening a file. An entry holds `images.npy` (uint8 [n, h, w, c],
the training part first), `table.npz` and `about.json`. The table has a row for every file: name and
reason (`packed`), label int32 (-1 = none), part int8 (0 train, 1 test, -1 not used), width and
height int32 of the picture itself.
"""

import contextlib
import errno
import json
import math
import os
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError

IMAGES, TABLE, ABOUT = "images.npy", "table.npz", "about.json"
ENTRIES, BYTES = 8, 20 * 10**9  # kept at most; the last ones used
LEFT_BEHIND = 24 * 3600  # seconds after which an unfinished entry is nobody's any more
UNFINISHED = ".making-"


class Kept(NamedTuple):
    """What an entry holds."""

    images: NDArray[np.uint8]  # memory-mapped, [n, h, w, c]
    table: dict[str, NDArray[Any]]
    about: dict[str, Any]


def folder() -> Path:
    """Where the entries lie."""
    try:
        return Path.home() / ".cache" / "ssgan" / "pictures"
    except RuntimeError:
        raise UserError("no home folder for the cache of pictures; set HOME to a folder") from None


def key_of(fingerprint: str) -> str | None:
    """Key of the entry that a listing led to before, if it is known."""
    return _noted(folder() / "listings" / fingerprint)


def _noted(listing: Path) -> str | None:
    """Key that stands in a note, None if none does."""
    try:
        text = listing.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text if re.fullmatch("[0-9a-f]{32}", text) else None


def found(key: str) -> Kept | None:
    """The entry of a key, None if there is none or it is damaged."""
    entry = folder() / key
    try:
        about = json.loads((entry / ABOUT).read_text(encoding="utf-8"))
        if any((entry / name).stat().st_size != size for name, size in about["bytes"].items()):
            return None
        with np.load(entry / TABLE, allow_pickle=False) as table:
            arrays = {name: table[name] for name in table.files}
        images = np.load(entry / IMAGES, mmap_mode="r", allow_pickle=False)
        if list(images.shape) != about["shape"] or images.dtype != np.uint8:
            return None
        with contextlib.suppress(OSError):
            os.utime(entry / ABOUT)  # the last ones used are kept
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile):
        return None
    return Kept(images, arrays, about)


@contextlib.contextmanager
def making(wanted: int) -> Iterator[Path]:
    """A folder to make an entry in, taken away in the end, whatever happens; `wanted`: bytes.

    Raises UserError for OSError: the disk is full, or the cache cannot be written.
    """
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(place).free < wanted:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with tempfile.TemporaryDirectory(
            prefix=UNFINISHED, dir=place, ignore_cleanup_errors=True
        ) as making_in:
            yield Path(making_in)
    except OSError as error:
        raise UserError(
            f"the decoded pictures cannot be kept in {place} ({error.strerror or error}); about "
            f"{math.ceil(wanted / 1e6):,} MB are needed there: free space or make the folder "
            "writable, or set HOME to a folder on another disk"
        ) from error


def keep(made: Path, key: str, about: dict[str, Any]) -> None:
    """Put the entry in `made` (images and table) in its place with what there is to say of it.

    An entry that another process has put there meanwhile is as good.
    """
    about = about | {"bytes": {name: (made / name).stat().st_size for name in (IMAGES, TABLE)}}
    (made / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    place = folder() / key
    inner = made / "entry"
    inner.mkdir()
    for name in (IMAGES, TABLE, ABOUT):
        (made / name).replace(inner / name)
    if place.exists() and found(key) is None:
        _remove(place)
    try:
        inner.replace(place)
    except OSError:
        if found(key) is None:
            raise
    _keep_the_last(key)


def remember(fingerprint: str, key: str) -> None:
    """Note the entry that a listing led to; if that is not possible, it is only slower."""
    listings = folder() / "listings"
    with contextlib.suppress(OSError):
        listings.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=listings, delete=False) as file:
            file.write(key)
        Path(file.name).replace(listings / fingerprint)


def _keep_the_last(key: str) -> None:
    """Remove what was not used for longest, but not `key`, and what nobody finished."""
    place = folder()
    with contextlib.suppress(OSError):
        entries = []
        for path in place.iterdir():
            if path.name.startswith(UNFINISHED):
                if time.time() - path.stat().st_mtime > LEFT_BEHIND:
                    _remove(path)
            elif (path / ABOUT).exists():
                entries.append((path.name == key, (path / ABOUT).stat().st_mtime, path))
        held = 0
        for number, (own, _, path) in enumerate(sorted(entries, reverse=True)):
            held += sum(file.stat().st_size for file in path.iterdir())
            if not own and (number >= ENTRIES or held > BYTES):
                _remove(path)
        for listing in (place / "listings").iterdir():
            if not (place / (_noted(listing) or "none") / ABOUT).exists():
                listing.unlink()


def _remove(path: Path) -> None:
    """Remove a folder; under another name first, so that nobody finds half of it."""
    with contextlib.suppress(OSError):
        gone = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=path.parent))
        path.replace(gone / "removed")
        shutil.rmtree(gone, ignore_errors=True)


def write_images(path: Path, shape: tuple[int, ...], parts: Iterator[NDArray[np.uint8]]) -> None:
    """Write an array uint8 of this shape as .npy, from its parts along the first axis."""
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part).data)


def packed(names: list[str]) -> NDArray[np.uint8]:
    """Texts without NUL as an array of bytes."""
    return np.frombuffer("\0".join(names).encode("utf-8"), np.uint8)


def unpacked(names: NDArray[np.uint8]) -> list[str]:
    """Inverse of `packed`, of one text at least."""
    return names.tobytes().decode("utf-8").split("\0")
