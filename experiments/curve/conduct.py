"""A whole curve: prepare it, keep workers at work until every cell has ended, then the report."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from experiments.curve import backbone, beforehand, budget, comparisons, counts, kept
from experiments.curve.answering import give, wanted
from experiments.curve.cell import Job
from experiments.curve.grid import Cell, Grid
from experiments.curve.hands import Hands, of
from experiments.curve.kept import Choice, Kept
from experiments.curve.settings import CEILING, SUPERVISED, THEIRS
from experiments.curve.told import Told
from experiments.curve.work import State, alone, state
from experiments.curve.writing import Given, check_writable
from pipeline import progress, tracking
from pipeline.config import layers as configuration
from pipeline.data import Dataset
from pipeline.errors import RunFailure
from pipeline.ops import runtime
from pipeline.runs import flow, resume
from pipeline.tracking import Run

PAUSE, LOOKING = 1.0, 20  # between two looks at the cells: seconds, and times what a look takes


def draw(grid: Grid, command: str) -> Given:
    """Train what is missing of a curve, alone or beside another command, and report on all of it.

    command: as it was typed, for the report.

    Raises:
        UserError: store or data cannot be used, or a method cannot be had here.
        RunFailure: too many trainings in a row failed, or no worker comes up.
    """
    begin = time.monotonic()
    check_writable(grid)
    grid, dataset, choice, words = _prepared(grid)
    cells = grid.cells()
    job = _job(grid, cells)
    hands = of(job, grid.settings)
    try:
        with alone(job):
            summary = tracking.curve_run(grid.experiment, grid.name)
        ours = partial(_is_ours, summary)
        with tracking.closed(summary, ours) as run, progress.subject(grid.name):
            names, goal = wanted(cells), grid.settings.goal
            doubts = list(beforehand.doubts(grid))
            asked = Kept(grid.against, names, job.command, words, choice, goal, doubts)
            kept.keep(run, asked)
            _greet(grid, cells, [*words, *doubts], run)
            told = Told(grid, hands.at_once(), job.command)
            if grid.settings.budget is not None:
                cells, more = _within_budget(grid, cells, hands, job, told, begin)
                words = [*words, *more]
                kept.keep(run, replace(asked, words=words))
                hands.renew(replace(job, cells=tuple(cells)))
            now = _work_off(grid, cells, hands, job, told)
            hands.stop()
            with alone(job):
                return give(grid, run, now, words, command, dataset)
    finally:
        hands.stop()


def _is_ours(summary: Run) -> bool:
    """Whether no other command works on the curve: the last one to begin ends the summary."""
    return not tracking.is_anothers(summary)


def _prepared(grid: Grid) -> tuple[Grid, Dataset, Choice | None, list[str]]:
    """Load the data; settle counts and backbone; see that every method can be had."""
    first = grid.config(grid.settings.methods[0])
    progress.phase(f"loading {first.dataset}")
    for method in grid.settings.methods:
        if method in THEIRS:
            comparisons.check(method, first)
    dataset = resume.load_data(first)
    grid, words = counts.on(grid, dataset)
    chosen, choice, more = backbone.settled(grid)
    if choice:
        words += more
        dataset = resume.load_chosen(chosen.config(grid.settings.methods[0]), first, dataset)
        grid, _ = counts.on(chosen, dataset)
    longest = grid.config(grid.settings.methods[-1], grid.counts[-1])
    words += filter(None, [configuration.short(longest, len(dataset.train_images))])
    if grid.settings.budget is None:
        if budget.compares(grid):
            words += counts.too_few(grid.settings.seeds, len(grid.counts))
        words += beforehand.without_forecast(grid, grid.counts, grid.settings.seeds)
    flow.tell_findings(dataset)
    return grid, dataset, choice, words


def _job(grid: Grid, cells: Sequence[Cell]) -> Job:
    assert grid.data is not None
    settings, threads = grid.settings, cells[0].config.threads
    if threads is None and settings.workers == "ray":
        threads = settings.cpus_per_cell
    if threads is None:  # the cores shared out among the workers
        threads = max(1, runtime.cores() // int(settings.workers))
    return Job(
        curve=grid.name,
        experiment=grid.experiment,
        cells=tuple(cells),
        data=grid.data.digest,
        command=uuid.uuid4().hex[:12],
        threads=threads,
        generator=settings.generator,
        cells_per_process=settings.cells_per_process,
    )


def _within_budget(
    grid: Grid, cells: list[Cell], hands: Hands, job: Job, told: Told, begin: float
) -> tuple[list[Cell], list[str]]:
    """The cells that fit into the budget, by a first one of each method, and what was left out."""
    assert grid.settings.budget is not None
    pilots = budget.firsts(cells, state(tracking.cells(grid.experiment, grid.name), job.command))
    hands.renew(replace(job, cells=tuple(pilots)))
    now = _work_off(grid, pilots, hands, job, told)
    left = max(0.0, grid.settings.budget - (time.monotonic() - begin))
    return budget.fitting(grid, cells, pilots, now, job.command, hands.at_once(), left)


def _work_off(grid: Grid, wanted: Sequence[Cell], hands: Hands, job: Job, told: Told) -> State:
    """Look at the cells, every second or less often, until all that are wanted have ended."""
    while True:
        begin = time.monotonic()
        tracking.patiently(lambda: tracking.end_lost(grid.experiment, grid.name))
        found = tracking.patiently(lambda: tracking.cells(grid.experiment, grid.name))
        now = state(found, job.command)
        told.look(wanted, now)
        waiting = now.open(wanted)
        if not waiting:
            return now
        _stop_if_hopeless(grid, now)
        hands.tend(waiting, now.running)
        time.sleep(max(PAUSE, LOOKING * (time.monotonic() - begin)))


def _stop_if_hopeless(grid: Grid, now: State) -> None:
    last = now.ended[-grid.settings.max_failures :]
    if len(last) == grid.settings.max_failures and all(run.status == "FAILED" for run in last):
        raise RunFailure(
            f"curve {grid.name}: {len(last)} trainings in a row failed, the last ({last[-1].name}) "
            f"with: {last[-1].tags.get(tracking.REASON, 'no reason')}. Mend it; the same command "
            "then goes on."
        )


def left_behind(grid: Grid, cells: Sequence[Cell], now: State) -> list[str]:
    """What is said if `supervised` was trained as the baseline of another method before."""
    unwanted = now.finished.keys() - {cell.digest for cell in cells}
    left = len(unwanted & grid.of_other_baselines()) if unwanted else 0
    base = grid.base(SUPERVISED)
    if not left or not {SUPERVISED, CEILING} & {*grid.settings.methods}:
        return []
    of = "trained alone" if base == SUPERVISED else f"the baseline of {base}"
    noun = "training does" if left == 1 else "trainings do"
    return [f"{SUPERVISED} is now {of}: {left} finished {noun} not count"]


def _greet(grid: Grid, cells: Sequence[Cell], words: Sequence[str], run: Run) -> None:
    now = state(tracking.cells(grid.experiment, grid.name), "")
    there = len(cells) - len(now.open(cells))
    view = run.view(tracking.LABELS)
    progress.note(
        f"curve {grid.name}: {', '.join(grid.settings.methods)} at "
        f"{', '.join(f'{count:,}' for count in grid.counts)} labels, {grid.settings.seeds} seeds"
        + (f"; {there} of {len(cells)} trainings are there already" if there else "")
        + f"\nMLflow experiment {grid.experiment}: {view}"
    )
    for sentence in (*left_behind(grid, cells, now), *words):
        progress.note(sentence)
    name = f"command of curve {grid.name}"
    tracking.describe_attached("curve_command", name, f"Curve **{grid.name}**: {view}")
