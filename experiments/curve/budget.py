"""Which cells fit into a budget of time, by a first training of each method."""

from collections import defaultdict
from collections.abc import Sequence

from experiments.curve import beforehand, counts
from experiments.curve.grid import Cell, Grid
from experiments.curve.label_curve import LEAST_SEEDS
from experiments.curve.settings import CEILING
from experiments.curve.statistics import LEAST_PAIRS, least_pairs
from experiments.curve.times import RAY, remaining, roughly, seconds_a_cell
from experiments.curve.work import State
from pipeline import progress


def firsts(cells: Sequence[Cell], now: State) -> list[Cell]:
    """The first cell of each method of which none is trained: it tells how long others take."""
    known = {cell.method for cell in cells if cell.digest in now.finished}
    found: dict[str, Cell] = {}
    for cell in now.open(cells):
        if cell.method not in known:
            found.setdefault(cell.method, cell)
    return list(found.values())


def fitting(
    grid: Grid,
    cells: Sequence[Cell],
    pilots: Sequence[Cell],
    now: State,
    command: str,
    workers: int,
    left: float,
) -> tuple[list[Cell], list[str]]:
    """The cells that fit into what is left, and what was left out; tells both.

    Args:
        grid: of the curve.
        cells: all of it.
        pilots: trained already, to learn how long others take.
        now: what has become of the cells.
        command: that trains them.
        workers: cells that go on at once.
        left: seconds.
    """
    missing = now.open(cells)
    if not missing:
        return [*cells], []
    seconds = seconds_a_cell(cells, now, command)
    if not seconds:
        return [*pilots], _noted("every method's first training failed: nothing tells what fits")
    dearest = max(seconds.values(), key=sum)  # what a method costs whose first training failed
    seconds = {method: seconds.get(method, dearest) for method in grid.settings.methods}
    first, tested = min(cell.seed for cell in cells), _tested(grid, cells, now)

    def fits(cell: Cell, some: Sequence[int], seeds: int) -> bool:
        return cell.seed < first + seeds and (cell.n_labels in some or cell.method == CEILING)

    def cost(some: Sequence[int], seeds: int) -> float:
        shared = grid.settings.workers != RAY
        those = [cell for cell in missing if fits(cell, some, seeds)]
        return remaining(those, seconds, workers, {}, 0.0, shared=shared) or 0.0

    def tests(some: Sequence[int]) -> int:
        return len({*some, *tested})

    def least(some: Sequence[int]) -> int:
        return least_pairs(tests(some)) if compares(grid) else LEAST_SEEDS

    assert grid.settings.budget is not None
    asked, budget = (grid.counts, grid.settings.seeds), roughly(grid.settings.budget)
    found = counts.fitting(*asked, cost, left, least)
    if found is None:
        return [*pilots], _noted(
            f"the budget of {budget} is too short for more than one training of each method"
        )
    some, seeds = found
    few = counts.too_few(seeds, tests(some)) if compares(grid) else []
    few += beforehand.without_forecast(grid, sorted({*some, *tested}), seeds)
    to_go = f"about {roughly(cost(some, seeds))} to go"
    if found == asked:
        progress.note("; ".join([f"all of it fits into {budget}: {to_go}", *few]))
        return [*cells], few
    fit = (
        f"into {budget} fit {len(some)} of {len(grid.counts)} label counts "
        f"({', '.join(f'{count:,}' for count in some)}) with {seeds} of {grid.settings.seeds} seeds"
    )
    words = "; ".join([fit, *few])
    progress.note(f"{words}: {to_go}")
    return [cell for cell in cells if fits(cell, some, seeds) or cell in pilots], [words]


def compares(grid: Grid) -> bool:
    """Whether there is anything to give a verdict on."""
    return len({*grid.settings.methods} - {CEILING}) > 1


def _tested(grid: Grid, cells: Sequence[Cell], now: State) -> list[int]:
    """Counts that have been trained with enough seeds to be tested, and so corrected for."""
    seeds: dict[tuple[int, str], set[int]] = defaultdict(set)
    for cell in cells:
        if cell.digest in now.finished:
            seeds[cell.n_labels, cell.method].add(cell.seed)
    base = grid.against
    return [
        count
        for count in grid.counts
        if any(
            len(seeds[count, method] & seeds[count, base]) >= LEAST_PAIRS
            for method in grid.settings.methods
            if method not in (base, CEILING)
        )
    ]


def _noted(words: str) -> list[str]:
    progress.note(words)
    return [words]
