"""Your own images: one .npz file with the arrays x_train, y_train, x_test and y_test."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.dataset import Dataset, build
from pipeline.errors import UserError

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def load(data_dir: Path | None) -> Dataset:
    """Load data_dir, an .npz file or a folder with exactly one; y_train may hold -1 (unknown).

    Raises UserError if there is no such file, or its arrays are missing, damaged or unsuitable.
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
    found = sorted(data_dir.glob("*.npz"))
    if len(found) != 1:
        held = f"holds {len(found)} .npz files" if data_dir.is_dir() else "does not exist"
        raise UserError(
            f"data_dir={data_dir} {held}; dataset=npz needs exactly one: name the file itself"
        )
    return found[0]


def _read(path: Path) -> list[NDArray[Any]]:
    """Read the four ARRAYS of an .npz file; nothing in it is ever unpickled."""
    remedy = f"write it with numpy.savez_compressed(path, {', '.join(f'{a}=…' for a in ARRAYS)})"
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not an .npz file, or cut short; {remedy}")
    arrays = []
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [name for name in ARRAYS if name not in archive.files]
            if missing:
                raise UserError(
                    f"{path}: has no {', '.join(missing)}; it holds "
                    f"{', '.join(archive.files) or 'nothing'}, needed are {', '.join(ARRAYS)}"
                )
            for name in ARRAYS:
                arrays.append(np.asarray(archive[name]))
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: array cannot be read ({reason}); {remedy}") from error
    return arrays
