"""What a cluster is given, and what it is not."""

import itertools
import os
import signal
import time
from pathlib import Path

import pytest

from experiments import workers
from pipeline.errors import RunFailure, UserError

DATABASE = "postgresql+psycopg://ssgan@database/optuna"


def test_only_the_code_travels_and_no_run_of_ours(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "OTHER"):
        monkeypatch.setenv(name, "http://store")
    given = workers._environment()
    packed = {path.name for path in Path(given["working_dir"]).iterdir()}
    packed -= {name.removeprefix("/") for name in given["excludes"]}
    assert packed == {"pipeline", "experiments", "configs"}
    assert given["env_vars"]["MLFLOW_TRACKING_URI"] == "http://store"
    assert not {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "OTHER"} & set(given["env_vars"])


@pytest.mark.parametrize(
    ("storage", "store", "data_dir", "said"),
    [
        ("/home/me/studies/journal.log", "http://store", None, "storage = /home/me"),
        ("sqlite:////home/me/optuna.db", "http://store", None, "storage = sqlite"),
        (DATABASE, "", None, "MLFLOW_TRACKING_URI = not set"),
        (DATABASE, "sqlite:////home/me/mlflow.db", None, "MLFLOW_TRACKING_URI = sqlite"),
        (DATABASE, "http://store", Path("mnist"), "data_dir = mnist"),
    ],
)
def test_a_place_of_this_machine_alone_is_told(monkeypatch, storage, store, data_dir, said):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    with pytest.raises(UserError, match=said):
        workers.require_shared(storage, data_dir)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def failed():
    raise UserError("no store")


def ends(pool, waiting, most, done=lambda: 0):
    """Tend a pool until workers of it have ended so often, or it gives up; why."""
    ended, end = 0, time.monotonic() + 120
    while ended < most and time.monotonic() < end:
        before = {process.pid for process in pool.alive}
        try:
            pool.tend(waiting(), done())
        except RunFailure as failure:
            return str(failure)
        ended += len(before - {process.pid for process in pool.alive})
        time.sleep(0.02)
    return ""


@pytest.mark.slow
def test_workers_that_are_killed_before_they_begin_are_not_started_for_ever(monkeypatch):
    monkeypatch.setattr(workers, "KILLS", 3)
    why = ends(workers.Local(killed, 1), lambda: 5, most=6)
    assert "3 workers in a row were killed before they began (SIGKILL)" in why


@pytest.mark.slow
def test_workers_that_fail_are_replaced_while_trials_end():
    ended = iter(range(10_000))  # one trial more at each look
    pool = workers.Local(failed, 2)
    assert ends(pool, lambda: 9, most=5, done=lambda: next(ended)) == ""
    pool.stop()


@pytest.mark.slow
def test_workers_that_give_every_trial_back_are_not_started_for_ever():
    """As when the store refuses or stays away: a trial is claimed, and waits again."""
    waiting = itertools.cycle([9, 8])
    why = ends(workers.Local(failed, 2), lambda: next(waiting), 5)
    assert "3 workers in a row could not do their work" in why


def test_places_that_every_machine_reaches_are_taken(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://store:5000")
    workers.require_shared("grpc://database:13000", Path("/data/mnist"))
