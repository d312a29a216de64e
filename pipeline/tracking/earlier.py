"""What is read back from runs that have ended."""

import os
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.tracking.faults import FAULTS, NOT_THERE
from pipeline.tracking.store import KIND, connect, reachable


@reachable()
def tag(run_id: str, key: str) -> str | None:
    """One tag of a run."""
    value: str | None = mlflow.MlflowClient().get_run(run_id).data.tags.get(key)
    return value


@reachable()
def parameter(run_id: str, key: str) -> str | None:
    """One parameter of a run."""
    value: str | None = mlflow.MlflowClient().get_run(run_id).data.params.get(key)
    return value


@reachable()
def run_name(run_id: str) -> str:
    """A run's name."""
    return str(mlflow.MlflowClient().get_run(run_id).info.run_name)


def source_kind(run_id: str) -> str:
    """The kind of an earlier run.

    Raises:
        UserError: there is no such run in the store, or it is none of ours.
    """
    with reachable():
        try:
            tags = connect().get_run(run_id).data.tags
        except MlflowException as error:
            if error.error_code not in NOT_THERE:
                raise
            raise UserError(
                f"run_id = {run_id!r} (from --run_id): there is no such run in "
                f"{mlflow.get_tracking_uri()}; the MLflow UI and the end of every run show the ids."
            ) from None
    if KIND not in tags:
        raise UserError(f"run_id = {run_id!r} (from --run_id): that run was not made by ssgan.")
    return str(tags[KIND])


def fetch(run_id: str, artifact: str, folder: Path) -> Path:
    """Download one artifact of a run into `folder` and return its path.

    Raises:
        StoreAway: the store, or that of its artifacts, does not answer.
        UserError: the run has no such artifact, or it cannot be read.
    """
    with reachable():
        try:
            return Path(
                mlflow.artifacts.download_artifacts(
                    run_id=run_id, artifact_path=artifact, dst_path=str(folder)
                )
            )
        except FAULTS:
            there = mlflow.MlflowClient().list_artifacts(run_id, os.path.dirname(artifact) or None)  # noqa: PTH120
            if artifact in [file.path for file in there]:
                raise
            raise UserError(
                f"run_id = {run_id!r}: that run has no artifact {artifact}; did it finish?"
            ) from None


@reachable()
def child_of(run_id: str, kind: str) -> str | None:
    """The id of the finished child run of a kind, or None."""
    client = mlflow.MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_runs(
        [experiment],
        f"tags.`mlflow.parentRunId` = '{run_id}' and tags.`{KIND}` = '{kind}' "
        "and attributes.status = 'FINISHED'",
        max_results=1,
    )
    return found[0].info.run_id if found else None


@reachable()
def last_metrics(run_id: str) -> dict[str, float]:
    """The last value of every metric of a run."""
    return dict(mlflow.MlflowClient().get_run(run_id).data.metrics)
