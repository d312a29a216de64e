"""Images and labels of one data set, checked once: what stands here may be relied on."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError

UNKNOWN = -1


class LabelDoor:
    """The one door labels go through: hands them out and records who has read which."""

    def __init__(self, labels: NDArray[np.int64], n_classes: int) -> None:
        """Hold a copy of labels, int64 [n] with -1 = unknown, of classes 0..n_classes-1."""
        self.n_classes = n_classes
        self._labels = labels.astype(np.int64)
        self._read: dict[str, NDArray[np.bool_]] = {}

    def __len__(self) -> int:
        """Number of images, with or without a known label."""
        return len(self._labels)

    def read(self, indices: NDArray[np.int64], reader: str) -> NDArray[np.int64]:
        """Labels int64 [k] at indices int64 [k]; each index counts as read by reader.

        Raises IndexError for an index outside the part; then nothing counts as read.
        """
        labels = self._labels[indices]
        self._read.setdefault(reader, np.zeros(len(self), bool))[indices] = True
        return labels

    def indices_read(self, reader: str) -> NDArray[np.int64]:
        """Distinct indices, int64 and sorted, whose labels reader has read so far."""
        return np.flatnonzero(self._read.get(reader, [])).astype(np.int64)

    def unread(self) -> "LabelDoor":
        """The same labels behind a new door."""
        return LabelDoor(self._labels, self.n_classes)


@dataclass(frozen=True, eq=False)
class Dataset:
    """One data set: uint8 images [n, h, w, c] and label doors of a training and a test part.

    Training labels may be -1 (unknown), test labels never; every class has a known training label.
    `digest` identifies images and labels of both parts (16 hex digits of their SHA-256).
    """

    name: str
    class_names: tuple[str, ...]
    train_images: NDArray[np.uint8]
    train_labels: LabelDoor
    test_images: NDArray[np.uint8]
    test_labels: LabelDoor
    digest: str

    def unread(self) -> "Dataset":
        """The same data with label doors that nobody has gone through."""
        return replace(
            self, train_labels=self.train_labels.unread(), test_labels=self.test_labels.unread()
        )


def build(
    name: str,
    source: str,
    train: tuple[NDArray[Any], NDArray[Any]],
    test: tuple[NDArray[Any], NDArray[Any]],
    class_names: tuple[str, ...] | None = None,
) -> Dataset:
    """Check (images, labels) of both parts and make the data set of them.

    Images are uint8 [n, h, w] or [n, h, w, c], labels of any integer type [n]. Without class_names
    the classes are those that occur, named "0".."K-1". `source` (a path) goes into the messages.
    Raises UserError for anything that breaks the promises of `Dataset`.
    """
    where = f"dataset={name} ({source})"
    train_images = _images(train[0], f"{where}: train images")
    test_images = _images(test[0], f"{where}: test images")
    if train_images.shape[1:] != test_images.shape[1:]:
        raise UserError(
            f"{where}: train images are {train_images.shape[1:]} but test images are "
            f"{test_images.shape[1:]} (height, width, channels); bring both to one shape"
        )
    limit = len(class_names) if class_names else None
    train_labels = _labels(train[1], len(train_images), UNKNOWN, limit, f"{where}: train labels")
    test_labels = _labels(test[1], len(test_images), 0, limit, f"{where}: test labels")
    n_classes = limit or int(max(train_labels.max(), test_labels.max())) + 1
    _every_class_has_a_label(train_labels, n_classes, where)
    return Dataset(
        name=name,
        class_names=class_names or tuple(str(label) for label in range(n_classes)),
        train_images=train_images,
        train_labels=LabelDoor(train_labels, n_classes),
        test_images=test_images,
        test_labels=LabelDoor(test_labels, n_classes),
        digest=_digest(train_images, train_labels, test_images, test_labels),
    )


def _images(images: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Check one part's images and return them as uint8 [n, h, w, c], c = 1 or 3."""
    allowed = "allowed are uint8 arrays [n, h, w] or [n, h, w, c] with c = 1 or 3 (channels last)"
    if images.dtype != np.uint8:
        raise UserError(f"{what} are {images.dtype}; {allowed}: scale them to 0..255 and cast")
    shaped = images[..., np.newaxis] if images.ndim == 3 else images
    if shaped.ndim != 4 or shaped.shape[3] not in (1, 3):
        raise UserError(f"{what} have shape {images.shape}; {allowed}: reshape them")
    if shaped.size == 0:
        raise UserError(f"{what} are empty (shape {images.shape}); at least one image is needed")
    return shaped


def _labels(
    labels: NDArray[Any], n_images: int, lowest: int, limit: int | None, what: str
) -> NDArray[np.int64]:
    """Check one part's labels (lowest <= label < limit, if there is one) and return them int64."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{what} are {labels.dtype}; they must be integers 0..K-1: cast them")
    if labels.shape != (n_images,):
        raise UserError(
            f"{what} have shape {labels.shape} but there are {n_images} images; "
            f"give one label for each image, shape ({n_images},)"
        )
    # Compared before the cast: an unsigned 64-bit label could wrap into the allowed range.
    highest = limit - 1 if limit else np.iinfo(np.int64).max - 1
    for value in (int(labels.min()), int(labels.max())):
        if not lowest <= value <= highest:
            unknown = "-1 (unknown) and " if lowest == UNKNOWN else ""
            raise UserError(
                f"{what} hold {value}; allowed are {unknown}0..{limit - 1 if limit else 'K-1'}: "
                "number the classes from 0"
            )
    return labels.astype(np.int64)


def _every_class_has_a_label(train_labels: NDArray[np.int64], n_classes: int, where: str) -> None:
    """Raise UserError unless each class 0..n_classes-1, two at least, has a known label."""
    present = np.unique(train_labels[train_labels != UNKNOWN])
    if len(present) < n_classes:
        # The first gap: `present` is sorted, so it equals its own position up to there.
        gap = np.flatnonzero(present != np.arange(len(present)))
        missing = int(gap[0]) if len(gap) else len(present)
        raise UserError(
            f"{where}: class {missing} has no label among the training images; each class "
            f"0..{n_classes - 1} needs at least one: add images of it, or number the classes "
            "0..K-1 without gaps"
        )
    if n_classes < 2:
        raise UserError(
            f"{where}: all labels are class 0; at least two classes are needed: add images of "
            "another class"
        )


def _digest(*arrays: NDArray[Any]) -> str:
    """16 hex digits of the SHA-256 over shape, type and bytes of the arrays."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.shape}{array.dtype}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()[:16]
