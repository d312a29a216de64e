"""Runs of a curve: its summary, its cells; and any finished runs that a report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mlflow
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from pipeline.errors import UserError
from pipeline.tracking import dead, sync
from pipeline.tracking.experiments import named, numbered
from pipeline.tracking.faults import FAULTS
from pipeline.tracking.run import Run
from pipeline.tracking.store import KIND, REASON, connect, reachable
from pipeline.tracking.studies import CELL, summary_run

CURVE = "ssgan.curve"  # tag: the name of the curve
CELL_DIGEST = "ssgan.cell_digest"  # tag: what must be equal for two trainings to be one cell
COMMAND = "ssgan.command"  # tag: the command that has begun a cell
CELL_KIND = "cell"
PAGE = 1000  # runs a request


@dataclass(frozen=True)
class Found:
    """A run as the store has it."""

    id: str
    name: str
    status: str  # RUNNING, FINISHED, FAILED or KILLED
    began: float  # seconds since 1970
    ended: float | None
    experiment_id: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


def curve_run(experiment: str, curve: str) -> Run:
    """The one summary run of a curve, made or opened again; makes the store and the experiment.

    Raises:
        UserError: the store cannot be used, or MLFLOW_RUN_ID names a run that cannot be begun.
    """
    run = summary_run(experiment, "curve", CURVE, curve, command="curve_command")
    run.tags(dead.sign())
    return run


def is_anothers(run: Run) -> bool:
    """Whether another command of this machine has opened a summary since, and still works on it.

    False while the store is away.
    """
    try:
        return dead.is_anothers(mlflow.MlflowClient().get_run(run.id))
    except FAULTS:
        return False


@reachable()
def cells(experiment: str, curve: str, digest: str = "") -> list[Found]:
    """Every run of a cell of the curve, the oldest first; `experiment` is its name.

    digest: of one cell, whose runs alone are wanted.
    """
    client = mlflow.MlflowClient()
    query = f"tags.`{CURVE}` = '{curve}' and tags.`{CELL}` LIKE '%'"
    query += f" and tags.`{CELL_DIGEST}` = '{digest}'" if digest else ""
    return _search(client, _there(client, experiment), query)


@reachable()
def end_lost(experiment: str, curve: str) -> None:
    """End the cells that a process of this machine has left RUNNING: KILLED."""
    client = mlflow.MlflowClient()
    sync.send_left(client)
    query = f"tags.`{CURVE}` = '{curve}' and tags.`{CELL}` LIKE '%'"
    query += " and attributes.status = 'RUNNING'"  # not the summary, which this command writes
    dead.end_left(client, client.search_runs(_there(client, experiment), query))


@reachable()
def kill(run_id: str, reason: str) -> None:
    """End a run that its process has left open."""
    client = mlflow.MlflowClient()
    client.set_tag(run_id, REASON, reason)
    client.set_terminated(run_id, "KILLED")


def _there(client: mlflow.MlflowClient, experiment: str) -> list[str]:
    found = client.get_experiment_by_name(experiment)
    if found is None:
        raise UserError(f"experiment = {experiment!r}: it is not in {mlflow.get_tracking_uri()}.")
    return [str(found.experiment_id)]


def chosen(query: str, experiment: str | None) -> list[Found]:
    """The finished runs that a filter of MLflow's chooses, the oldest first.

    Args:
        query: as MLflow's search takes it; "" = all.
        experiment: its name; None is the environment's, or else the default.

    Raises:
        UserError: there is no such experiment, or the filter is none.
    """
    finished = "attributes.status = 'FINISHED'"
    with reachable():
        client = connect()
        name, number = named(experiment)
        found = numbered(client, number) if number else client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            known = [each.name for each in client.search_experiments()]
            raise UserError(
                f"experiment = {number or name!r}: there is no such experiment in "
                f"{mlflow.get_tracking_uri()}; there are: {', '.join(known)}."
            )
        try:
            where = f"{query} and {finished}" if query.strip() else finished
            return _search(client, [found.experiment_id], where)
        except MlflowException as error:
            if error.error_code != "INVALID_PARAMETER_VALUE":
                raise
            reason = str(error.message).splitlines()[0]
            raise UserError(
                f"filter = {query!r}: {reason}; write one as MLflow's search of runs takes it, "
                "such as \"metrics.n_labels < 500 and params.method = 'ssgan'\"."
            ) from None


def _search(client: mlflow.MlflowClient, where: Sequence[str], query: str) -> list[Found]:
    found: list[Found] = []
    token = None
    while True:
        page = client.search_runs(
            list(where), query, max_results=PAGE, order_by=["start_time ASC"], page_token=token
        )
        found += [_found(run) for run in page]
        token = page.token
        if not token:
            return found


def _found(run: MlflowRun) -> Found:
    info, told = run.info, run.data
    ended = info.end_time / 1000 if info.end_time else None
    return Found(
        id=info.run_id,
        name=info.run_name,
        status=info.status,
        began=info.start_time / 1000,
        ended=ended,
        experiment_id=info.experiment_id,
        tags=dict(told.tags),
        params=dict(told.params),
        metrics=dict(told.metrics),
    )


@reachable()
def latest_summary(experiment_id: str, curve: str) -> Run | None:
    """The summary run of a curve if there is one, to be written again."""
    client = mlflow.MlflowClient()
    query = f"tags.`{CURVE}` = '{curve}' and tags.`{KIND}` = 'curve'"
    found = client.search_runs([experiment_id], query, max_results=1)
    return Run(found[0].info.run_id, experiment_id, client) if found else None


@reachable()
def known_summary(experiment: str, curve: str) -> Run | None:
    """The same by the experiment's name; None too if there is no such experiment."""
    found = connect().get_experiment_by_name(experiment)
    return latest_summary(found.experiment_id, curve) if found else None
