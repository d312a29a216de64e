"""Where a run goes: the experiment by its name, or the run that `mlflow run` has made."""

import contextlib
import os
import subprocess
import sys
import time

import mlflow
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.tracking.store import FAULTS, REASON, REASON_LENGTH, connect

LAUNCHER_SECONDS = 60  # within which `mlflow run` has ended after its command has


def experiment_id(client: mlflow.MlflowClient, name: str) -> str:
    """The id of an experiment, made if it is not there.

    Raises:
        UserError: the experiment was deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process has made it meanwhile
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(
            f"experiment = {name!r}: it was deleted in the MLflow UI; restore it or choose another."
        )
    return str(found.experiment_id)


def attached_run() -> str | None:
    """The id of the run that `mlflow run` has made for this process."""
    return os.environ.get("MLFLOW_RUN_ID")


def end_attached_run(status: str, reason: str) -> None:
    """End the run that `mlflow run` has made, for mistakes found before it is opened."""
    run_id = attached_run()
    # A lost store has been told already.
    with contextlib.suppress(*FAULTS):
        client = connect()
        if run_id and client.get_run(run_id).info.status == "RUNNING":
            client.set_tag(run_id, REASON, reason[:REASON_LENGTH])
            client.set_terminated(run_id, status)
            if status == "KILLED":
                keep_killed(run_id)


def restore_killed(run_id: str) -> None:
    """Wait until `mlflow run` has marked the run FAILED and mark it KILLED again."""
    client = mlflow.MlflowClient()
    for _ in range(5 * LAUNCHER_SECONDS):
        if client.get_run(run_id).info.status == "FAILED":
            client.set_terminated(run_id, "KILLED")
            return
        time.sleep(0.2)


def keep_killed(run_id: str) -> None:
    """Leave a process behind that repairs the status after the launcher has ended.

    `mlflow run` 3.17.2 means to leave a finished run alone but compares its status, a text, with
    numbers: whatever the run was, it ends FAILED when its command was interrupted.
    """
    script = f"from pipeline.tracking.experiments import restore_killed; restore_killed({run_id!r})"
    subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
