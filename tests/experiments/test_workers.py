"""What a cluster is given, and what it is not."""

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


def ends(pool, waiting, most):
    """Tend a pool until workers of it have ended so often, or it gives up; why."""
    ended, end = 0, time.monotonic() + 120
    while ended < most and time.monotonic() < end:
        before = {process.pid for process in pool.alive}
        try:
            pool.tend(waiting())
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
def test_workers_that_end_after_a_trial_was_begun_are_replaced():
    left = iter(range(10_000, 0, -1))  # one trial less waits at each look
    pool = workers.Local(failed, 2)
    assert ends(pool, lambda: next(left), most=5) == ""
    pool.stop()
    assert "3 workers in a row could not begin" in ends(workers.Local(failed, 2), lambda: 9, 5)


def test_places_that_every_machine_reaches_are_taken(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://store:5000")
    workers.require_shared("grpc://database:13000", Path("/data/mnist"))
