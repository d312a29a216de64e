"""Whether a method differs from the baseline, by pairs of trainings on the same split and seed.

At each label count: the differences seed by seed, their BCa bootstrap interval (Efron 1987), made
as wide as so few seeds need, and an exact sign-flip permutation test, Holm's correction (1979) over
the counts. After Bouthillier et al. 2021 (arXiv 2103.03098) and arXiv 2511.19794. Fewer than six
pairs never give a verdict, nor an interval: a two-sided sign-flip test of five cannot go below
1/16, and from the least to the largest of five lies the median in 15 cases of 16.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from experiments.curve.table import ERROR, METHOD, N_LABELS, SEED

HELPS, HURTS, CANNOT_TELL = "helps", "hurts", "cannot tell"
ALPHA = 0.05  # of a method's verdicts over all counts
LEVEL = 0.95  # of the intervals
LEAST_PAIRS = 6
MEDIANS_BELOW = 50  # labels, where single seeds go astray and a mean says little
POWER = 0.8  # with which a difference as large as the one seen shall be found
MOST_SEEDS = 100  # more are not advised
RESAMPLES = 9999  # exact up to 13 pairs
SUMS_ROUNDED = 9  # decimals: equal sums of rounded differences tie
PAIRS_OF_A_SPREAD = 4  # fewer say nothing of how many more are needed

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A method beside the baseline at one label count.

    differences: float64 [pairs], baseline's error less the method's by ascending seed, in [-1, 1].
    centre: their mean, below 50 labels their median. low, high: 95 % interval of it, NaN with
    fewer than six pairs. p_value: of the sign-flip test; adjusted: after Holm over the counts.
    verdict: helps, hurts or cannot tell. more: seeds that a verdict probably still needs; None if
    there is one, if more than `MOST_SEEDS` would be needed, or if their number is not what lacks:
    no difference was seen, or the test tells one and the interval reaches 0.
    """

    method: str
    n_labels: int
    differences: Floats
    centre: float
    low: float
    high: float
    p_value: float
    adjusted: float
    verdict: str
    more: int | None


def compare(table: pd.DataFrame, baseline: str) -> list[Comparison]:
    """Every other method beside `baseline`, by method (as they come) and ascending count.

    table: one row a cell (`table.py`). Cells are paired by seed; one without its pair is left out.
    """
    found = []
    for method in table[METHOD].unique():
        if method != baseline:
            found += _corrected(
                [
                    _compared(method, n, paired(table[table[N_LABELS] == n], baseline, method))
                    for n in sorted({int(n) for n in table[N_LABELS]})
                ]
            )
    return found


def paired(cells: pd.DataFrame, baseline: str, method: str) -> Floats:
    """Baseline's error less the method's, by ascending seed, of the cells of one label count.

    Rounded: 9/360 - 8/360 must tie with 2/360 - 1/360.
    """
    first, second = (
        cells[cells[METHOD] == name].groupby(SEED)[ERROR].mean() for name in (baseline, method)
    )
    return (first - second).dropna().round(12).to_numpy(np.float64)


def centre(values: Floats, n_labels: int) -> float:
    """The mean, below 50 labels the median; NaN of none."""
    if not len(values):
        return np.nan
    return float(np.median(values) if n_labels < MEDIANS_BELOW else np.mean(values))


def interval(values: Floats, n_labels: int) -> tuple[float, float]:
    """95 % interval of the centre of `values` [n]: (NaN, NaN) of fewer than six.

    Of a median, two of the values (order statistics). Of a mean, by the BCa bootstrap.
    """
    if len(values) < LEAST_PAIRS:
        return np.nan, np.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    if n_labels < MEDIANS_BELOW:
        left_out = int(_left_out(len(values)))
        inside = np.sort(values)[left_out : len(values) - left_out]
        return float(inside[0]), float(inside[-1])
    return _of_mean(values)


def _left_out(n: int | NDArray[np.int64]) -> NDArray[np.int64]:
    """Values at either end that lie outside the 95 % interval of the median of n values."""
    return np.asarray(stats.binom.ppf((1 - LEVEL) / 2, n, 0.5), np.int64) - 1


def _of_mean(values: Floats) -> tuple[float, float]:
    """BCa interval of a mean, its ends moved outwards as Student's t is wider than the normal.

    A bootstrap of n values varies too little by √((n − 1) / n) and knows no t: of 6 normal ones it
    holds the mean in 86 % of cases, so widened in 94 % (Hesterberg 2015, arXiv 1411.5279).
    Where BCa has no answer, the percentiles of the bootstrap.
    """
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a degenerate distribution: answered by NaN
            bounds = stats.bootstrap(
                (values,),
                np.mean,
                confidence_level=LEVEL,
                method=method,
                n_resamples=RESAMPLES,
                rng=np.random.default_rng(0),
            ).confidence_interval
        if np.isfinite([bounds.low, bounds.high]).all():
            break
    n, tail, middle = len(values), 0.5 + LEVEL / 2, float(np.mean(values))
    wider = float(stats.t.ppf(tail, n - 1) / stats.norm.ppf(tail) * np.sqrt(n / (n - 1)))
    low, high = (middle + wider * (float(end) - middle) for end in (bounds.low, bounds.high))
    return low, high


