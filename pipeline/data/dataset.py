"""Images and labels of one data set, checked once: what stands here may be relied on."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.data import _pixels
from pipeline.data._checks import Finding, findings
from pipeline.data._labels import UNKNOWN, checked, every_class_has_a_label
from pipeline.errors import UserError

HASHED = 4096  # images at once


class Options(NamedTuple):
    """How picture files become images; data sets of another kind ignore it."""

    image_size: int | None = None  # side of the images in pixels; None = chosen from the pictures
    fit: Literal["crop", "pad"] = "crop"  # how a picture that is not square becomes so
    strict: bool = False  # a file that cannot be used ends the reading, instead of being skipped
    largest: int = 64  # pixels of a chosen side, at most: larger images take long to train on
    test_frac: float = 0.2  # share of the labelled pictures that test, if there is no test part


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

    def unknown(self) -> NDArray[np.int64]:
        """Indices, int64 and sorted, of images whose label nobody knows; reads no label."""
        return np.flatnonzero(self._labels == UNKNOWN)

    def equals(self, other: "LabelDoor") -> bool:
        """Whether both have the same labels; reads none."""
        return np.array_equal(self._labels, other._labels)

    def unread(self) -> "LabelDoor":
        """The same labels behind a new door."""
        return LabelDoor(self._labels, self.n_classes)


@dataclass(frozen=True, eq=False)
class Dataset:
    """One data set: uint8 images [n, h, w, c] and label doors of a training and a test part.

    Training labels may be -1 (unknown), test labels never; every class has a known training label.
    `digest` identifies images and labels of both parts (16 hex digits of their SHA-256).
    `pixel_range` holds the lowest and highest pixel of the training images that counts, (0, 255)
    if they fill that range. `findings` are what a user should know before they train.
    `train_files` and `test_files` are the names of the pictures, relative to the data folder, in
    the order of the images; empty if the images come from no files of their own. `scale` says how
    values of more than eight bits became pixels (`_scale`), "" where there were none.
    """

    name: str
    class_names: tuple[str, ...]
    train_images: NDArray[np.uint8]
    train_labels: LabelDoor
    test_images: NDArray[np.uint8]
    test_labels: LabelDoor
    digest: str
    pixel_range: tuple[int, int] = _pixels.FULL
    findings: tuple[Finding, ...] = ()
    train_files: Sequence[str] = ()
    test_files: Sequence[str] = ()
    scale: str = ""

    def stretched(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images of this data set, uint8 [n, h, w, c], with `pixel_range` stretched to 0..255."""
        if self.pixel_range == _pixels.FULL:
            return images
        # As bytes: NumPy would first make every pixel an index of eight bytes.
        table = _pixels.stretching(*self.pixel_range).tobytes()
        return np.frombuffer(images.tobytes().translate(table), np.uint8).reshape(images.shape)

    @property
    def images_to_train_on(self) -> NDArray[np.uint8]:
        """The training images [n, h, w, c], stretched; those of a mapped file stay there."""
        if isinstance(self.train_images, np.memmap) and self.pixel_range != _pixels.FULL:
            return cast("NDArray[np.uint8]", StretchedImages(self, self.train_images))
        return self.stretched(self.train_images)

    @property
    def images_to_test_on(self) -> NDArray[np.uint8]:
        """The test images [n, h, w, c], stretched as they are read, for few of them are needed."""
        return cast("NDArray[np.uint8]", StretchedImages(self, self.test_images))

    @property
    def pixels(self) -> str:
        """The range of the pixels as text, "" if it is all of 0..255."""
        return _pixels.as_text(*self.pixel_range)

    @property
    def pixel_tables(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Tables uint8 [256]: from stored pixels to stretched ones, and back."""
        return _pixels.stretching(*self.pixel_range), _pixels.shrinking(*self.pixel_range)

    def shows_the_same(self, other: "Dataset") -> bool:
        """Whether both are the same pictures with the same classes and labels, in any size."""
        named = [
            (one.class_names, list(one.train_files), list(one.test_files)) for one in (self, other)
        ]
        labels = (self.train_labels, other.train_labels), (self.test_labels, other.test_labels)
        return named[0] == named[1] and all(one.equals(another) for one, another in labels)

    def unread(self) -> "Dataset":
        """The same data with label doors that nobody has gone through."""
        return replace(
            self, train_labels=self.train_labels.unread(), test_labels=self.test_labels.unread()
        )


class StretchedImages:
    """Images of a data set, stretched as they are read: an array to index."""

    def __init__(self, dataset: Dataset, images: NDArray[np.uint8]) -> None:
        """Read nothing yet."""
        self._dataset, self._images = dataset, images
        self.shape, self.nbytes = images.shape, images.nbytes

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def __getitem__(self, places: Any) -> NDArray[np.uint8]:
        """Images [k, h, w, c] at places, a slice or int64 [k]; [h, w, c] at an int."""
        return self._dataset.stretched(self._images[places])


def build(
    name: str,
    source: str,
    train: tuple[NDArray[Any], NDArray[Any]],
    test: tuple[NDArray[Any], NDArray[Any]],
    class_names: tuple[str, ...] | None = None,
    unlabelled: NDArray[Any] | None = None,
    files: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> Dataset:
    """Check (images, labels) of both parts and make the data set of them.

    Images are uint8 [n, h, w] or [n, h, w, c], labels of any integer type [n]. Without class_names
    the classes are those that occur, named "0".."K-1". `unlabelled` images come after the training
    images, as training images with label -1. `files` are the names of both parts' pictures, if the
    images come from such. `source` (a path) goes into the messages. Raises UserError for anything
    that breaks the promises of `Dataset`.
    """
    where = f"dataset={name} ({source})"
    train_images = _images(train[0], f"{where}: train images")
    test_images = _images(test[0], f"{where}: test images")
    _refuse_other_shape(train_images, test_images, "test", where)
    limit = len(class_names) if class_names else None
    train_labels = checked(train[1], len(train_images), UNKNOWN, limit, f"{where}: train labels")
    n_trained = int(train_labels.max()) + 1
    test_labels = checked(test[1], len(test_images), 0, limit, f"{where}: test labels", n_trained)
    n_classes = limit or max(n_trained, int(test_labels.max()) + 1)
    every_class_has_a_label(train_labels, n_classes, class_names, where)
    if unlabelled is not None:
        more = _images(unlabelled, f"{where}: unlabelled images")
        _refuse_other_shape(train_images, more, "unlabelled", where)
        train_images = np.concatenate([train_images, more])
        train_labels = np.concatenate([train_labels, np.full(len(more), UNKNOWN)])
    _refuse_blank(train_images, where)
    class_names = class_names or tuple(str(label) for label in range(n_classes))
    return Dataset(
        name=name,
        class_names=class_names,
        train_images=train_images,
        train_labels=LabelDoor(train_labels, n_classes),
        test_images=test_images,
        test_labels=LabelDoor(test_labels, n_classes),
        digest=_digest(train_images, train_labels, test_images, test_labels),
        pixel_range=_pixels.pixel_range(train_images),
        findings=findings(
            train_images, train_labels, test_images, test_labels, class_names, *files
        ),
        train_files=files[0],
        test_files=files[1],
    )


def _images(images: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Check one part's images and return them as uint8 [n, h, w, c], c = 1 or 3."""
    allowed = "allowed are uint8 arrays [n, h, w] or [n, h, w, c] with c = 1 or 3 (channels last)"
    if images.size == 0:
        raise UserError(f"{what} are empty (shape {images.shape}); at least one image is needed")
    if images.dtype != np.uint8:
        raise UserError(f"{what} are {images.dtype}; {allowed}: {_to_bytes(images)}")
    shaped = images[..., np.newaxis] if images.ndim == 3 else images
    if shaped.ndim != 4 or shaped.shape[3] not in (1, 3):
        raise UserError(f"{what} have shape {images.shape}; {allowed}: {_to_images(images.shape)}")
    return shaped


def _refuse_other_shape(
    train_images: NDArray[np.uint8], images: NDArray[np.uint8], part: str, where: str
) -> None:
    """Raise UserError unless the images of a part have the training images' shape."""
    if images.shape[1:] != train_images.shape[1:]:
        raise UserError(
            f"{where}: train images are {train_images.shape[1:]} but {part} images are "
            f"{images.shape[1:]} (height, width, channels); bring both to one shape"
        )


def _to_bytes(images: NDArray[Any]) -> str:
    """How to make uint8 images of these."""
    if images.dtype == bool:
        return "write images.astype(np.uint8) * 255"
    if images.dtype.kind not in "iuf":
        return "give the images themselves, not names or other objects"
    low, high = images.min(), images.max()
    found = f"these hold {low:g}..{high:g}, so write"
    if images.dtype.kind in "iu" and low >= 0 and high <= 255:
        return f"{found} images.astype(np.uint8)"
    if low >= 0 and high <= 1:
        return f"{found} (images * 255).round().astype(np.uint8)"
    return (
        f"{found} ((images - low) * (255 / (high - low))).round().astype(np.uint8), with the same "
        "low and high for both parts"
    )


def _to_images(shape: tuple[int, ...]) -> str:
    """How to make [n, h, w] or [n, h, w, c] of this shape."""
    if len(shape) == 2:
        side = math.isqrt(shape[1])
        sides = f"{side}, {side}" if side**2 == shape[1] else "h, w"
        return f"reshape them, images.reshape(-1, {sides}), if that is their height and width"
    if len(shape) == 4 and shape[1] in (1, 3):
        return "these are channels first, so write np.moveaxis(images, 1, -1)"
    if len(shape) == 4 and shape[3] in (2, 4):
        return f"drop the last channel (transparency): images[..., :{shape[3] - 1}]"
    return "reshape them"


def _refuse_blank(train_images: NDArray[np.uint8], where: str) -> None:
    """Raise UserError if all pixels of all images are equal."""
    if train_images.min() == train_images.max():
        raise UserError(
            f"{where}: every pixel of the training images is {train_images.min()}, so there is "
            "nothing to learn; were floats in [0, 1] cast to integers? Scale them by 255 first"
        )


def _digest(*arrays: NDArray[Any]) -> str:
    """16 hex digits of the SHA-256 over shape, type and bytes of the arrays."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.shape}{array.dtype}".encode())
        for begin in range(0, len(array), HASHED):
            sha.update(np.ascontiguousarray(array[begin : begin + HASHED]).data)
    return sha.hexdigest()[:16]
