"""The range of the stored pixels, and the table that stretches a narrow one to 0..255.

The range goes with a run as text, so that new pictures can be measured by it.
"""

import math
import re

import numpy as np
from numpy.typing import NDArray

FULL = (0, 255)
# A range that spans three quarters of 0..255 is left as it is; noise and views are made for 0..255.
WIDE = 191
RANGE = re.compile("([0-9]{1,3})[.][.]([0-9]{1,3})")
PASSED_OVER = 0.001  # share of the images at either end that do not decide the range
FAR, PART = 0.5, 0.1  # spans beyond a range, and share of a picture's values that lie there
FEW = 100  # images of which one is too much to be passed over


def pixel_range(images: NDArray[np.uint8]) -> tuple[int, int]:
    """Lowest and highest stored value of uint8 images [n, …] that count; (0, 255) if they fill it.

    The darkest and the brightest images (a thousandth, one at least) are passed over, so that a
    single faulty pixel does not hide that all others lie in 0..16. Of few images no more than a
    thousandth of the values is.
    """
    rows = images.reshape(len(images), -1)
    darkest, brightest = rows.min(axis=1), rows.max(axis=1)
    over = min(math.ceil(PASSED_OVER * len(images)), len(images) - 1)
    low, high = int(np.sort(darkest)[over]), int(np.sort(brightest)[-1 - over])
    if len(images) < FEW:
        values = np.sort(rows, axis=None)
        over = math.ceil(PASSED_OVER * values.size)
        low, high = min(low, int(values[over])), max(high, int(values[-1 - over]))
    if high <= low:
        low, high = int(darkest.min()), int(brightest.max())
    return FULL if high - low >= WIDE else (low, high)


def as_text(low: int, high: int) -> str:
    """The range for `from_text`; "" if it is all of 0..255."""
    return "" if (low, high) == FULL else f"{low}..{high}"


def from_text(text: str) -> tuple[int, int]:
    """The range that `as_text` has written; another text knows nothing of it."""
    low, high = map(int, found.groups()) if (found := RANGE.fullmatch(text)) else FULL
    return (low, high) if low < high <= FULL[1] else FULL


def far_beyond(images: NDArray[np.uint8], low: int, high: int) -> int:
    """How many of the images [n, …] have a tenth of their values far outside low..high."""
    far = FAR * (high - low)
    rows = images.reshape(len(images), -1)
    outside = (rows < low - far) | (rows > high + far)
    return int((outside.mean(axis=1) > PART).sum())


def stretching(low: int, high: int) -> NDArray[np.uint8]:
    """Table uint8 [256] from stored pixels to 0..255: low → 0, high → 255, beyond them cut off.

    low < high, so that no two values between them become one.
    """
    levels = (np.arange(256) - low) * (255 / (high - low))
    table: NDArray[np.uint8] = np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
    return table


def shrinking(low: int, high: int) -> NDArray[np.uint8]:
    """Table uint8 [256] back from 0..255 to stored pixels, for generated images."""
    table: NDArray[np.uint8] = np.rint(low + np.arange(256) * ((high - low) / 255)).astype(np.uint8)
    return table
