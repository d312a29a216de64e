"""Shapes of falling curves, in families, on a grid: what is fitted to errors over label counts.

The families of Mahmood et al. 2022 (CVPR, "How much more data do I need?") and Viering & Loog 2021
(arXiv 2103.10948): power law with offset, exponential, logarithmic, algebraic root. A curve is
error(n) = A · h(n), where h falls. On the log error A is a shift, which has a closed form, so every
shape of the grid is fitted at once, without a local minimum, by one product of matrices.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXPONENTS = np.geomspace(0.08, 2.5, 40)
SCALES = np.geomspace(0.05, 4, 40)  # of an exponential, over the largest count
KNEES = np.geomspace(0.3, 60, 20)  # where an algebraic root bends, over the smallest count
BENDS = np.geomspace(0.35, 2.5, 18)
LEFT = 0.02  # of the first error, at least, where the logarithmic family ends
NEAR = 1.3  # times the falls: a shape without a floor that falls otherwise cannot fit
POWER, EXPONENTIAL, LOGARITHMIC, ROOT = NAMES = (
    "power law with offset",
    "exponential",
    "logarithmic",
    "algebraic root",
)


@dataclass(frozen=True)
class Shapes:
    """log h of every shape of the grid at given numbers of labels.

    log_h: float64 [shapes, numbers], falling along a row; family: int64 [shapes], index in `NAMES`.
    """

    log_h: Floats
    family: NDArray[np.int64]


def shapes(at: Floats, first: float, last: float, horizon: float, falls: Floats) -> Shapes:
    """The grid at the numbers `at` [k] in (0, horizon], for curves known from `first` to `last`.

    falls: error at `first` over error at `last`, > 1, ascending. Each steepness comes with every
    floor that makes one of these falls, so that the grid is fine where the curve is.
    """
    knees, bends = (p.reshape(-1, 1) for p in np.meshgrid(first * KNEES, BENDS))
    found = [
        _floored(_power, at, first, last, falls, EXPONENTS[:, None]),
        _floored(_exponential, at, first, last, falls, last * SCALES[:, None]),
        _logarithmic(at, first, last, horizon, falls),
        _floored(_root, at, first, last, falls, knees, bends),
    ]
    family = np.repeat(np.arange(len(found)), [len(rows) for rows in found])
    return Shapes(np.log(np.concatenate(found)), family)


def _power(n: Floats, exponent: Floats) -> Floats:
    return np.asarray(n**-exponent)


def _exponential(n: Floats, scale: Floats) -> Floats:
    return np.asarray(np.exp(-n / scale))


def _root(n: Floats, knee: Floats, bend: Floats) -> Floats:
    """1 − x / (1 + x^b)^(1/b), written so that it keeps its digits far out."""
    return np.asarray(-np.expm1(-np.log1p((n / knee) ** -bend) / bend))


def _logarithmic(at: Floats, first: float, last: float, horizon: float, falls: Floats) -> Floats:
    slope = (1 - 1 / falls) / np.log(last / first)
    slope = slope[slope * np.log(horizon / first) <= 1 - LEFT]
    return np.asarray(1 - slope[:, None] * np.log(at / first))


def _floored(
    fall: Callable[..., Floats],
    at: Floats,
    first: float,
    last: float,
    falls: Floats,
    *steepness: Floats,
) -> Floats:
    """Shapes without a floor, and with what floor makes each fall of those that are too steep."""
    start, end = (fall(np.array([[n]]), *steepness) for n in (first, last))
    floor = (start / end - falls) / (start / end - 1)  # share of the error at `last`, [rows, falls]
    gained = (fall(at[None, :], *steepness) / end)[:, None, :]
    floor = np.concatenate([np.zeros((len(floor), 1)), floor], axis=1)[:, :, None]
    keep = (floor[:, :, 0] >= 0) & (floor[:, :, 0] < 1)
    fall_alone = (start / end)[:, 0]
    keep[:, 0] = (fall_alone > falls[0] / NEAR) & (fall_alone < falls[-1] * NEAR)
    return np.asarray(((1 - floor) * gained + floor)[keep])
