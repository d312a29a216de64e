"""What a search and a curve tell of the time left."""

from datetime import datetime, timedelta

import pytest
from optuna.trial import FrozenTrial, TrialState

from experiments.curve.grid import Cell, read
from experiments.curve.times import Taken, remaining, seconds_a_cell
from experiments.curve.told import known
from experiments.curve.work import State
from experiments.search.told import seconds_left
from pipeline import tracking
from pipeline.config.layers import load
from pipeline.tracking import Found

NOW = datetime(2026, 1, 1, 12, 0, 0)


def trial(state, begun=None, took=None):
    """One that began so many seconds ago, or that took so many."""
    start = None if begun is None else NOW - timedelta(seconds=begun)
    if took is not None:
        start = NOW - timedelta(days=1)  # before an interruption
    end = start + timedelta(seconds=took) if took is not None else None
    shared = {"number": 0, "trial_id": 0, "value": None, "params": {}, "distributions": {}}
    kept = {"user_attrs": {}, "system_attrs": {}, "intermediate_values": {}}
    return FrozenTrial(state=state, datetime_start=start, datetime_complete=end, **shared, **kept)


DONE = [trial(TrialState.FAIL, took=20)]  # a complete one would need a value
WAITING = trial(TrialState.WAITING)


def running(seconds):
    return trial(TrialState.RUNNING, begun=seconds)


@pytest.mark.parametrize(
    ("trials", "target", "workers", "left"),
    [
        ([WAITING, running(5)], 9, 2, None),  # nobody can know yet
        ([*DONE, WAITING, WAITING], 3, 1, 40),
        ([*DONE, running(5), WAITING], 3, 1, 35),
        ([*DONE, running(5), running(10), WAITING, WAITING], 5, 2, (15 + 10 + 40) / 2),
        ([*DONE, running(500), running(15)], 3, 2, 5),  # one takes longer than the mean
        ([*DONE, running(5)], 2, 8, 15),  # the other workers have nothing to do
        ([*DONE, running(5), running(5), WAITING], 4, "ray", (15 + 15 + 20) / 2),
        ([*DONE, WAITING], 5, 1, 80),  # trials that are still to be made
        ([*DONE, *DONE], 2, 1, 0),
    ],
)
def test_time_left_is_known_from_the_first_trial_on(trials, target, workers, left):
    assert seconds_left(trials, target, workers, NOW) == (
        left if left is None else pytest.approx(left)
    )


CELLS = [Cell(name, 20, load({}), name) for name in ("a", "b", "c")]
SECONDS = {"a": Taken(10.0), "b": Taken(30.0), "c": Taken(20.0)}


def found(name, began, metrics=(), command=""):
    tags = {tracking.COMMAND: command}
    return {name: Found(name, name, "RUNNING", began, None, "1", tags, {}, dict(metrics))}


@pytest.mark.parametrize(
    ("at_once", "running", "left"),
    [
        (1, {}, 60),
        (2, {}, 30),
        (3, {}, 30),  # the longest, however many go on at once
        (2, found("b", 990), 10 + 20),  # a first beside b, then c
        (1, found("b", 900), 30),  # it takes longer than was expected
    ],
)
def test_a_curve_takes_as_long_as_its_longest_training_at_least(at_once, running, left):
    assert remaining(CELLS, SECONDS, at_once, running, 1000.0) == left
    assert remaining(CELLS, {"a": Taken(10.0)}, at_once, running, 1000.0) is None


def of_seeds(counts, seeds, methods=("a",)):
    """Cells in a curve's order; a digest says method, count and seed."""
    return [
        Cell(method, n, load({"seed": str(seed)}), f"{method} {n} {seed}")
        for seed in range(seeds)
        for method in methods
        for n in counts
    ]


@pytest.mark.parametrize(
    ("workers", "shared", "left"),
    [(1, True, 2 * (100 + 3 * 10)), (1, False, 6 * 110), (2, True, 100 + 3 * 10), (2, False, 330)],
)
def test_a_warm_up_is_counted_once_for_each_seed(workers, shared, left):
    cells = of_seeds((20, 50, 100), 2)
    assert remaining(cells, {"a": Taken(10.0, 100.0)}, workers, {}, 0.0, shared=shared) == left


def test_a_running_cell_tells_whether_it_makes_the_warm_up():
    cells = of_seeds((20, 50), 1)
    told = {"time/forecast_s": 110.0, "time/forecast_warm_up_s": 100.0}
    for metrics, left in ((told, 110 + 10), ({"time/forecast_s": 10.0}, 10 + 10)):
        running = found("a 20 0", 1000.0, metrics)
        assert remaining(cells, {"a": Taken(10.0, 100.0)}, 1, running, 1000.0) == left


def test_times_are_those_of_this_command_and_a_warm_up_is_told_apart():
    cells = of_seeds((20, 50), 1, ("a", "b"))
    paid = {"time/total_s": 112.0, "time/forecast_s": 110.0, "time/forecast_warm_up_s": 100.0}
    runs = found("a 20 0", 0, paid, "mine") | found("a 50 0", 0, {"time/total_s": 14.0}, "mine")
    finished = runs | found("b 20 0", 0, {"time/total_s": 99.0}, "another")
    state = State(finished, {}, {}, [])
    assert seconds_a_cell(cells, state, "mine") == {"a": Taken(13.0, 100.0), "b": Taken(99.0)}
    running = found("b 50 0", 0, {"time/forecast_s": 7.0}, "mine")
    state = State(finished, {}, running, [])
    assert seconds_a_cell(cells, state, "mine")["b"] == Taken(7.0)


def test_errors_that_are_told_are_of_the_same_seeds():
    grid = read({"methods": "supervised,ssgan", "label_counts": "20", "dataset": "digits"})
    cells = of_seeds((20,), 3, ("supervised", "ssgan"))
    errors = {"supervised 20 0": 0.1, "supervised 20 1": 0.3, "supervised 20 2": 0.4}
    finished = {}
    for name, error in errors.items():
        finished |= found(name, 0, {"test/error": error})
    assert not known(grid, cells, State(finished, {}, {}, []))
    finished |= found("ssgan 20 0", 0, {"test/error": 0.12})
    said = known(grid, cells, State(finished, {}, {}, []))
    assert said == "median error at 20 labels: supervised 10.0%, ssgan 12.0% (1 seed)"
