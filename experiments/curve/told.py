"""What a curve tells while it goes on: how long it will take, and what is known so far."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.curve.cell import FORECAST, SECONDS
from experiments.curve.grid import Cell, Grid
from experiments.curve.settings import CEILING
from experiments.curve.work import State
from pipeline import progress
from pipeline.tracking import Found

TEST_ERROR = "test/error"


class Told:
    """Tells what each look at the cells shows."""

    def __init__(self, grid: Grid, at_once: int) -> None:
        """Nothing is told yet; `at_once`: trainings that go on at the same time."""
        self.grid, self.at_once = grid, at_once
        self.ended, self.total, self.foretold = -1, 0, False

    def look(self, wanted: Sequence[Cell], now: State) -> None:
        """Tell how far it is: news when another cell has ended."""
        waiting = now.open(wanted)
        ended = len(wanted) - len(waiting)
        if self.total != len(wanted):
            self.total = len(wanted)
            progress.phase("cells", done=ended, total=self.total, unit="cells")
        seconds = seconds_a_cell(wanted, now)
        left = remaining(waiting, seconds, self.at_once, now.running, time.time())
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


def seconds_a_cell(wanted: Sequence[Cell], now: State) -> dict[str, float]:
    """Seconds that a cell of each method takes: those measured, or else what its training expects.

    A method of which nothing is known yet is left out.
    """
    measured: dict[str, list[float]] = {}
    expected: dict[str, float] = {}
    for cell in wanted:
        run: Found | None = now.finished.get(cell.digest)
        if run and SECONDS in run.metrics:
            measured.setdefault(cell.method, []).append(run.metrics[SECONDS])
        running = now.running.get(cell.digest)
        if running and FORECAST in running.metrics:
            expected[cell.method] = running.metrics[FORECAST]
    return expected | {method: float(np.mean(all_of)) for method, all_of in measured.items()}


def remaining(
    waiting: Sequence[Cell],
    seconds: Mapping[str, float],
    at_once: int,
    running: Mapping[str, Found],
    now: float,
) -> float | None:
    """Seconds until all have ended, None while a method's are not known.

    What running ones have done by `now` (seconds since 1970) is taken off. It is never less than
    the longest of them takes, however many go on at once.
    """
    if any(cell.method not in seconds for cell in waiting):
        return None
    each = [seconds[cell.method] for cell in waiting]
    for number, cell in enumerate(waiting):
        if cell.digest in running:
            each[number] = max(0.0, each[number] - (now - running[cell.digest].began))
    return max([sum(each) / max(1, min(at_once, len(each))), *each])


def forecast(waiting: Sequence[Cell], seconds: Mapping[str, float], left: float) -> str:
    """How long it will take, e.g. "36 trainings, about 5 min (supervised 4 s each, …)"."""
    methods = list(dict.fromkeys(cell.method for cell in waiting))
    each = ", ".join(f"{method} {roughly(seconds[method])}" for method in methods)
    return f"{len(waiting)} trainings, about {roughly(left)} in all (one of {each})"


def roughly(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def known(grid: Grid, wanted: Sequence[Cell], now: State) -> str:
    """Median test errors so far at the largest count that every method has reached."""
    errors: dict[int, dict[str, list[float]]] = {}
    for cell in wanted:
        run = now.finished.get(cell.digest)
        if run and TEST_ERROR in run.metrics and cell.method != CEILING:
            errors.setdefault(cell.n_labels, {}).setdefault(cell.method, [])
            errors[cell.n_labels][cell.method].append(run.metrics[TEST_ERROR])
    methods = [method for method in grid.settings.methods if method != CEILING]
    whole = [count for count, found in errors.items() if len(found) == len(methods)]
    if not whole or not methods:
        return ""
    found = errors[max(whole)]
    said = ", ".join(f"{method} {np.median(found[method]):.1%}" for method in methods)
    seeds = min(len(values) for values in found.values())
    return f"median error at {max(whole):,} labels: {said} ({seeds} seed{'s' * (seeds != 1)})"