def sign_flip(differences: Floats, n_labels: int) -> float:
    """Two-sided p-value of differences [n] whose signs chance alone would have set.

    Exact up to 13 pairs, else by drawing. Of the sum, below 50 labels of the signed ranks (Wilcoxon
    1945), so that a single seed gone astray counts for its place alone. 1.0 of fewer than two.
    """
    if len(differences) < 2 or not differences.any():
        return 1.0
    differences = _scores(differences, n_labels)
    test = stats.permutation_test(
        (differences,),
        lambda x, axis: np.abs(x.sum(axis=axis)).round(SUMS_ROUNDED),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p-values (1979), in their order."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


def least_pairs(tests: int) -> int:
    """Pairs with which a sign-flip test can tell anything at all, after Holm over so many tests."""
    return max(LEAST_PAIRS, int(np.ceil(1 - np.log2(ALPHA / tests))))


def pairs_needed(differences: Floats, n_labels: int, tests: int) -> int | None:
    """Pairs with which a difference as the one seen would be found in 80 of 100 cases.

    By the t-test's power at 5 % shared among `tests`, of what `sign_flip` sums up, below 50 labels
    by the median's interval too, and no fewer than give `least_pairs` that differ, as equal ones
    say nothing to a sign-flip test. None: more than `MOST_SEEDS` beyond these, or no difference to
    go by.
    """
    if not differences.any():
        return None
    seen, differences = differences, _scores(differences, n_labels)
    spread = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
    effect, level = abs(float(np.mean(differences))), ALPHA / tests
    least = int(np.ceil(least_pairs(tests) * len(differences) / np.count_nonzero(differences)))
    if len(differences) < PAIRS_OF_A_SPREAD or not effect:
        return least if len(differences) < least else None
    n = np.arange(least, len(differences) + MOST_SEEDS + 1)
    power = np.ones(len(n))
    if spread:
        bar = stats.t.ppf(1 - level / 2, n - 1)
        power = stats.nct.sf(bar, n - 1, effect / spread * np.sqrt(n))
    if n_labels < MEDIANS_BELOW:
        other_side = float(np.mean(seen * np.sign(np.mean(differences)) <= 0))
        power = np.minimum(power, stats.binom.cdf(_left_out(n), n, other_side))
    enough = n[power >= POWER]
    return int(enough[0]) if len(enough) else None


def _scores(differences: Floats, n_labels: int) -> Floats:
    """What is summed up of differences [n]: themselves, below 50 labels their signed ranks."""
    if n_labels >= MEDIANS_BELOW:
        return differences
    size = np.where(differences == 0, 0, stats.rankdata(np.abs(differences)))
    return np.sign(differences) * size


def _compared(method: str, n_labels: int, differences: Floats) -> Comparison:
    low, high = interval(differences, n_labels)
    p_value = sign_flip(differences, n_labels)
    middle = centre(differences, n_labels)
    return Comparison(
        method, n_labels, differences, middle, low, high, p_value, 1.0, CANNOT_TELL, None
    )


def _corrected(row: list[Comparison]) -> list[Comparison]:
    """A method's comparisons with Holm's p-values, verdicts, and the seeds they still need.

    A count without a single pair is left out: nothing is tested there.
    """
    row = [each for each in row if len(each.differences)]
    # With fewer pairs nothing can be found, so they cost the other counts nothing.
    tested = [each for each in row if len(each.differences) >= LEAST_PAIRS]
    adjusted = dict(
        zip(
            [each.n_labels for each in tested],
            holm([each.p_value for each in tested]),
            strict=True,
        )
    )
    return [
        _judged(replace(each, adjusted=adjusted.get(each.n_labels, 1.0)), len(row)) for each in row
    ]


def _judged(one: Comparison, tests: int) -> Comparison:
    if one.adjusted <= ALPHA and one.low > 0:
        return replace(one, verdict=HELPS)
    if one.adjusted <= ALPHA and one.high < 0:
        return replace(one, verdict=HURTS)
    if one.adjusted <= ALPHA:  # the interval reaches 0, which no number of seeds is known to mend
        return one
    wanted = pairs_needed(one.differences, one.n_labels, tests)
    return replace(one, more=None if wanted is None else max(wanted - len(one.differences), 1))
