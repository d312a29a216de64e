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

FLOORS = np.array([*np.linspace(0, 0.9, 11), 0.95, 0.985, 0.997])  # of the last error
EXPONENTS = np.geomspace(0.08, 2.5, 48)
HALVINGS = np.geomspace(0.05, 4, 40)  # scale of an exponential over the largest count
SLOPES = np.linspace(0.04, 0.98, 60)  # share of the first error that is gone at the horizon
KNEES = np.geomspace(0.3, 60, 14)  # where an algebraic root bends, over the smallest count
BENDS = np.geomspace(0.35, 2.5, 16)
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


def shapes(at: Floats, counts: Floats, horizon: float) -> Shapes:
    """The grid at the numbers `at` [k] in (0, horizon], for a curve known at `counts`, ascending.

    horizon: number of labels up to which the logarithmic family stays above zero.
    """
    first, last = float(counts[0]), float(counts[-1])
    found = [
        _floored(_power, at, last, EXPONENTS[:, None]),
        _floored(_exponential, at, last, last * HALVINGS[:, None]),
        1 - SLOPES[:, None] * np.log(at / first) / np.log(horizon / first),
        _floored(_root, at, last, *(p.reshape(-1, 1) for p in np.meshgrid(first * KNEES, BENDS))),
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


def _floored(fall: Callable[..., Floats], at: Floats, last: float, *parameters: Floats) -> Floats:
    """Shapes with each floor: what is never gained, as a share of the error at the last count."""
    gained = fall(at[None, :], *parameters) / fall(np.array([[last]]), *parameters)
    return np.concatenate([(1 - floor) * gained + floor for floor in FLOORS])
