"""Where a run goes: into an experiment, or into the run that `mlflow run` has made."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping

import mlflow
from mlflow.entities import Experiment, RunInfo, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.masking import masked
from pipeline.tracking import launched, places
from pipeline.tracking.faults import FAULTS, NOT_THERE
from pipeline.tracking.store import KIND, REASON, REASON_LENGTH, connect, sqlite_file, tell

DEFAULT = "ssgan"  # the experiment of runs for which none is named
RANDOM_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")  # what `mlflow run` calls a run by itself
LAUNCHER_SECONDS = 60  # within which `mlflow run` has ended after its command has

_taken: set[str] = set()  # runs that `mlflow run` has made and this process has opened


def experiment_id(client: mlflow.MlflowClient, name: str | None) -> str:
    """The id of an experiment, made if it is not there; its artifacts go beside the store.

    name: None is what MLFLOW_EXPERIMENT_NAME or MLFLOW_EXPERIMENT_ID say, or else `DEFAULT`.

    Raises:
        UserError: there is no such id, the experiment was deleted, or its artifacts cannot be
            written.
    """
    name, number = named(name)
    found = numbered(client, number) if number else _named(client, name)
    if found.lifecycle_stage != "active":
        raise UserError(
            f"experiment = {found.name!r}: it was deleted in the MLflow UI; restore it or choose "
            "another."
        )
    _place(found)
    return str(found.experiment_id)


def named(name: str | None) -> tuple[str, str]:
    """An experiment's name, and its id if that alone is known, for a name that is given or not.

    name: None is what MLFLOW_EXPERIMENT_NAME or MLFLOW_EXPERIMENT_ID say, or else `DEFAULT`.
    """
    if found := name or os.environ.get("MLFLOW_EXPERIMENT_NAME"):
        return found, ""
    return DEFAULT, (name is None and os.environ.get("MLFLOW_EXPERIMENT_ID")) or ""


def _named(client: mlflow.MlflowClient, name: str) -> Experiment:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            found = client.get_experiment(client.create_experiment(name))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another process has made it meanwhile
            if found is None:
                raise
    return found


def numbered(client: mlflow.MlflowClient, number: str) -> Experiment:
    """The experiment that MLFLOW_EXPERIMENT_ID names."""
    try:
        return client.get_experiment(number)
    except MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
        raise UserError(
            f"MLFLOW_EXPERIMENT_ID = {number!r}: there is no such experiment in "
            f"{mlflow.get_tracking_uri()}; unset it, or name one by --experiment."
        ) from None


def _place(experiment: Experiment) -> None:
    """See that an experiment's artifacts go beside the store and can be written.

    Raises:
        UserError: they cannot.
    """
    store, location = sqlite_file(), experiment.artifact_location
    if store is None:
        return
    if told := places.bring_experiment(store, experiment.experiment_id, location):
        tell(f"experiment {experiment.name}: {told}")
    try:
        places.try_out(store, experiment.experiment_id, location)
    except OSError as error:
        raise UserError(
            f"experiment {experiment.name!r} keeps its artifacts in {error.filename}, which cannot "
            f"be written ({error.strerror}); choose another experiment, or set MLFLOW_TRACKING_URI "
            "to a store in a folder that can be written, e.g. sqlite:////tmp/mlflow.db."
        ) from None


def attached_run() -> str | None:
    """The id of the run that `mlflow run` has made for this process."""
    return os.environ.get("MLFLOW_RUN_ID") or None


def attach(client: mlflow.MlflowClient, run_id: str, tags: Mapping[str, str]) -> RunInfo:
    """Take the run that `mlflow run` has made; nobody else may write to it from now on.

    tags: set at once; the kind among them says that it is taken.

    Raises:
        UserError: there is no such run, it has ended, or another process has taken it.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
        raise _refused(run_id, f"there is no such run in {mlflow.get_tracking_uri()}") from None
    if run.info.lifecycle_stage != "active":
        raise _refused(run_id, "that run was deleted")
    if not _open(run):
        if run.info.status == "RUNNING":
            raise _refused(run_id, "another command writes that run, or was killed while it did")
        raise _refused(run_id, f"that run has ended ({run.info.status}) and is not written again")
    _taken.add(run_id)
    client.log_batch(run_id, tags=[RunTag(key, masked(value)) for key, value in tags.items()])
    if run.info.status != "RUNNING":
        client.update_run(run_id, status="RUNNING")
        client.delete_tag(run_id, REASON)
    if store := sqlite_file():
        places.bring_run(store, run.info.experiment_id, run_id, run.info.artifact_uri)
    _place(client.get_experiment(run.info.experiment_id))
    return run.info


def rename(client: mlflow.MlflowClient, run_id: str, name: str) -> None:
    """Name a run that `mlflow run` has made, unless the user has."""
    if RANDOM_NAME.fullmatch(client.get_run(run_id).info.run_name):
        client.update_run(run_id, name=name)


def _open(run: MlflowRun) -> bool:
    """Whether this process may write a run: its own, or one that nobody has begun."""
    if run.info.run_id in _taken:
        return bool(run.info.status == "RUNNING")
    begun = KIND in run.data.tags
    return not begun and (run.info.status == "RUNNING" or launched.given_up(run))


def _refused(run_id: str, why: str) -> UserError:
    return UserError(
        f"MLFLOW_RUN_ID = {run_id!r}: {why}; unset MLFLOW_RUN_ID, and the command makes a run of "
        "its own."
    )


def end_attached_run(status: str, reason: str) -> None:
    """End the run that `mlflow run` has made, for mistakes found before it is opened."""
    run_id = attached_run()
    if run_id is None:
        return
    # A lost store has been told already.
    with contextlib.suppress(*FAULTS):
        client = connect()
        if _open(client.get_run(run_id)):
            client.set_tag(run_id, REASON, masked(reason)[:REASON_LENGTH])
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
