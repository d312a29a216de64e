"""What a user should know of the data before they train on them, and what training does about it.

Nothing here refuses: data that cannot be used are `dataset.build`'s.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.data._balance import alike_classes, class_balance
from pipeline.data._equal import contradicting_labels, equal_images, image_keys, shared_images
from pipeline.data._finding import Finding
from pipeline.data._near_equal import near_equal
from pipeline.data._picture_checks import blank_images, odd_sizes
from pipeline.data._pixels import FULL, pixel_range

__all__ = ["Finding", "findings", "image_keys", "picture_findings"]


def findings(
    train_images: NDArray[np.uint8],
    train_labels: NDArray[np.int64],
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.int64],
    class_names: Sequence[str],
    train_files: Sequence[str] = (),
    test_files: Sequence[str] = (),
) -> tuple[Finding, ...]:
    """Look for what any data set may have; cheap, done at every start.

    Images are uint8 [n, h, w, c], labels int64 [n], -1 = unknown. With the names of the files the
    findings have rows.
    """
    train_keys, test_keys = image_keys(train_images), image_keys(test_images)
    found = (
        shared_images(train_keys, test_keys, train_files, test_files),
        contradicting_labels(train_keys, train_labels, class_names, train_files),
        equal_images(train_keys, train_files),
        narrow_pixels(train_images),
        other_scale(train_images, test_images),
        alike_classes(class_names),
        *class_balance(train_labels, test_labels, class_names),
    )
    return tuple(finding for finding in found if finding is not None)


def picture_findings(
    train_images: NDArray[np.uint8],
    train_labels: NDArray[np.int64],
    test_images: NDArray[np.uint8],
    train_files: Sequence[str],
    test_files: Sequence[str],
    train_sizes: NDArray[np.int64],
    test_sizes: NDArray[np.int64],
    fit: Literal["crop", "pad"] = "crop",
) -> tuple[Finding, ...]:
    """Look for what decoded picture files may have besides `findings`; slow: once for each folder.

    Images are uint8 [n, s, s, c], in memory or mapped from a file (no copy of the whole is made),
    labels int64 [n], -1 = unknown; files name the images in their order. sizes are those of the
    pictures as they were stored, int [n, 2] (height, width) in pixels; `fit` says how they became
    square. 60,000 images of 32x32 take 20 s of CPU time, nearly all of it for `near_equal`.
    """
    files = [*train_files, *test_files]
    sizes = np.concatenate([train_sizes, test_sizes])
    found = (
        *near_equal(train_images, train_labels, test_images, train_files, test_files),
        odd_sizes(files, sizes, train_images.shape[1], fit),
        blank_images((train_images, test_images), files, pixel_range(train_images)),
    )
    return tuple(finding for finding in found if finding is not None)


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
