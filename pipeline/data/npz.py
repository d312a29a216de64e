"""Your own images: one .npz file with the arrays x_train, y_train, x_test and y_test.

It may also hold class_names and x_unlabelled. Labels are numbers or text.
"""

import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import memory
from pipeline.data import _pictures
from pipeline.data._labels import UNKNOWN, like_unknown
from pipeline.data.dataset import Dataset, build
from pipeline.errors import UserError, looked_for

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
NAMES = "class_names"
UNLABELLED = ("x_unlabelled", "x_unlabeled")  # one array, two spellings
SHOWN = 8  # names that a message lists
REASON = 200  # characters of numpy's reason that a message repeats
# A header may say anything: sizes that no memory has (MemoryError), brackets without end.
UNREADABLE = (
    *(ValueError, OSError, EOFError, RuntimeError, MemoryError, RecursionError, SyntaxError),
    *(OverflowError, zipfile.BadZipFile, zlib.error),
)
WRITE_IT = f"write it with numpy.savez_compressed(path, {', '.join(f'{a}=…' for a in ARRAYS)})"


def load(data_dir: Path | None) -> Dataset:
    """Load data_dir, an .npz file or a folder with exactly one.

    Labels are integers 0..K-1, in y_train also -1 (unknown), or text, in y_train also ""
    (unknown). Optional: class_names, text [K], the names of the labels 0..K-1, by default the
    numbers themselves or the sorted distinct texts; x_unlabelled, uint8 images, which come after
    x_train with label -1. Raises UserError if there is no such file, its arrays are missing,
    damaged or unsuitable, or it holds others that nothing would read.
    """
    path = _find(data_dir)
    arrays = _read(path)
    names = _names(arrays[NAMES], path) if NAMES in arrays else None
    y_train, y_test = arrays["y_train"], arrays["y_test"]
    as_text = [labels.dtype.kind in "US" for labels in (y_train, y_test)]
    if all(as_text):
        y_train, y_test, names = _numbered(y_train, y_test, names, path)
    elif any(as_text):
        raise UserError(
            f"{path}: y_train is {y_train.dtype} but y_test is {y_test.dtype}; give both as "
            "numbers or both as text"
        )
    elif names:
        _refuse_other_length(names, y_train, y_test, path)
    unlabelled = next((arrays[name] for name in UNLABELLED if name in arrays), None)
    train, test = (arrays["x_train"], y_train), (arrays["x_test"], y_test)
    return build("npz", str(path), train, test, names, unlabelled)


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


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an .npz file, by name; nothing in it is ever unpickled."""
    if path.suffix.lower() in _pictures.SUFFIXES:
        raise UserError(
            f"{path}: a single picture, not an .npz file; for all pictures of its folder "
            f"{_pictures.READ_THEM}"
        )
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path}: not an .npz file, or cut short; {WRITE_IT}")
    arrays: dict[str, NDArray[Any]] = {}
    name = ""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            _check_names(archive.files, path)
            _check_size(archive.zip, path)
            for name in archive.files:
                arrays[name] = np.asarray(archive[name])
    except UNREADABLE as error:
        reason = str(error).partition("\n")[0][:REASON]
        remedy = WRITE_IT
        if "Object arrays" in reason:
            remedy = "stack images of one size with np.stack, or cut them to one size first"
            if name == NAMES:
                remedy = "write it as text: class_names.astype(str)"
            elif name.startswith("y"):
                unknown = ", with '' where the label is unknown" * (name == "y_train")
                remedy = f"write labels as integers 0..K-1, or as text: {name}.astype(str){unknown}"
        raise UserError(
            f"{path}: array {name or ARRAYS[0]} cannot be read ({reason}); {remedy}"
        ) from error
    return arrays


def _check_size(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise UserError if the arrays unpack to more than the memory, as their table says."""
    unpacked, most = sum(member.file_size for member in archive.infolist()), memory.limit()
    if unpacked > most:
        raise UserError(
            f"{path}: unpacks to {memory.as_gb(unpacked)}, this machine has {memory.as_gb(most)} "
            "of memory; give fewer or smaller images, or pictures as files (dataset=folder), "
            "which may be larger than the memory"
        )


def _names(names: NDArray[Any], path: Path) -> tuple[str, ...]:
    """The class names, checked: distinct texts, one for each class."""
    where = f"{path}: class_names"
    if names.dtype.kind not in "US" or names.ndim != 1:
        raise UserError(
            f"{where} is {names.dtype} of shape {names.shape}; it must be text of shape (K,), one "
            'name for each label 0..K-1: np.array(["cat", "dog", …])'
        )
    texts = _texts(names, where)
    distinct, counts = np.unique(texts, return_counts=True)
    repeated = distinct[counts > 1].tolist()
    if repeated or "" in distinct:
        fault = f"holds {_listed(repeated)} more than once" if repeated else "holds an empty name"
        raise UserError(f"{where} {fault}; give each class a name of its own")
    return tuple(texts.tolist())


