"""Your own images: one .npz file with the arrays x_train, y_train, x_test and y_test."""

import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data import _pictures
from pipeline.data.dataset import NUMBER_THEM, Dataset, build
from pipeline.errors import UserError, looked_for

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
SHOWN = 8  # names that a message lists
WRITE_IT = f"write it with numpy.savez_compressed(path, {', '.join(f'{a}=…' for a in ARRAYS)})"


def load(data_dir: Path | None) -> Dataset:
    """Load data_dir, an .npz file or a folder with exactly one; y_train may hold -1 (unknown).

    Raises UserError if there is no such file, its arrays are missing, damaged or unsuitable, or it
    holds others that nothing would read.
    """
    path = _find(data_dir)
    x_train, y_train, x_test, y_test = _read(path)
    return build("npz", str(path), (x_train, y_train), (x_test, y_test))


def _find(data_dir: Path | None) -> Path:
    """Path of the one .npz file that data_dir is or holds."""
    if data_dir is None:
        raise UserError(
            "dataset=npz needs data_dir: an .npz file, or a folder with exactly one, that holds "
            f"{', '.join(ARRAYS)}"
        )
    if data_dir.is_file():
        return data_dir
    if not data_dir.is_dir():
        raise UserError(
            f"data_dir={data_dir} does not exist{looked_for(data_dir)}; dataset=npz needs an .npz "
            "file, or a folder with exactly one"
        )
    found = sorted(data_dir.glob("*.npz"))
    if len(found) > 1:
        raise UserError(
            f"data_dir={data_dir} holds {len(found)} .npz files "
            f"({_listed([path.name for path in found])}); name one of them as data_dir"
        )
    if not found:
        raise UserError(f"data_dir={data_dir} holds no .npz file{_instead(data_dir)}")
    return found[0]


def _instead(folder: Path) -> str:
    """What a folder without an .npz file holds, and what to do with it."""
    if pictures := _pictures.below(folder):
        return f" but {pictures}; {_pictures.READ_THEM}"
    if any(folder.glob("train-images*ubyte*")):
        return " but IDX files; say whose they are: dataset=mnist or fashion_mnist"
    if arrays := sorted(path.name for path in folder.glob("*.npy")):
        return f" but {_listed(arrays)}; load them and {WRITE_IT}"
    return f"; put one there, or name it as data_dir: {WRITE_IT}"


def _read(path: Path) -> list[NDArray[Any]]:
    """Read the four ARRAYS of an .npz file; nothing in it is ever unpickled."""
    if path.suffix.lower() in _pictures.SUFFIXES:
        raise UserError(
            f"{path}: a single picture, not an .npz file; for all pictures of its folder "
            f"{_pictures.READ_THEM}"
        )
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not an .npz file, or cut short; {WRITE_IT}")
    arrays = {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            _check_names(archive.files, path)
            for name in ARRAYS:
                arrays[name] = np.asarray(archive[name])
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).partition("\n")[0]
        remedy = WRITE_IT
        if "Object arrays" in reason:
            remedy = "stack images of one size with np.stack, or cut them to one size first"
            if ARRAYS[len(arrays)].startswith("y"):
                remedy = f"labels must be integers 0..K-1; number names by {NUMBER_THEM}"
        raise UserError(
            f"{path}: array {ARRAYS[len(arrays)]} cannot be read ({reason}); {remedy}"
        ) from error
    return list(arrays.values())


def _check_names(names: Sequence[str], path: Path) -> None:
    """Raise UserError unless the file holds the four ARRAYS and no other."""
    missing = [name for name in ARRAYS if name not in names]
    others = [name for name in names if name not in ARRAYS]
    if missing:
        if pictures := _pictures.counted(map(PurePath, others)):
            raise UserError(
                f"{path}: a zip file of {pictures}; unpack it, then {_pictures.READ_THEM}"
            )
        renamed = [f"{name} to {_meant(name)}" for name in others if _meant(name) in missing]
        raise UserError(
            f"{path}: has no {', '.join(missing)}; it holds {_listed(names) or 'nothing'}, needed "
            f"are {', '.join(ARRAYS)}{': rename ' + _listed(renamed) if renamed else ''}"
        )
    if others:
        raise UserError(
            f"{path}: holds {_listed(others)} besides {', '.join(ARRAYS)}, which would be left "
            f"unread; {_use_for(others)}"
        )


def _meant(name: str) -> str:
    """Which of ARRAYS a name may stand for, e.g. train_images for x_train; "" if for none."""
    low = name.lower()
    part = "train" if "train" in low else "test" if "test" in low else ""
    kind = "y" if re.search(r"(^|_)y|label|target|class", low) else "x"
    return f"{kind}_{part}" if part else ""


def _use_for(names: Sequence[str]) -> str:
    """What to do with arrays that are not read, before the file is written again without them."""
    advice = []
    if unlabelled := [name for name in names if re.search("unlab|extra|pool", name.lower())]:
        advice.append(
            f"append unlabelled images to x_train, with label -1 each in y_train: "
            f"np.concatenate([y_train, np.full(len({unlabelled[0]}), -1)])"
        )
    if any(re.search("val|dev", name.lower()) for name in names if name not in unlabelled):
        advice.append(
            "append validation images and labels to x_train and y_train: valid_frac chooses what "
            "validates"
        )
    return "; ".join([*advice, "write the file again with those four arrays alone"])


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many there are besides."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
