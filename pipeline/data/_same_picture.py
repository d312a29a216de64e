"""Pixels decide whether two images show one picture: saved, scaled, brightened or shifted anew."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

GRID = 32  # longest side that is compared, up to twice that
# Measured on CIFAR-10, photographed hands and handwritten digits.
LEVELS = 10.0  # most that the images differ, root mean square in grey levels of 0..255
SHARE = 0.25  # and most of that as a share of their contrast (standard deviation)
# Strokes on an empty background are alike by nature: they must agree better.
PLAIN_LEVELS = 5.0
SHADES, EMPTY = 4, 0.4  # background: share of the pixels within two neighbouring shades of 4 levels
FLAT = 2.0  # standard deviation below which an image shows nothing that could be compared
TINTED = 24.0  # most that brightness or colour differs as a whole
HOPELESS = 0.7  # share of the contrast beyond which no shift by a pixel helps

SHIFTS = [shift for shift in product((-1, 0, 1), repeat=2) if any(shift)]

Grids = NDArray[np.float32]


def difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How far the images a[i] and b[i] are apart, float32 [n] in grey levels; inf: other pictures.

    Images are uint8 [n, h, w, c]. Brightness and colour of the whole do not count, nor does a
    shift by a pixel of the grid on which they are compared, nor what is finer than that.
    """
    raw = _grids(a), _grids(b)
    first, second = _blurred(raw[0]), _blurred(raw[1])
    tint = np.abs(first.mean((1, 2)) - second.mean((1, 2))).max(axis=1)
    apart, share = _apart(first, second)
    doubtful = (apart > PLAIN_LEVELS) | (share > SHARE)
    at = np.flatnonzero(doubtful & (share <= HOPELESS))
    for dy, dx in SHIFTS if len(at) and min(first.shape[1:3]) > 2 else ():
        moved = _apart(_cut(first[at], dy, dx), _cut(second[at], -dy, -dx))
        better = moved[0] < apart[at]
        apart[at] = np.where(better, moved[0], apart[at])
        share[at] = np.where(better, moved[1], share[at])
    apart[(apart > LEVELS) | (share > SHARE) | (tint > TINTED)] = np.inf
    at = np.flatnonzero((apart > PLAIN_LEVELS) & (apart <= LEVELS))
    if len(at):
        apart[at[_plain(raw[0][at]) & _plain(raw[1][at])]] = np.inf
    return apart


def _grids(images: NDArray[np.uint8]) -> Grids:
    """Images on a grid of less than 2 GRID cells a side, float32 [n, h, w, c]."""
    n, h, w, c = images.shape
    f = max(1, max(h, w) // GRID)
    if f == 1:
        return images.astype(np.float32)
    h, w = max(1, h // f), max(1, w // f)
    cells = images[:, : h * f, : w * f].reshape(n, h, -1, w, f, c)
    grids: Grids = cells.mean((2, 4), dtype=np.float32)
    return grids


def _blurred(grids: Grids) -> Grids:
    """Grids with weights 1 2 1 each way: what JPEG and scaling change most is finer."""
    tall = np.concatenate([grids[:, :1], grids, grids[:, -1:]], axis=1)
    grids = (tall[:, :-2] + 2 * grids + tall[:, 2:]) / 4
    wide = np.concatenate([grids[:, :, :1], grids, grids[:, :, -1:]], axis=2)
    blurred: Grids = (wide[:, :, :-2] + 2 * grids + wide[:, :, 2:]) / 4
    return blurred


def _cut(grids: Grids, dy: int, dx: int) -> Grids:
    """The part of the grids that is left when they are moved by (dy, dx)."""
    h, w = grids.shape[1:3]
    return grids[:, max(dy, 0) : h + min(dy, 0), max(dx, 0) : w + min(dx, 0)]


def _apart(a: Grids, b: Grids) -> tuple[Grids, Grids]:
    """Root mean square of a - b without their means, [n], and its share of their contrast."""
    first, second = (_centred(grids) for grids in (a, b))
    own, other, both = (
        np.einsum("nk,nk->n", *pair) / first.shape[1]
        for pair in ((first, first), (second, second), (first, second))
    )
    apart = np.sqrt(np.maximum(own + other - 2 * both, 0))
    share = apart / np.sqrt(np.maximum((own + other) / 2, 1e-6))
    return apart, np.where(np.minimum(own, other) < FLAT**2, np.float32(np.inf), share)


def _centred(grids: Grids) -> Grids:
    """Grids without the mean of each channel, [n, h * w * c]."""
    n, _, _, c = grids.shape
    flat = grids.reshape(n, -1, c)
    means = np.einsum("npc->nc", flat) / flat.shape[1]
    centred: Grids = (flat - means[:, None]).reshape(n, -1)
    return centred


def _plain(grids: Grids) -> NDArray[np.bool_]:
    """Whether a large part of each image has one shade, an empty background, [n]."""
    shades = (grids.mean(axis=3) // SHADES).astype(np.int64).reshape(len(grids), -1)
    counts = np.stack([np.bincount(image, minlength=256 // SHADES + 1) for image in shades])
    plain: NDArray[np.bool_] = (counts[:, :-1] + counts[:, 1:]).max(axis=1) > EMPTY * len(shades[0])
    return plain