def _texts(array: NDArray[Any], where: str) -> NDArray[np.str_]:
    """An array of text as str without blanks around it: bytes are UTF-8."""
    try:
        text = array if array.dtype.kind == "U" else np.char.decode(array, "utf-8")
        return np.char.strip(text)
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: holds bytes that are not UTF-8; write it as str") from error


def _numbered(
    y_train: NDArray[Any], y_test: NDArray[Any], names: tuple[str, ...] | None, path: Path
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Labels given as text as their positions in the class names, and these."""
    train, test = _texts(y_train, f"{path}: y_train"), _texts(y_test, f"{path}: y_test")
    if empty := int(np.sum(test == "")):
        raise UserError(
            f"{path}: y_test holds {empty:,} empty texts; every test label must be known: move "
            "these images to x_unlabelled, or leave them out"
        )
    found = np.unique(np.concatenate([train.ravel(), test.ravel()]))
    if not names:
        _refuse_other_unknown(set(found.tolist()) - set(test.ravel().tolist()), path)
    if foreign := sorted(set(found.tolist()) - {"", *(names or found.tolist())}):
        raise UserError(
            f"{path}: labels {_listed(foreign)} are not in class_names; correct them, or add them "
            "to class_names"
        )
    names = names or tuple(str(text) for text in found if text)
    numbers = {text: number for number, text in enumerate(names)} | {"": UNKNOWN}
    table = np.array([numbers.get(str(text), UNKNOWN) for text in found], np.int64)
    return table[np.searchsorted(found, train)], table[np.searchsorted(found, test)], names


def _refuse_other_unknown(only_train: set[str], path: Path) -> None:
    """Raise UserError if a text that no test image has reads like "unknown"."""
    if alike := sorted(text for text in only_train if like_unknown(text)):
        raise UserError(
            f"{path}: y_train holds {alike[0]!r}, which looks like 'unknown'; an unknown label is "
            f"the empty text: y_train[y_train == {alike[0]!r}] = '' (if it is a class, name all "
            "classes in class_names)"
        )


def _refuse_other_length(
    names: tuple[str, ...], y_train: NDArray[Any], y_test: NDArray[Any], path: Path
) -> None:
    """Raise UserError unless there is a name for each label 0..K-1; other faults are `build`'s."""
    known = [labels for labels in (y_train, y_test) if labels.size and labels.dtype.kind in "iu"]
    highest = max((int(labels.max()) for labels in known), default=len(names) - 1)
    if len(names) != highest + 1:
        raise UserError(
            f"{path}: class_names holds {len(names)} names but the highest label is {highest}; "
            f"give one name for each label 0..{highest} (an unknown label is -1)"
        )


def _check_names(names: Sequence[str], path: Path) -> None:
    """Raise UserError unless the file holds the four ARRAYS and else only the optional ones."""
    missing = [name for name in ARRAYS if name not in names]
    others = [name for name in names if name not in (*ARRAYS, NAMES, *UNLABELLED)]
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
    if all(name in names for name in UNLABELLED):
        raise UserError(f"{path}: holds {' and '.join(UNLABELLED)}; join them to one array")


def _meant(name: str) -> str:
    """Which of ARRAYS a name may stand for, e.g. train_images for x_train; "" if for none."""
    low = name.lower()
    part = "train" if "train" in low else "test" if "test" in low else ""
    kind = "y" if re.search(r"(^|_)y|label|target|class", low) else "x"
    return f"{kind}_{part}" if part else ""


def _use_for(names: Sequence[str]) -> str:
    """What to do with arrays that are not read, before the file is written again without them."""
    advice = []
    meant = {UNLABELLED[0]: "unlab|extra|pool", NAMES: "class|names|categor|meaning"}
    for name, pattern in meant.items():
        if alike := [other for other in names if re.search(pattern, other.lower())]:
            advice.append(f"rename {alike[0]} to {name}")
            names = [other for other in names if other not in alike]
    if any(re.search("val|dev", name.lower()) for name in names):
        advice.append(
            "append validation images and labels to x_train and y_train: valid_frac chooses what "
            "validates"
        )
    optional = f"optional are {NAMES} (text, one name a class) and {UNLABELLED[0]} (images)"
    return "; ".join([*advice, f"write the file again without what is not read; {optional}"])


def _listed(names: Sequence[str]) -> str:
    """The first names, and how many there are besides."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
