"""Labels that an error needs by a fitted curve, and those that a method saves over another."""

from dataclasses import dataclass

import numpy as np

from experiments.curve.families import Floats
from experiments.curve.label_curve import REACH, TAILS, Curve

CLOSED = 1.5  # times the largest count, beyond which labels needed have no upper end (backtest)


@dataclass(frozen=True)
class Needed:
    """Labels that an error needs: about `middle`, 90 % interval [low, high].

    infinite: beyond four times the largest count, or not told. refusal: "" or why, in words.
    available: training images that there are, with or without a label; None: not known.
    """

    error: float
    middle: float
    low: float
    high: float
    refusal: str = ""
    available: int | None = None


@dataclass(frozen=True)
class Saved:
    """Labels that a method saves over another at one error; below 0 it needs more.

    middle: NaN where only a bound is known, because a curve may lie below the error at its smallest
    count already: low or high then is infinite. refusal: "" or why, in words.
    """

    error: float
    middle: float
    low: float
    high: float
    refusal: str = ""


def needed(curve: Curve, error: float, available: int | None = None) -> Needed:
    """The labels that `error` (a share) needs by this curve; available: see `Needed`."""
    if curve.refusal:
        return Needed(error, np.nan, np.nan, np.nan, curve.refusal)
    if error < curve.smallest:
        return Needed(error, np.nan, np.nan, np.nan, "so few test images cannot measure it")
    reached = _reached(curve, error)
    low, middle, high = np.quantile(reached, [TAILS[0], 0.5, TAILS[1]], method="nearest")
    first, last = curve.counts[0], curve.counts[-1]
    if np.isinf(middle):
        refusal = (
            f"beyond {REACH:g} times the largest count ({last:,.0f} labels), if at all: no forecast"
        )
        return Needed(error, np.inf, float(low), np.inf, refusal)
    if middle <= first:
        refusal = f"reached with the smallest count, {first:,.0f} labels"
        if np.isinf(high) or round(high) > first:
            refusal = f"perhaps with {first:,.0f} labels already"
        return Needed(error, float(first), 0.0, float(high), refusal)
    if middle > CLOSED * last:
        high = np.inf
    # The smallest count stands for all that lies before it.
    before = float(low) if low > first else 0.0
    return Needed(error, float(middle), before, float(high), available=available)


def saved(baseline: Curve, method: Curve, error: float) -> Saved:
    """Labels of the baseline less those of the method at `error`; their replicates are paired."""
    for curve in (baseline, method):
        if curve.refusal:
            return Saved(error, np.nan, np.nan, np.nan, curve.refusal)
    pair = [needed(baseline, error), needed(method, error)]
    missed = [each.refusal for each in pair if not np.isfinite(each.middle)]
    if missed:
        return Saved(error, np.nan, np.nan, np.nan, missed[0])
    first, second = _reached(baseline, error), _reached(method, error)
    # Where a curve begins below the error, all that is known is that fewer labels are enough.
    early = [
        (reached <= curve.counts[0]).mean()
        for reached, curve in ((first, baseline), (second, method))
    ]
    if min(early) > TAILS[0]:
        verb = "reach" if min(early) >= TAILS[1] else "may reach"
        refusal = f"both {verb} it with the smallest count"
        return Saved(error, np.nan, np.nan, np.nan, refusal)
    lost = np.isinf(first) & np.isinf(second)  # neither gets there: that may favour either
    with np.errstate(invalid="ignore"):
        gain = first - second
    low = float(np.quantile(np.where(lost, -np.inf, gain), TAILS[0], method="nearest"))
    high = float(np.quantile(np.where(lost, np.inf, gain), TAILS[1], method="nearest"))
    if pair[0].high == np.inf or early[1] > TAILS[0]:
        high = np.inf
    if pair[1].high == np.inf or early[0] > TAILS[0]:
        low = -np.inf
    if np.isinf(low) and np.isinf(high):
        return Saved(error, np.nan, low, high, "too far beyond the largest count to tell")
    middle = np.nan if max(early) > TAILS[0] else float(np.median(gain[~lost]))
    if np.isnan(middle) and abs(low if np.isfinite(low) else high) < 0.5:
        return Saved(error, middle, low, high, "the bound that is known is 0 labels")
    return Saved(error, middle, low, high)


def _reached(curve: Curve, error: float) -> Floats:
    """Labels at which each replicate's curve falls to an error, [replicates]; inf: it does not.

    The smallest count stands for all that lies before it.
    """
    below = curve.draws <= np.log(error)
    column = np.maximum(below.argmax(axis=1), 1)
    rows, logs = np.arange(len(below)), np.log(curve.grid)
    before, after = curve.draws[rows, column - 1], curve.draws[rows, column]
    part = np.clip((before - np.log(error)) / np.maximum(before - after, 1e-12), 0, 1)
    found = np.exp(logs[column - 1] + part * (logs[column] - logs[column - 1]))
    return np.where(below.any(axis=1), np.where(below[:, 0], curve.grid[0], found), np.inf)
