"""What weakens the claim of a label curve, in sentences."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from experiments.curve.label_curve import REACH, Curve
from experiments.curve.statistics import LEAST_PAIRS, MEDIANS_BELOW, Comparison, least_pairs
from experiments.curve.table import ERROR, METHOD, N_LABELS, N_TEST, SEED
from pipeline.measure import classification

CLAIM_SEEDS = 10  # that a claim should rest on
WIDE = 0.5  # of the error itself: a 95 % interval of the test images that is wider is told


def found(
    cells: pd.DataFrame,
    table: pd.DataFrame,
    methods: Sequence[str],
    comparisons: Sequence[Comparison],
    curves: Mapping[str, Curve],
) -> Iterator[str]:
    """Every doubt that these cells leave; `table` holds the unfinished ones too."""
    yield from _seeds(cells, comparisons)
    yield from _test_images(cells)
    yield from _holes(cells, table)
    few = sorted({int(n) for n in cells[N_LABELS] if n < MEDIANS_BELOW})
    if few:
        yield (
            f"Below {MEDIANS_BELOW} labels ({', '.join(map(str, few))}) single seeds go astray: "
            "medians stand for means there, and every seed is shown."
        )
    if len(methods) > 2:
        yield (
            f"Holm's correction is for the label counts of each method, not for the "
            f"{len(methods) - 1} methods that are compared."
        )
    if any(not curve.refusal for curve in curves.values()):
        yield (
            f"Beyond the largest count all is forecast, {REACH:g} times as far at most. The 90 % "
            "intervals suppose that the curve goes on like one of four families; one that suddenly "
            "turns flat is missed."
        )
    for method, curve in curves.items():
        if curve.refusal:
            yield f"{method} has no forecast: {curve.refusal}."
            continue
        own = {int(n) for n in cells[cells[METHOD] == method][N_LABELS]}
        if left := sorted(own - {int(n) for n in curve.counts}):
            yield (
                f"The forecast of {method} leaves out {', '.join(f'{n:,}' for n in left)} labels: "
                "too few seeds."
            )
    several = cells["code"].nunique() if "code" in cells else 1
    if several > 1:
        yield f"The trainings were run by {several} versions of the code."


def _seeds(cells: pd.DataFrame, comparisons: Sequence[Comparison]) -> Iterator[str]:
    if not comparisons:  # no verdict is wanted
        fewest = int(cells.groupby([METHOD, N_LABELS])[SEED].nunique().min())
        if fewest < CLAIM_SEEDS:
            yield f"Few seeds: {fewest} at one label count at least; better {CLAIM_SEEDS}."
        return
    pairs = min(len(one.differences) for one in comparisons)
    for most, counts in sorted(_most_pairs(comparisons)):
        if most < least_pairs(counts):
            yield (
                f"Few seeds: {most} at a label count at most. No verdict is given below "
                f"{least_pairs(counts)} at {counts} label count{'s' * (counts > 1)}."
            )
            return
    if pairs < LEAST_PAIRS:
        yield (
            f"Few seeds: {pairs} at one label count at least. No verdict is given below "
            f"{LEAST_PAIRS}."
        )
    elif pairs < CLAIM_SEEDS:
        yield (
            f"Only {pairs} seeds that both methods have, at one label count at least; a claim "
            f"should rest on {CLAIM_SEEDS}."
        )


def _most_pairs(comparisons: Sequence[Comparison]) -> Iterator[tuple[int, int]]:
    """Of each method the most pairs at a count, and the counts that Holm corrects for."""
    for method in {one.method for one in comparisons}:
        own = [len(one.differences) for one in comparisons if one.method == method]
        yield max(own), sum(n >= LEAST_PAIRS for n in own) or len(own)


def _test_images(cells: pd.DataFrame) -> Iterator[str]:
    """The test images are the same for all seeds, so seeds do not show their chance."""
    n = int(cells[N_TEST].min())
    best = float(cells.groupby([METHOD, N_LABELS])[ERROR].mean().min())
    low, high = classification.wilson(round(best * n), n)
    if high - low > WIDE * max(best, 1 / n):
        yield (
            f"{n:,} test images alone leave the lowest error, {best:.2%}, a 95 % interval from "
            f"{low:.2%} to {high:.2%}; the intervals over seeds do not hold that."
        )
    if cells[N_TEST].nunique() > 1:
        yield f"Not all trainings were tested on as many images ({n:,} at least)."


def _holes(cells: pd.DataFrame, table: pd.DataFrame) -> Iterator[str]:
    unfinished = len(table) - len(cells)
    if unfinished:
        noun = "training has" if unfinished == 1 else "trainings have"
        yield f"{unfinished} {noun} no error and {'is' if unfinished == 1 else 'are'} left out."
    grid = cells.pivot_table(index=SEED, columns=[METHOD, N_LABELS], values=ERROR, aggfunc="size")
    holes = int(np.isnan(grid.to_numpy(float)).sum())
    if holes:
        yield (
            f"{holes} of {grid.size} pairs of method and count with a seed are not there; "
            "comparisons use the seeds that both methods have."
        )
    again = int((grid > 1).to_numpy().sum())
    if again:
        yield f"{again} cells were trained more than once; the mean of each stands for it."
