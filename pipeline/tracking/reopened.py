"""A run that goes on: written again, but nothing twice."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.tracking import dead
from pipeline.tracking.models import logged_model, register
from pipeline.tracking.run import Run
from pipeline.tracking.store import KIND, NOT_THERE, REASON, connect, reachable

# As MLflow names its files: 3.17.2 with "+", older ones with "%".
IMAGE = re.compile(r"images/(.+)[+%]step[+%](\d+)[+%]timestamp[+%](\d+)[+%]")
FILES = 2  # of an image: itself, and a small one


@dataclass(frozen=True)
class ReopenedRun(Run):
    """A run of an earlier process. What it has logged already is left as it is."""

    points: frozenset[tuple[str, int]] = field(default=frozenset(), repr=False)
    images: frozenset[tuple[str, int]] = field(default=frozenset(), repr=False)

    def metrics(
        self,
        values: Mapping[str, float],
        step: int = 0,
        *,
        model_id: str = "",
        dataset: tuple[str, str] = ("", ""),
    ) -> None:
        """Log the metrics that the run does not have at this step."""
        new = {key: value for key, value in values.items() if (key, step) not in self.points}
        if new:
            super().metrics(new, step, model_id=model_id, dataset=dataset)

    def image(self, image: NDArray[np.uint8], key: str, step: int) -> None:
        """Log an image, unless the run has it."""
        if (key, step) not in self.images:
            super().image(image, key, step)

    def model(self, model: Any, name: str, role: str, *shown: NDArray[Any], **options: Any) -> str:
        """Log a model, unless the run has one of this role that is whole; its id."""
        with reachable():
            there = logged_model(self.client, self.experiment_id, self.id, role)
            if there and (registered := options.get("register_as")):
                register(self.client, self.id, there, registered)
        return there or super().model(model, name, role, *shown, **options)


def reopen(client: mlflow.MlflowClient, run_id: str, parent: Run | None) -> Run:
    """Take a run up that has ended or was left RUNNING; this process writes it from now on."""
    found = client.get_run(run_id)
    client.update_run(run_id, status="RUNNING")
    if REASON in found.data.tags:
        client.delete_tag(run_id, REASON)
    points = {
        (key, point.step)
        for key in found.data.metrics
        for point in client.get_metric_history(run_id, key)
    }
    return ReopenedRun(
        run_id, found.info.experiment_id, client, parent, frozenset(points), _images(client, run_id)
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
    query = f"tags.`{dead.PARENT}` = '{run.id}' and tags.`{KIND}` = '{kind}'"
    found = run.client.search_runs([run.experiment_id], query, max_results=1)
    return (found[0].info.run_id, found[0].info.status == "FINISHED") if found else ("", False)


def _images(client: mlflow.MlflowClient, run_id: str) -> frozenset[tuple[str, int]]:
    """Key and step of the images that are there with all their files."""
    names = [IMAGE.match(file.path) for file in client.list_artifacts(run_id, "images")]
    files = Counter(match.groups() for match in names if match)
    return frozenset((key, int(step)) for (key, step, _), n in files.items() if n >= FILES)
