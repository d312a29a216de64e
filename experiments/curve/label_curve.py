"""The curve of an error over label counts, forecast with an interval.

Every bootstrap replicate draws seeds, then a family of `families.py` by its error on counts that
it was not shown, then one of the family's shapes by its likelihood, then how its fall changes
beyond the data. So the interval holds the noise of the seeds and that nobody knows the true curve.
`benchmarks/label_curve_backtest.py` measures how often it is right. After Mahmood et al. 2022
(CVPR) and Viering & Loog 2021 (arXiv 2103.10948).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from experiments.curve.families import NAMES, Floats, Shapes, shapes

REACH = 4.0  # times the largest count, beyond which nothing is forecast
LEVEL = 0.9  # of the intervals
TAILS = (0.5 - LEVEL / 2, 0.5 + LEVEL / 2)
MEDIANS_BELOW = 50  # labels, where single seeds go astray and a mean says little
LEAST_COUNTS, LEAST_SEEDS = 4, 3
REPLICATES = 600
EVEN = 1e-9  # a fall that is rounding
MISFIT = 0.02  # standard deviation on the log error of what no family follows
SLOPE = 0.25  # standard deviation, on a log scale, of how the fall changes beyond the data
UNSEEN = 1.0  # standard deviation on the log error of a count without a single error
UNLIKE = 5.0  # standard deviations of a point from every curve, beyond which none fits
FALLS = 11  # falls from the first to the last error, for each steepness
GRID = 97  # numbers of labels at which a curve is kept


@dataclass(frozen=True)
class Curve:
    """A fitted curve, or why there is none.

    counts: float64 [m], ascending. centres: float64 [m], the error at each: the mean over seeds,
    below 50 labels the median. grid: float64 [g], labels from the smallest count to four times the
    largest. draws: float64 [replicates, g], log error on the grid, falling along a row. families:
    how often each family was drawn, shares that sum to 1. refusal: "" or why, in words.
    smallest: what an error of 0 counts as; nothing is told of lower ones.
    """

    counts: Floats
    centres: Floats
    grid: Floats
    draws: Floats
    families: dict[str, float]
    refusal: str = ""
    smallest: float = 0.0

    def at(self, n_labels: Floats) -> Floats:
        """Median and 90 % interval of the error with these numbers of labels: [3, k], (mid, low,
        high); NaN outside the grid."""
        columns = np.clip(np.searchsorted(self.grid, n_labels), 1, len(self.grid) - 1)
        logs = np.log(self.grid)
        part = (np.log(n_labels) - logs[columns - 1]) / (logs[columns] - logs[columns - 1])
        values = self.draws[:, columns - 1] * (1 - part) + self.draws[:, columns] * part
        values = np.exp(np.quantile(values, [0.5, *TAILS], axis=0))
        outside = (part < -1e-9) | (part > 1 + 1e-9)
        return np.asarray(np.where(outside, np.nan, values))


def replicates(n_seeds: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Which seeds each replicate draws: int64 [replicates, n_seeds]; shared by paired curves."""
    return random.integers(n_seeds, size=(REPLICATES, n_seeds))


