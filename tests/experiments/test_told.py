"""What a search and a curve tell of the time left."""

from datetime import datetime, timedelta

import pytest
from optuna.trial import FrozenTrial, TrialState

from experiments.curve.grid import Cell
from experiments.curve.told import remaining
from experiments.search.told import seconds_left
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
        ([*DONE, running(500), running(15)], 3, 2, 2.5),  # one takes longer than the mean
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
SECONDS = {"a": 10.0, "b": 30.0, "c": 20.0}


def found(name, began):
    return {name: Found(name, name, "RUNNING", began, None, "1", {}, {}, {})}


@pytest.mark.parametrize(
    ("at_once", "running", "left"),
    [
        (1, {}, 60),
        (2, {}, 30),
        (3, {}, 30),  # the longest, however many go on at once
        (2, found("b", 990), (10 + 20 + 20) / 2),
        (1, found("b", 900), 30),  # it takes longer than was expected
    ],
)
def test_a_curve_takes_as_long_as_its_longest_training_at_least(at_once, running, left):
    assert remaining(CELLS, SECONDS, at_once, running, 1000.0) == left
    assert remaining(CELLS, {"a": 10.0}, at_once, running, 1000.0) is None
