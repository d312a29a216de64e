"""Which cells a budget of time takes, by what has been trained."""

from experiments.curve import budget
from experiments.curve.counts import on
from experiments.curve.grid import read
from experiments.curve.work import State
from pipeline import data, tracking
from pipeline.tracking import Found

COUNTS = "20,40,80,160,320"


def grid_of(**settings):
    given = {"dataset": "digits", "label_counts": COUNTS, "seeds": "10", "budget": "1h", **settings}
    return on(read(given), data.load("digits", None))[0]


def trained(cells, seconds):
    """The cells as finished runs of this command."""
    runs = {}
    for number, cell in enumerate(cells):
        measured = {"time/total_s": seconds[cell.method]}
        tags = {tracking.COMMAND: "mine"}
        name = str(number)
        runs[cell.digest] = Found(name, name, "FINISHED", 0.0, 1.0, "1", tags, {}, measured)
    return State(runs, {}, {}, [])


def chosen(grid, done, left, seconds=None, workers=1):
    cells = grid.cells()
    seconds = seconds or dict.fromkeys(grid.settings.methods, 10.0)
    there = [cell for cell in cells if done(cell)]
    state = trained(there, seconds)
    found, words = budget.fitting(grid, cells, there, state, "mine", workers, left)
    return {(c.n_labels, c.seed) for c in found}, words


def pilot(cell):
    return cell.seed == 0 and cell.n_labels == 20


def test_one_warm_up_a_seed_lets_more_fit(capsys):
    grid = grid_of(methods="supervised,ssgan")
    seconds = {"supervised": 60.0, "ssgan": 426.0}
    cells = grid.cells()
    there = [cell for cell in cells if pilot(cell)]
    state = trained(there, seconds)
    (ssgan,) = [cell for cell in there if cell.method == "ssgan"]
    state.finished[ssgan.digest].metrics.update({"time/forecast_warm_up_s": 310.0})
    found, _ = budget.fitting(grid, cells, there, state, "mine", 1, 4 * 3600.0)
    assert len(found) == len(cells)  # all five counts with ten seeds


def test_few_cells_are_not_shared_out_among_many_workers():
    grid = grid_of(methods="supervised,ssgan", label_counts="20,40", seeds="1")
    seconds = {"supervised": 600.0, "ssgan": 600.0}
    found, words = chosen(grid, pilot, 300.0, seconds, workers=8)
    assert found == {(20, 0)}
    assert "fit 1 of 2 label counts (20) with 1 of 1 seeds" in words[0]


def test_counts_that_are_tested_already_are_corrected_for():
    grid = grid_of(methods="supervised,ssgan")
    found, words = chosen(grid, lambda cell: cell.seed < 6, 70.0)
    assert max(seed for n, seed in found if n == 20) == 8  # nine seeds; seven at three counts
    assert "verdict" not in words[0]  # would give none: Holm's correction is for five
    found, words = chosen(grid, lambda cell: cell.seed < 6, 30.0)
    assert "fewer than 8 seeds give no verdict at 5 label counts" in words[0]
    _, words = chosen(grid, lambda cell: cell.seed < 6, 1e6)
    assert words == []


def test_without_a_second_method_counts_are_kept_for_a_forecast():
    grid = grid_of(methods="ssgan")
    found, words = chosen(grid, pilot, 490.0, {"ssgan": 20.0})
    assert len({n for n, _ in found}) == 5
    assert "verdict" not in " ".join(words)


def test_a_first_cell_is_trained_of_each_method_that_has_none():
    grid = grid_of(methods="supervised,ssgan")
    cells = grid.cells()
    there = [cell for cell in cells if cell.method == "supervised" and cell.seed == 0]
    (first,) = budget.firsts(cells, trained(there, {"supervised": 1.0}))
    assert (first.method, first.n_labels, first.seed) == ("ssgan", 20, 0)
    assert len(budget.firsts(cells, trained([], {}))) == 2
    assert budget.firsts(cells, trained(cells, {"supervised": 1.0, "ssgan": 1.0})) == []