def fitted(
    errors: Floats,
    counts: Sequence[int],
    picks: NDArray[np.int64],
    smallest: float,
    random: np.random.Generator,
) -> Curve:
    """Fit a curve to errors [seeds, m] in [0, 1], NaN where a cell is missing.

    counts: labels [m], ascending. picks: of `replicates`. smallest: half a test image; what is
    0 over s seeds counts as an s-th of it in the fit.
    """
    seeds = np.isfinite(errors).sum(axis=0)
    known = seeds >= LEAST_SEEDS
    errors, n = errors[:, known], np.asarray(counts, float)[known]
    smallest /= max(int(seeds.max(initial=1)), 1)
    centres = _centres(errors, n)
    if len(n) < LEAST_COUNTS:
        return _refused(n, centres, _too_little(len(n)))
    drawn, spread = _resampled(errors, n, picks, smallest)
    if refusal := _not_falling(n, drawn, centres):
        return _refused(n, centres, refusal)
    grid = np.geomspace(n[0], n[-1] * REACH, GRID)
    precision = 1 / (spread**2 + MISFIT**2)
    here, beyond = _library(n, drawn, n), _library(grid, drawn, n).log_h
    misfit, shift = _fits(drawn, here.log_h, precision)
    weights = _held_out(n, drawn, precision) - _least(misfit, here.family) / 2
    family = _choice(weights, random)
    rows, shape = np.arange(len(drawn)), np.empty(len(drawn), np.int64)
    for which in np.unique(family):
        of, drew = np.flatnonzero(here.family == which), np.flatnonzero(family == which)
        shape[drew] = of[_choice(misfit[np.ix_(drew, of)] / -2, random)]
    draws = beyond[shape] + shift[rows, shape][:, None]
    draws = _slopes_changed(n[-1], grid, draws, random)
    middle = np.median(here.log_h[shape] + shift[rows, shape][:, None], axis=0)
    left = np.abs(np.log(np.maximum(centres, smallest)) - middle)
    if (left * np.sqrt(precision)).max() > UNLIKE:
        return _refused(n, centres, "no family of falling curves fits these errors: no forecast")
    shares = np.bincount(family, minlength=len(NAMES)) / len(family)
    of_family = dict(zip(NAMES, shares.tolist(), strict=True))
    return Curve(n, centres, grid, draws, of_family, smallest=smallest)


def _centres(errors: Floats, counts: Floats, axis: int = 0) -> Floats:
    few, many = np.nanmedian(errors, axis), np.nanmean(errors, axis)
    return np.asarray(np.where(counts < MEDIANS_BELOW, few, many))


def _resampled(
    errors: Floats, counts: Floats, picks: NDArray[np.int64], smallest: float
) -> tuple[Floats, Floats]:
    """Log centres of the replicates [replicates, m], and their standard deviations [m].

    A bootstrap of s seeds varies too little by √((s − 1) / s), which is given back. Half of each
    variance is the mean over the counts, because one of few seeds is not known well. Where not a
    single error was seen, it is only known to be small.
    """
    centres = _centres(errors, counts)
    log = np.log(np.maximum(centres, smallest))
    taken = errors[picks]
    empty = np.asarray(~np.isfinite(taken).any(axis=1))
    taken = np.where(empty[:, None, :], centres, taken)
    n = np.isfinite(errors).sum(axis=0)
    again = np.log(np.maximum(_centres(taken, counts, axis=1), smallest))
    drawn = log + (again - log) * np.sqrt(n / (n - 1))
    variance = drawn.var(axis=0)
    spread = np.sqrt((variance + variance.mean()) / 2)
    return drawn, np.where(centres < smallest, np.maximum(spread, UNSEEN), spread)


