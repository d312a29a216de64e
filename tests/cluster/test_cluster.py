"""One study across a cluster: PostgreSQL, an MLflow server, two Ray nodes, the real commands."""

import os
import signal
import sys
from collections import Counter

import mlflow
import pytest
from optuna.trial import TrialState

from experiments.search import open_storage
from experiments.search.conduct import LOST

from .conftest import eventually

pytestmark = pytest.mark.cluster

TRIALS = 4
SEARCH = ["--study", "shared", "--trials", TRIALS, "--steps", 40, "--report_every", 20]
SEARCH += ["--method", "supervised", "--lease", 30]


def test_a_dead_cluster_is_told_in_one_line(cluster):
    search = cluster.search("dead", *SEARCH, RAY_ADDRESS="127.0.0.1:1")
    assert search.wait(60) == 2
    *_, line = cluster.said("dead").splitlines()
    assert "no cluster at RAY_ADDRESS = 127.0.0.1:1" in line


def test_commands_that_make_a_database_s_tables_at_once_all_succeed(cluster):
    opens = f"from experiments.search import open_storage as o; o({cluster.url('raced')!r})"
    commands = [cluster.start(f"race{i}", sys.executable, "-c", opens) for i in range(4)]
    ended = [command.wait(120) for command in commands]
    assert ended == [0] * 4, [cluster.said(f"race{i}") for i in range(4)]


def test_a_study_outlives_a_killed_worker_and_ctrl_c(cluster, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", cluster.tracking)
    storage = open_storage(cluster.storage)

    def trials(state=None):
        study = storage.get_study_id_from_name("shared")
        return storage.get_all_trials(study, states=None if state is None else (state,))

    def training():
        """Trials that have an MLflow run and are not at their end."""
        found = [trial for trial in trials(TrialState.RUNNING) if "run_ids" in trial.user_attrs]
        return found if len(found) == 2 else None

    search = cluster.search("first", *SEARCH)
    eventually(lambda: "study shared" in cluster.said("first"), "the study")
    lost = eventually(training, "two trainings at once")[0]
    os.kill(lost.user_attrs["alive"]["pid"], signal.SIGKILL)
    eventually(
        lambda: any(trial.user_attrs.get("replaces") == lost.number for trial in trials()),
        "the lost trial waits again",
    )
    eventually(lambda: trials(TrialState.COMPLETE) and trials(TrialState.RUNNING), "work goes on")
    search.send_signal(signal.SIGINT)
    assert search.wait(90) == 130, cluster.said("first")
    assert not trials(TrialState.RUNNING)
    assert "Traceback" not in cluster.said("first")
    eventually(lambda: not cluster.workers(), "no task is left", 20)

    search = cluster.search("again", *SEARCH)
    assert search.wait(150) == 0, cluster.said("again")
    told = cluster.said("again")
    assert f"Study shared ({TRIALS} complete trials)" in told, told

    ended = trials()
    counted = [trial for trial in ended if not trial.user_attrs.get("replaced")]
    assert [trial.state for trial in counted] == [TrialState.COMPLETE] * TRIALS
    assert all(trial.state.is_finished() for trial in ended)
    assert [t.number for t in ended if t.user_attrs.get("reason") == LOST] == [lost.number]
    again = [t.user_attrs["replaces"] for t in ended if "replaces" in t.user_attrs]
    assert sorted(again) == [t.number for t in ended if t.user_attrs.get("replaced")]
    assert len({trial.user_attrs["node"] for trial in ended}) == 2

    # One that was interrupted early has no run yet.
    known = [run_id for trial in ended for run_id in trial.user_attrs.get("run_ids", [])]
    status = {run_id: mlflow.get_run(run_id).info.status for run_id in known}
    assert status[lost.user_attrs["run_ids"][0]] == "KILLED"
    # One that was interrupted after its run's end was trained again.
    assert Counter(status.values())["FINISHED"] >= TRIALS
    assert set(status.values()) == {"FINISHED", "KILLED"}
    eventually(lambda: not cluster.workers(), "no task is left", 20)
