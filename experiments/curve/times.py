"""How long cells take: each its own time, and a warm-up that serves all label counts of a seed."""

import heapq
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.curve.cell import FORECAST, SECONDS, WARM_UP
from experiments.curve.grid import Cell
from experiments.curve.work import State
from pipeline import tracking
from pipeline.tracking import Found

RAY = "ray"  # `workers`: each cell is a task of its own, and makes its own warm-up


class Taken(NamedTuple):
    """Seconds that a method's cells take."""

    each: float  # one whose warm-up is known from before
    warm_up: float = 0.0  # besides, for the first of a seed; without labels it serves the others


def seconds_a_cell(wanted: Sequence[Cell], now: State, command: str) -> dict[str, Taken]:
    """What a cell of each method takes: as measured, or else what its training expects.

    Cells of other commands, which may have had other cores, count only where this command has
    none of that method yet. A method of which nothing is known yet is left out.
    """
    known: dict[str, list[Found]] = defaultdict(list)
    for cell in wanted:
        run = now.finished.get(cell.digest) or now.running.get(cell.digest)
        if run and {SECONDS, FORECAST} & run.metrics.keys():
            known[cell.method].append(run)
    found = {}
    for method, runs in known.items():
        own = [run for run in runs if run.tags.get(tracking.COMMAND) == command] or runs
        measured = [run for run in own if SECONDS in run.metrics]
        each = [
            run.metrics[SECONDS if measured else FORECAST] - run.metrics.get(WARM_UP, 0.0)
            for run in measured or own[-1:]
        ]
        warm_up = max(run.metrics.get(WARM_UP, 0.0) for run in own)
        found[method] = Taken(max(0.0, float(np.mean(each))), warm_up)
    return found


def remaining(
    waiting: Sequence[Cell],
    seconds: Mapping[str, Taken],
    workers: int,
    running: Mapping[str, Found],
    now: float,
    *,
    shared: bool = True,
) -> float | None:
    """Seconds until all have ended, None while a method's are not known.

    The cells are laid out in their order, each for the worker that is free first; what running
    ones have done by `now` (seconds since 1970) is taken off.

    Args:
        waiting: cells that have not ended.
        seconds: of each method.
        workers: cells that go on at once.
        running: the runs of some of them, by digest.
        now: the time.
        shared: a warm-up serves all cells of its method and seed.
    """
    if any(cell.method not in seconds for cell in waiting):
        return None
    ends = [0.0] * max(1, workers)
    warmed: set[tuple[str, int]] = set()
    for cell in sorted(waiting, key=lambda cell: cell.digest not in running):
        each, warm_up = seconds[cell.method]
        run = running.get(cell.digest)
        if _pays(cell, run, warmed if shared else ()):
            each += warm_up
        warmed.add((cell.method, cell.seed))
        if run:
            each = max(0.0, each - (now - run.began))
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def _pays(cell: Cell, run: Found | None, warmed: Collection[tuple[str, int]]) -> bool:
    """Whether a cell makes the warm-up itself; a running one has told it with its forecast."""
    if run and FORECAST in run.metrics:
        return WARM_UP in run.metrics
    return (cell.method, cell.seed) not in warmed


def roughly(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
