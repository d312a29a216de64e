"""What a curve tells while it goes on: how long it will take, and what is known so far."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.curve.grid import Cell, Grid
from experiments.curve.settings import CEILING
from experiments.curve.times import RAY, Taken, remaining, roughly, seconds_a_cell
from experiments.curve.work import State
from pipeline import progress

TEST_ERROR = "test/error"


class Told:
    """Tells what each look at the cells shows."""

    def __init__(self, grid: Grid, at_once: int, command: str) -> None:
        """Nothing is told yet.

        at_once: trainings that go on at the same time. command: that tells.
        """
        self.grid, self.at_once, self.command = grid, at_once, command
        self.ended, self.total, self.foretold = -1, 0, False

    def look(self, wanted: Sequence[Cell], now: State) -> None:
        """Tell how far it is: news when another cell has ended."""
        waiting = now.open(wanted)
        ended = len(wanted) - len(waiting)
        if self.total != len(wanted):
            self.total = len(wanted)
            progress.phase("cells", done=ended, total=self.total, unit="cells")
        seconds = seconds_a_cell(wanted, now, self.command)
        shared = self.grid.settings.workers != RAY
        left = remaining(waiting, seconds, self.at_once, now.running, time.time(), shared=shared)
        if left is not None and waiting and not self.foretold:
            self.foretold = True
            progress.note(forecast(waiting, seconds, left))
        failed = sum(cell.digest in now.failed for cell in wanted)
        running = sum(cell.digest in now.running for cell in waiting)
        words = [
            known(self.grid, wanted, now),
            f"{failed} failed" if failed else "",
            f"{running} running" if running else "",
        ]
        detail = ", ".join(filter(None, words)) or "workers are starting"
        tell = progress.report if self.ended not in (-1, ended) else progress.advance
        tell(ended, detail, left)
        self.ended = ended


def forecast(waiting: Sequence[Cell], seconds: Mapping[str, Taken], left: float) -> str:
    """How long it will take, e.g. "36 trainings, about 5 min in all (one of ssgan 4 s)"."""
    methods = list(dict.fromkeys(cell.method for cell in waiting))
    each = ", ".join(_one_of(method, seconds[method]) for method in methods)
    return f"{len(waiting)} trainings, about {roughly(left)} in all (one of {each})"


def _one_of(method: str, taken: Taken) -> str:
    first = f", the first of a seed {roughly(sum(taken))}" if taken.warm_up else ""
    return f"{method} {roughly(taken.each)}{first}"


def known(grid: Grid, wanted: Sequence[Cell], now: State) -> str:
    """Median test errors so far, of seeds that all methods have, at the largest such count."""
    methods = [method for method in grid.settings.methods if method != CEILING]
    errors: dict[int, dict[str, dict[int, float]]] = {}  # by count, method, seed
    for cell in wanted:
        run = now.finished.get(cell.digest)
        if run and TEST_ERROR in run.metrics and cell.method in methods:
            of_count = errors.setdefault(cell.n_labels, {method: {} for method in methods})
            of_count[cell.method][cell.seed] = run.metrics[TEST_ERROR]
    for count in sorted(errors, reverse=True):
        if seeds := set.intersection(*(set(found) for found in errors[count].values())):
            said = ", ".join(
                f"{method} {np.median([found[seed] for seed in seeds]):.1%}"
                for method, found in errors[count].items()
            )
            n = f"{len(seeds)} seed{'s' * (len(seeds) != 1)}"
            return f"median error at {count:,} labels: {said} ({n})"
    return ""
