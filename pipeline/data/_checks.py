"""What a user should know of the data before they train on them, and what training does about it.

Nothing here refuses: data that cannot be used are `dataset.build`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.data._pixels import FULL, pixel_range


@dataclass(frozen=True)
class Finding:
    """Something unusual in the data."""

    name: str  # of the metric `data/<name>`
    count: int  # images it concerns, or as the name says
    sentence: str  # for people: what was found, what it does, what to do
    rows: tuple[tuple[str, str], ...] = ()  # (file, what about it) for the table of the report


def reported(found: Sequence[Finding]) -> pd.DataFrame:
    """All findings as a table: finding, file ("" for the sentence of the whole), what."""
    rows = []
    for finding in found:
        rows.append((finding.name, "", finding.sentence))
        rows += [(finding.name, file, what) for file, what in finding.rows]
    return pd.DataFrame(rows, columns=["finding", "file", "what"])


def findings(
    train_images: NDArray[np.uint8], train_labels: NDArray[np.int64], test_images: NDArray[np.uint8]
) -> tuple[Finding, ...]:
    """Look for all kinds of findings; images uint8 [n, h, w, c], labels int64 [n], -1 = unknown."""
    train_keys, test_keys = image_keys(train_images), image_keys(test_images)
    found = (
        shared_images(train_keys, test_keys),
        contradicting_labels(train_keys, train_labels),
        narrow_pixels(train_images),
        other_scale(train_images, test_images),
    )
    return tuple(finding for finding in found if finding is not None)


def image_keys(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A number for each image [n, …], int64 [n]: equal images have equal ones, others do not.

    64-bit hashes of the bytes: among a million images the odds of a false match are 1 in 10⁷.
    """
    return np.fromiter((hash(image.tobytes()) for image in images), np.int64, len(images))


def shared_images(train_keys: NDArray[np.int64], test_keys: NDArray[np.int64]) -> Finding | None:
    """Test images that are training images too; keys by `image_keys`."""
    count = int(np.isin(test_keys, train_keys).sum())
    if not count:
        return None
    return Finding(
        "shared_images",
        count,
        f"{count:,} of {len(test_keys):,} test images equal a training image, so the test error "
        "may come out too low; take equal images out of one of the two parts",
    )


def contradicting_labels(keys: NDArray[np.int64], labels: NDArray[np.int64]) -> Finding | None:
    """Equal training images with different known labels; keys by `image_keys`."""
    known = labels >= 0
    pairs = np.unique(np.stack([keys[known], labels[known]], axis=1), axis=0)
    images, n_labels = np.unique(pairs[:, 0], return_counts=True)
    count = int(np.isin(keys[known], images[n_labels > 1]).sum())
    if not count:
        return None
    return Finding(
        "contradicting_labels",
        count,
        f"{count:,} training images have an equal one with another label; correct the wrong "
        "labels, or set them to -1 (unknown)",
    )


def narrow_pixels(train_images: NDArray[np.uint8]) -> Finding | None:
    """Training pixels that do not fill 0..255; training then stretches them."""
    low, high = pixel_range(train_images)
    if (low, high) == FULL:
        return None
    ends = int(train_images.min()), int(train_images.max())
    most = "" if ends == (low, high) else f", nearly all of them in {low}..{high}"
    return Finding(
        "pixel_span",
        high - low,
        f"the pixels of the training images lie in {ends[0]}..{ends[1]}{most}, not in 0..255; "
        f"training and models stretch {low}..{high} to 0..255 by themselves, and generated images "
        "are given in the range found; store pixels as 0..255 if you meant other ones",
    )


def other_scale(train_images: NDArray[np.uint8], test_images: NDArray[np.uint8]) -> Finding | None:
    """Test pixels that span less than half of what training pixels do, or more than twice."""
    trained, tested = pixel_range(train_images), pixel_range(test_images)
    spans = trained[1] - trained[0], tested[1] - tested[0]
    if 2 * min(spans) >= max(spans):
        return None
    return Finding(
        "test_pixel_span",
        spans[1],
        f"the pixels of the test images lie in {tested[0]}..{tested[1]}, those of the training "
        f"images in {trained[0]}..{trained[1]}; store both parts on one scale",
    )
