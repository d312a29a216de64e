"""The labels of one part, checked: whole numbers, in their range, of every class."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError

UNKNOWN = -1
LIKE_UNKNOWN = re.compile(
    r"-1(\.0*)?|-+|\.+|\?+|<?nan?>?|#?n/a|none|null|unknown|(un|no|not)[ _-]?label(l?ed)?",
    re.IGNORECASE,
)


def like_unknown(text: str) -> bool:
    """Whether a label in words reads like "nobody knows"."""
    return LIKE_UNKNOWN.fullmatch(text.strip()) is not None


def checked(
    labels: NDArray[Any],
    n_images: int,
    lowest: int,
    limit: int | None,
    what: str,
    n_trained: int = 0,
) -> NDArray[np.int64]:
    """Check one part's labels (lowest <= label < limit, if there is one) and return them int64.

    Labels 0..n_trained-1 are classes that training knows, however few of them this part has.
    """
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{what} are {labels.dtype}; they must be integers 0..K-1: {_cast(labels)}")
    if labels.shape != (n_images,):
        raise UserError(
            f"{what} have shape {labels.shape} but there are {n_images} images; "
            f"give one label for each image, shape ({n_images},){_flatten(labels.shape, n_images)}"
        )
    _refuse_other_unknown(labels, lowest, limit or n_trained, what)
    # Compared before the cast: an unsigned 64-bit label could wrap into the allowed range.
    highest = limit - 1 if limit else np.iinfo(np.int64).max - 1
    for value in (int(labels.min()), int(labels.max())):
        if not lowest <= value <= highest:
            unknown = "-1 (unknown) and " if lowest == UNKNOWN else ""
            remedy = "number the classes from 0"
            if value == UNKNOWN:
                remedy = "move images without a label to the training images, or leave them out"
            raise UserError(
                f"{what} hold {value}; allowed are {unknown}0..{limit - 1 if limit else 'K-1'}: "
                f"{remedy}"
            )
    return labels.astype(np.int64)


def _cast(labels: NDArray[Any]) -> str:
    """How to make integers of labels of another type."""
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        return "NaN is -1 here (unknown, training only): np.nan_to_num(labels, nan=-1).astype(int)"
    return "cast them, labels.astype(int)"


def _flatten(shape: tuple[int, ...], n_images: int) -> str:
    """How to make one label for each image of this shape."""
    if shape == (n_images, 1):
        return ": labels.ravel()"
    if len(shape) == 2 and shape[0] == n_images:
        return ": if these are one-hot, labels.argmax(axis=1)"
    return ""


def standing_apart(known: Sequence[int]) -> int | None:
    """The largest of sorted labels if it stands for "unknown" by its looks, as 255 or 99 do."""
    if len(known) < 3:  # 0 and 255 alone are two classes
        return None
    *others, last = known
    n_classes = others[-1] + 1
    if 2 * len(others) <= n_classes:  # numbers of something: gaps say nothing
        return None
    usual = set(str(last)) == {"9"} or (last >= 127 and last & (last + 1) == 0)  # 99, 2^k - 1
    return None if last - n_classes < (1 if usual else n_classes) else last


def _refuse_other_unknown(labels: NDArray[Any], lowest: int, limit: int, what: str) -> None:
    """Raise UserError if the largest label stands apart, as 255 or 99 for "unknown" do."""
    known = [int(value) for value in np.unique(labels) if value >= 0]
    last = standing_apart(known)
    if last is None or last < limit:
        return
    n_classes = known[-2] + 1
    if lowest != UNKNOWN:
        remedy = (
            "a test label cannot be unknown: leave these images out, or move them to the training "
            "images with label -1"
        )
    elif limit:
        remedy = "an unknown label is -1, which these files cannot hold: use dataset=npz"
    else:
        remedy = (
            "an unknown label is -1: y_train = y_train.astype(np.int64), then "
            f"y_train[y_train == {last}] = -1"
        )
    raise UserError(
        f"{what} hold 0..{n_classes - 1} and {last}, which looks like 'unknown'; {remedy} (if "
        f"{last} is a class, number the classes 0..K-1 without gaps)"
    )


def every_class_has_a_label(
    train_labels: NDArray[np.int64],
    n_classes: int,
    class_names: tuple[str, ...] | None,
    where: str,
) -> None:
    """Raise UserError unless each class 0..n_classes-1, two at least, has a known label."""
    present = np.unique(train_labels[train_labels != UNKNOWN])
    if len(present) < n_classes:
        # The first gap: `present` is sorted, so it equals its own position up to there.
        gap = np.flatnonzero(present != np.arange(len(present)))
        missing = int(gap[0]) if len(gap) else len(present)
        remedy = "add images of it, or number the classes 0..K-1 without gaps"
        called = ""
        if class_names and class_names[missing] != str(missing):
            called = f" ({class_names[missing]})"
            remedy = "label a training image of it, or leave the class out"
        elif missing == 0 and len(present) == n_classes - 1:
            remedy = f"the labels found are 1..{n_classes - 1}: subtract 1 from the known ones"
        raise UserError(
            f"{where}: class {missing}{called} has no label among the training images; each class "
            f"0..{n_classes - 1} needs at least one: {remedy}"
        )
    if n_classes < 2:
        raise UserError(
            f"{where}: all labels are class 0; at least two classes are needed: add images of "
            "another class"
        )
