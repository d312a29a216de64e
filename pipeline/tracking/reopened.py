"""A run that goes on: written again, but nothing twice."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import mlflow
import numpy as np
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.tracking import dead
from pipeline.tracking.faults import NOT_THERE
from pipeline.tracking.run import Run
from pipeline.tracking.sending import images
from pipeline.tracking.store import KIND, REASON, connect, reachable


@dataclass(frozen=True)
class ReopenedRun(Run):
    """A run of an earlier process. What it has logged already is left as it is."""

    points: frozenset[tuple[str, int]] = field(default=frozenset(), repr=False)
    shown: frozenset[tuple[str, int]] = field(default=frozenset(), repr=False)

    def first_step(self, prefix: str) -> int:
        """The first step that no metric of this prefix has."""
        return max((step + 1 for key, step in self.points if key.startswith(prefix)), default=0)

    def metrics(
        self,
        values: Mapping[str, float],
        step: int = 0,
        *,
        model: str = "",
        dataset: tuple[str, str] = ("", ""),
    ) -> None:
        """Log the metrics that the run does not have at this step."""
        new = {key: value for key, value in values.items() if (key, step) not in self.points}
        if new:
            super().metrics(new, step, model=model, dataset=dataset)

    def image(self, image: NDArray[np.uint8], key: str, step: int) -> None:
        """Log an image, unless the run has it."""
        if (key, step) not in self.shown:
            super().image(image, key, step)


def reopen(client: mlflow.MlflowClient, run_id: str, parent: Run | None) -> Run:
    """Take a run up that has ended or was left RUNNING; this process writes it from now on."""
    found = client.get_run(run_id)
    # First: a command that begins now ends whatever is RUNNING with the sign of a dead process.
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in dead.sign().items()])
    client.update_run(run_id, status="RUNNING")
    if REASON in found.data.tags:
        client.delete_tag(run_id, REASON)
    points = {
        (key, point.step)
        for key in found.data.metrics
        for point in client.get_metric_history(run_id, key)
    }
    return ReopenedRun(
        run_id, found.info.experiment_id, client, parent, frozenset(points), images(client, run_id)
    )


@dataclass(frozen=True)
class Ended:
    """What is known of a run that may be gone on with."""

    kind: str
    parent: str  # id of its parent run, or ""
    status: str
    tags: Mapping[str, str]
    alive: bool  # its process is still there, on this machine


@reachable()
def ended(run_id: str, key: str) -> Ended:
    """Look at a run; `key` is what gave its id, for messages.

    Raises:
        UserError: there is no such run, it was deleted, or it is none of ours.
    """
    try:
        run = connect().get_run(run_id)
    except MlflowException as error:
        if error.error_code not in NOT_THERE:
            raise
        raise UserError(
            f"{key} = {run_id!r}: there is no such run in {mlflow.get_tracking_uri()}; the MLflow "
            "UI and the end of every run show the ids."
        ) from None
    tags = run.data.tags
    if run.info.lifecycle_stage != "active":
        raise UserError(f"{key} = {run_id!r}: that run was deleted; restore it in the MLflow UI.")
    if KIND not in tags:
        raise UserError(f"{key} = {run_id!r}: that run was not made by ssgan.")
    alive = run.info.status == "RUNNING" and dead.lives(run)
    return Ended(tags[KIND], tags.get(dead.PARENT, ""), run.info.status, tags, alive)


@reachable()
def child_to_go_on_with(run: Run, kind: str) -> tuple[str, bool]:
    """Id of the newest child of a kind, "" without one, and whether it has finished."""
    if not isinstance(run, ReopenedRun):  # a new run has none
        return "", False
    query = f"tags.`{dead.PARENT}` = '{run.id}' and tags.`{KIND}` = '{kind}'"
    found = run.client.search_runs([run.experiment_id], query, max_results=1)
    return (found[0].info.run_id, found[0].info.status == "FINISHED") if found else ("", False)
