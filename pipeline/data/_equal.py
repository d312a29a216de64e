"""Images that are equal byte for byte."""

import numpy as np
from numpy.typing import NDArray

from pipeline.data._finding import Finding


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
