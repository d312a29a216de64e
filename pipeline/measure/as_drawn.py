"""Images as a generator drew them, before they were enlarged to the data's size.

Enlarged and reduced again they would be measured blurred, while real images are reduced alone: even
a perfect generator would be told from them (tested in `tests/stages/test_evaluate.py`).
"""

import numpy as np
from numpy.typing import NDArray


def as_drawn(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Undo a bilinear enlargement (half-pixel centres, as `tf.image.resize` makes it).

    Least squares: exact but for the rounding of pixels.

    Args:
        images: uint8 [n, h, w, c].
        size: height and width before, neither larger than theirs.

    Returns:
        uint8 [n, *size, c]; `images` themselves if that is their size.
    """
    if images.shape[1:3] == size:
        return images
    down, across = (
        np.linalg.pinv(_bilinear(large, small))
        for large, small in zip(images.shape[1:3], size, strict=True)
    )
    columns = np.einsum("nhwc,jw->nhjc", images, across.astype(np.float32), optimize=True)
    found = np.einsum("nhjc,ih->nijc", columns, down.astype(np.float32), optimize=True)
    return np.asarray(np.clip(found.round(), 0, 255), np.uint8)


def _bilinear(large: int, small: int) -> NDArray[np.float64]:
    """The matrix [large, small] that enlarges one axis."""
    at = np.clip((np.arange(large) + 0.5) * small / large - 0.5, 0, small - 1)
    before = np.minimum(at.astype(int), max(small - 2, 0))
    matrix, rows = np.zeros((large, small)), np.arange(large)
    matrix[rows, before] = 1 - (at - before)
    matrix[rows, np.minimum(before + 1, small - 1)] += at - before
    return matrix
