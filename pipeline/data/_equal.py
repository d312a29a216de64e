"""Images that are equal byte for byte."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.data._finding import ROWS, Finding

MANY = 0.01  # share of equal training images from which they are told of data without files


def image_keys(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A number for each image [n, …], int64 [n]: equal images have equal ones, others do not.

    64-bit hashes of the bytes: among a million images the odds of a false match are 1 in 10⁷.
    """
    return np.fromiter((hash(image.tobytes()) for image in images), np.int64, len(images))


def shared_images(
    train_keys: NDArray[np.int64],
    test_keys: NDArray[np.int64],
    train_files: Sequence[str] = (),
    test_files: Sequence[str] = (),
) -> Finding | None:
    """Test images that are training images too; keys by `image_keys`, rows if there are files."""
    shared = np.flatnonzero(np.isin(test_keys, train_keys))
    if not len(shared):
        return None
    rows: list[tuple[str, str]] = []
    if train_files and test_files:
        keys, first = np.unique(train_keys, return_index=True)
        equal = first[np.searchsorted(keys, test_keys[shared])]
        pairs = zip(shared.tolist(), equal.tolist(), strict=True)
        rows = [(test_files[a], f"equals {train_files[b]}") for a, b in pairs]
    return Finding(
        "shared_images",
        len(shared),
        f"{len(shared):,} of {len(test_keys):,} test images equal a training image, so the test "
        "error may come out too low; take equal images out of one of the two parts",
        tuple(rows[:ROWS]),
    )


def contradicting_labels(
    keys: NDArray[np.int64],
    labels: NDArray[np.int64],
    class_names: Sequence[str] = (),
    files: Sequence[str] = (),
) -> Finding | None:
    """Equal training images with different known labels; keys by `image_keys`."""
    known = np.flatnonzero(labels >= 0)
    pairs = np.unique(np.stack([keys[known], labels[known]], axis=1), axis=0)
    images, n_labels = np.unique(pairs[:, 0], return_counts=True)
    at = known[np.isin(keys[known], images[n_labels > 1])]
    if not len(at):
        return None
    rows = []
    if files and class_names:
        firsts: dict[int, dict[int, int]] = {}  # of equal images, the first of each label
        for i in at.tolist():
            firsts.setdefault(int(keys[i]), {}).setdefault(int(labels[i]), i)
        for i in at[np.argsort(keys[at], kind="stable")].tolist():  # equal ones together
            own = int(labels[i])
            its, other = next(item for item in firsts[int(keys[i])].items() if item[0] != own)
            rows.append(
                (
                    files[i],
                    f"is {class_names[own]}, but {files[other]}, which equals it, is "
                    f"{class_names[its]}",
                )
            )
    return Finding(
        "contradicting_labels",
        len(at),
        f"{len(at):,} training images have an equal one with another label; correct the wrong "
        "labels, or set them to -1 (unknown)",
        tuple(rows[:ROWS]),
    )


def equal_images(keys: NDArray[np.int64], files: Sequence[str] = ()) -> Finding | None:
    """Training images that equal an earlier one; without files only if there are MANY."""
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(first[group] != np.arange(len(keys)))
    if not len(repeated) or (not files and len(repeated) <= MANY * len(keys)):
        return None
    pairs = zip(repeated.tolist(), first[group[repeated]].tolist(), strict=True)
    rows = tuple((files[a], f"equals {files[b]}") for a, b in pairs if files)
    return Finding(
        "equal_images",
        len(repeated),
        f"{len(repeated):,} of {len(keys):,} training images equal an earlier one: they add "
        "nothing to learn, and those that validate make the validation error too low; keep one of "
        "each",
        rows[:ROWS],
    )
