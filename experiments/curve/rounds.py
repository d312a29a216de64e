"""Labelling in rounds: how many labels next, and the error to expect after each round.

A forecast is best near what is known, so each round at most doubles the labels (Mahmood et al. 2022
plan about five rounds in place of one leap); the curve is fitted anew after it.
"""

from dataclasses import dataclass

import numpy as np

from experiments.curve.label_curve import Curve
from experiments.curve.labels_needed import needed

ROUNDS = 2  # doublings that `label_curve.REACH` allows
FACTOR = 2
DIGITS = 2  # of a count that is advised


@dataclass(frozen=True)
class Round:
    """After labelling up to n_labels: the error expected, in [0, 1], 90 % interval [low, high]."""

    n_labels: int
    expected: float
    low: float
    high: float


def rounds(
    curve: Curve, available: int | None, goal: float | None = None, measured: int = 0
) -> list[Round]:
    """The next rounds by this curve; none if it is refused or nothing is left to label.

    available: images that could have a label, labelled ones among them; None: not known. goal: an
    error that is wanted; a round ends there if it is expected sooner than by doubling. measured:
    the largest count with a training; none either if the curve, which needs several seeds at a
    count, ends before it. A round whose expected error is above the one measured last is left out.
    """
    if curve.refusal or measured > curve.counts[-1]:
        return []
    last, found = curve.counts[-1], [curve.counts[-1]]
    most = float(available) if available is not None else np.inf
    wanted = needed(curve, goal).middle if goal is not None else np.inf
    for _ in range(ROUNDS):
        doubled = found[-1] * FACTOR
        upto = _rounded(doubled, np.floor)
        if found[-1] < wanted < doubled:
            upto = min(_rounded(wanted, np.ceil), doubled)
        upto = min(upto, most, curve.grid[-1])
        if upto <= found[-1] or (goal is not None and found[-1] >= wanted):
            break
        found.append(float(int(upto)))
    counts = np.array([n for n in found if n > last])
    if not len(counts):
        return []
    return [
        Round(int(n), *(float(value) for value in values))
        for n, values in zip(counts, curve.at(counts).T, strict=True)
        if values[0] <= curve.centres[-1]
    ]


def _rounded(n: float, to_whole: np.ufunc) -> float:
    """To two digits that are not zero: by np.ceil 731 becomes 740, by np.floor 730."""
    unit = 10.0 ** max(int(np.floor(np.log10(n))) + 1 - DIGITS, 0)
    return float(to_whole(round(n / unit, 9)) * unit)