def _fits(drawn: Floats, log_h: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Weighted squared error and best shift of every shape for every replicate."""
    weight = precision / precision.sum()
    means, middles = drawn @ weight, log_h @ weight
    left, right = drawn - means[:, None], log_h - middles[:, None]
    misfit = (
        (left**2 @ precision)[:, None]
        - 2 * (left * precision) @ right.T
        + (right**2 @ precision)[None]
    )
    return misfit, means[:, None] - middles[None]


def _slopes_changed(
    last: float, grid: Floats, draws: Floats, random: np.random.Generator
) -> Floats:
    """The same curves, each falling somewhat faster or slower beyond the last count that is known.

    No family holds for ever: real errors bend where nothing has told of it (backtest).
    """
    column = int(np.searchsorted(grid, last * (1 - 1e-9)))
    known, ahead = draws[:, column : column + 1], draws[:, column:]
    factor = np.exp(SLOPE * random.normal(size=(len(draws), 1)))
    return np.concatenate([draws[:, :column], known + factor * (ahead - known)], axis=1)


def _library(at: Floats, drawn: Floats, counts: Floats) -> Shapes:
    """Shapes at some numbers of labels, fit for replicates [replicates, m] at counts [m]."""
    fall = drawn[:, 0] - drawn[:, -1]
    low, high = fall.min() - 2 * MISFIT, fall.max() + 2 * MISFIT
    falls = np.exp(np.linspace(max(low, MISFIT), max(high, 2 * MISFIT), FALLS))
    return shapes(at, counts[0], counts[-1], counts[-1] * REACH, falls)


def _held_out(counts: Floats, drawn: Floats, precision: Floats) -> Floats:
    """Log weights of the families [replicates, families]: the largest counts hidden in turn.

    A weight is the inverse of the squared held-out error, the geometric mean over what is hidden,
    and no likelihood: three counts say little of where a curve turns, so that one miss must not
    rule a family out.
    """
    m, rows = len(counts), np.arange(len(drawn))
    scores = np.zeros((len(drawn), len(NAMES)))
    for kept in range(3, m):
        # Numbers beyond the reach of what is kept: the logarithmic family might end before them.
        within = counts <= REACH * counts[kept - 1]
        within[:kept] = False
        if not within.any():
            continue
        here = _library(
            counts[(counts <= REACH * counts[kept - 1])], drawn[:, :kept], counts[:kept]
        )
        misfit, shift = _fits(drawn[:, :kept], here.log_h[:, :kept], precision[:kept])
        for which in range(len(NAMES)):
            of = np.flatnonzero(here.family == which)
            if not len(of):
                scores[:, which] += np.log1p(UNLIKE**2)
                continue
            best = of[misfit[:, of].argmin(axis=1)]
            off = here.log_h[best, kept:] + shift[rows, best][:, None] - drawn[:, within]
            scores[:, which] += np.log1p((off**2 * precision[within]).mean(axis=1))
    return -scores / (m - 3)


def _least(misfit: Floats, family: NDArray[np.int64]) -> Floats:
    """The misfit of each family's best shape, [replicates, families]: it has to fit, too."""
    best = [misfit[:, family == which].min(axis=1, initial=np.inf) for which in range(len(NAMES))]
    return np.stack(best, axis=1)


def _choice(log_weights: Floats, random: np.random.Generator) -> NDArray[np.int64]:
    """One column a row, drawn with these weights."""
    shares = np.exp(log_weights - logsumexp(log_weights, axis=1, keepdims=True)).cumsum(axis=1)
    return np.asarray((shares < random.random((len(shares), 1)) * shares[:, -1:]).sum(axis=1))


def _not_falling(counts: Floats, drawn: Floats, centres: Floats) -> str:
    """Why there is no falling curve, or ""."""
    x = np.log(counts) - np.log(counts).mean()
    if (drawn @ x < -EVEN).mean() < 0.5 + LEVEL / 2:
        return "it does not clearly fall with more labels: no forecast"
    lowest = int(centres.argmin())
    risen = drawn[:, lowest] + 2 * MISFIT < drawn[:, -1]
    if lowest < len(counts) - 1 and risen.mean() >= 0.5 + LEVEL / 2:
        return (
            f"it rises from {centres[lowest]:.2%} with {counts[lowest]:,.0f} labels to "
            f"{centres[-1]:.2%} with {counts[-1]:,.0f}: no forecast"
        )
    return ""


def _too_little(n: int) -> str:
    return (
        f"a forecast needs {LEAST_COUNTS} label counts with {LEAST_SEEDS} seeds each, there "
        f"{'is' if n == 1 else 'are'} {n}"
    )


def _refused(counts: Floats, centres: Floats, refusal: str) -> Curve:
    return Curve(counts, centres, np.empty(0), np.empty((0, 0)), {}, refusal)
