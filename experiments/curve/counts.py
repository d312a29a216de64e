"""The label counts that a data set can give, and those that a budget of time allows."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from experiments.curve.grid import Data, Grid
from experiments.curve.statistics import least_pairs
from pipeline.config.schema import Config
from pipeline.data import UNKNOWN, Dataset
from pipeline.errors import UserError
from pipeline.stages.split import choose_split

OWN_DATA = ("folder", "npz")  # users' own: what they lack is told, not refused
SHAPE = 3  # counts: fewer show no curve


def on(grid: Grid, dataset: Dataset) -> tuple[Grid, list[str]]:
    """The grid for a data set, and in words which counts were cut to what its labels allow.

    Raises:
        UserError: a count that the data cannot give; of a user's own pictures, if none is left.
    """
    labels = dataset.train_labels.read(np.arange(len(dataset.train_labels)), "split")
    known, classes = int((labels != UNKNOWN).sum()), len(dataset.class_names)
    grid = replace(grid, data=Data(dataset.digest, len(labels), known, classes))
    config = grid.config(grid.settings.methods[0])
    least = classes + (config.valid_labels or 0)
    counts = [count for count in grid.counts if least <= count <= known]
    words = []
    if few := [count for count in grid.counts if count < least]:
        words.append(
            f"{_listed(few)} labels are too few: each of {classes} classes needs one"
            + (f", beside {config.valid_labels} for validation" if config.valid_labels else "")
        )
    if many := [count for count in grid.counts if count > known]:
        words.append(f"{_listed(many)} labels are more than the {known:,} there are")
    if words and (config.dataset not in OWN_DATA or known < least):
        raise UserError(
            f"label_counts = {', '.join(map(str, grid.counts))}: {'; '.join(words)}; "
            f"{config.dataset} can give {least:,} to {known:,}."
        )
    if many and known not in counts:
        counts.append(known)
        words[-1] += f": {known:,} instead"
    if not counts:
        raise UserError(f"label_counts: {'; '.join(words)}; give one of {least:,} to {known:,}.")
    grid = grid.with_counts(counts)
    for count in counts:
        _check_split(grid.config(grid.settings.methods[0], count), grid.settings.seeds, dataset)
    return grid, words


def _check_split(config: Config, seeds: int, dataset: Dataset) -> None:
    """Raise UserError if a count cannot pay its share for validation, whatever the seed."""
    even = config.stratified or not config.valid_frac  # then all seeds have as many of each class
    for number in range(1 if even else seeds):
        seed = config.split_seed + number
        try:
            choose_split(config.model_copy(update={"split_seed": seed}), dataset)
        except UserError as error:
            raise UserError(f"split_seed = {seed}: {error}") if number else error from None


def fitting(
    counts: Sequence[int],
    seeds: int,
    cost: Callable[[Sequence[int], int], float],
    left: float,
    least: Callable[[Sequence[int]], int],
) -> tuple[list[int], int] | None:
    """Counts and seeds that fit into a time, None if not even one of each does.

    All counts if so many seeds fit at each as they need; else fewer counts, spread evenly, that
    need fewer; else up to `SHAPE` counts and what seeds there is time for.

    Args:
        counts: label counts, ascending.
        seeds: at each count, at most.
        cost: seconds that counts and a number of seeds still take.
        left: seconds.
        least: seeds that counts need at least, for a verdict or a forecast.
    """
    found = {}
    for k in range(len(counts), 0, -1):
        some = _spread(counts, k)
        most = next((n for n in range(seeds, 0, -1) if cost(some, n) <= left), 0)
        if most >= min(seeds, least(some)):
            return some, most
        found[k] = some, most
    shaped = [found[k] for k in range(min(SHAPE, len(counts)), 0, -1)]
    return next((pair for pair in shaped if pair[1]), None)


def too_few(seeds: int, n_counts: int) -> list[str]:
    """What is said of so few seeds at so many counts that no test can tell anything; else none."""
    least = least_pairs(n_counts)
    if seeds >= least:
        return []
    where = f"{n_counts} label counts" if n_counts > 1 else "one label count"
    return [f"fewer than {least} seeds give no verdict at {where}"]


def _spread(counts: Sequence[int], k: int) -> list[int]:
    """k of the counts: the smallest, the largest and what lies evenly between, by position."""
    return [counts[int(i)] for i in np.linspace(0, len(counts) - 1, k).round()]


def _listed(counts: Sequence[int]) -> str:
    return " and ".join(f"{count:,}" for count in counts)
