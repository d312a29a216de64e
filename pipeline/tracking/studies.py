"""Runs of a study: the summary that is opened again, the trials that others have left open."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import mlflow
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException

from pipeline.errors import Stopped, UserError
from pipeline.interrupts import heard, undisturbed
from pipeline.masking import masked
from pipeline.tracking import dead, launched, sync, views
from pipeline.tracking.experiments import attach, attached_run, experiment_id, rename
from pipeline.tracking.faults import NOT_THERE
from pipeline.tracking.run import Run, now
from pipeline.tracking.store import (
    KIND,
    NOTE,
    PATIENCE,
    REASON,
    REASON_LENGTH,
    SOURCE,
    connect,
    reachable,
)

STUDY = "ssgan.study"
CELL = "ssgan.cell"
TRIAL = "ssgan.trial"
OWN = "ssgan.study_id"  # tag: tells a study from one of the same name in another storage
ANOTHER = (
    "{kind} = {name!r}: experiment {experiment!r} of this MLflow store has another {kind} of this "
    "name (run {run}), whose trials lie in another storage; choose another name (--{kind}), use "
    "that storage (--storage), or delete that run in the MLflow UI."
)


def study_run(experiment: str, study: str, searched: Collection[str], own: str = "") -> Run:
    """The one summary run of a study, made or opened again; makes the store and the experiment.

    Args:
        experiment: its name.
        study: its name.
        searched: the keys that the study varies, for the views of the experiment.
        own: what tells the study from one of the same name in another storage, if anything.

    Raises:
        UserError: the store cannot be used, MLFLOW_RUN_ID names a run that cannot be begun, or the
            experiment has a study of this name that lies in another storage.
    """
    return summary_run(experiment, "study", STUDY, study, searched, command="search", own=own)


@reachable()
def is_known(run_id: str) -> bool:
    """Whether the store has a run of this id, deleted or not."""
    try:
        connect().get_run(run_id)
    except MlflowException as error:
        if error.error_code in NOT_THERE:
            return False
        raise
    return True


@reachable()
def summary_run(
    experiment: str,
    kind: str,
    key: str,
    name: str,
    searched: Collection[str] | None = None,
    *,
    command: str,
    own: str = "",
) -> Run:
    """The one run that sums up many, made or opened again; makes the store and the experiment.

    Args:
        experiment: its name.
        kind: of the run, e.g. "study".
        key: the tag that holds the name.
        name: of what is summed up.
        searched: the keys that a study varies, for the views of the experiment.
        command: kind of the run that `mlflow run` has made for the command.
        own: what tells it from another of the same name, if anything.

    Raises:
        UserError: the store cannot be used, MLFLOW_RUN_ID names a run that cannot be begun, or
            there is another of this name.
    """
    client, launcher = connect(), attached_run()
    sync.send_left(client)
    launched.sweep(mlflow.get_tracking_uri(), launcher)
    dead.sweep(mlflow.get_tracking_uri())
    if launcher:
        attach(client, launcher, {KIND: command})
    there = experiment_id(client, experiment)
    views.offer(client, there, searched)
    query = f"tags.`{KIND}` = '{kind}' and tags.`{key}` = '{name}'"
    found = client.search_runs([there], query, max_results=1)
    if found:
        run_id = found[0].info.run_id
        theirs = found[0].data.tags.get(OWN, own)
        if own and theirs != own:
            raise UserError(ANOTHER.format(kind=kind, name=name, experiment=experiment, run=run_id))
        run = Run(run_id, there, client)
        reopen(run)
        return run
    tags = {
        KIND: kind,
        key: name,
        **({OWN: own} if own else {}),
        **mlflow.tracking.context.registry.resolve_tags(),
    }
    created = client.create_run(there, run_name=f"{kind} {name}", tags=tags)
    return Run(created.info.run_id, there, client)


@reachable()
def reopen(run: Run) -> None:
    """Say of a summary run that somebody works on it, whatever an earlier end has said."""
    client = mlflow.MlflowClient()
    client.update_run(run.id, status="RUNNING")
    if REASON in client.get_run(run.id).data.tags:
        client.delete_tag(run.id, REASON)


def end(run: Run, status: str, reason: str = "") -> None:
    """End a run that was opened by `summary_run`."""
    with undisturbed():
        reason = masked(reason)[:REASON_LENGTH]
        run.outbox.put("end", run.id, status=status, reason=reason, time=now())
        run.outbox.close(PATIENCE)


@contextmanager
def closed(run: Run, ours: Callable[[], bool] = lambda: True) -> Iterator[Run]:
    """End a summary run as the block ends: FINISHED, FAILED with its reason, or KILLED.

    ours: False while another process works on what is summed up, and will end the run.
    """
    try:
        yield run
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit | Stopped)
        interrupted = stopped or heard()
        reason = "interrupted; the same command goes on" if interrupted else str(error)
        if ours():
            end(run, "KILLED" if interrupted else "FAILED", reason)
        raise
    if ours():
        end(run, "FINISHED")
    else:
        run.outbox.close(PATIENCE)


@reachable()
def kill_trial(experiment: str, cell: str, number: int, reason: str) -> None:
    """Close what a trial's process has left open, even if it had told nobody of its run yet."""
    client = mlflow.MlflowClient()
    query = f"tags.`{CELL}` = '{cell}' and tags.`{TRIAL}` = '{number}'"
    _kill(client, [experiment_id(client, experiment)], query, reason)


@reachable()
def kill_evaluation(run_id: str, reason: str) -> None:
    """Close an evaluation of a run's models that its process has left open."""
    client = mlflow.MlflowClient()
    there = [client.get_run(run_id).info.experiment_id]
    query = f"tags.`{SOURCE}` = '{run_id}' and tags.`{KIND}` = 'evaluate'"
    _kill(client, there, query, reason)


def _kill(client: mlflow.MlflowClient, there: list[str], query: str, reason: str) -> None:
    for run in client.search_runs(there, f"{query} and attributes.status = 'RUNNING'"):
        client.set_tag(run.info.run_id, REASON, masked(reason)[:REASON_LENGTH])
        client.set_terminated(run.info.run_id, "KILLED")


@reachable()
def describe_attached(kind: str, name: str, note: str) -> None:
    """Say on the run that `mlflow run` has made what it is for; a name of the user's stays."""
    if run_id := attached_run():
        client = mlflow.MlflowClient()
        rename(client, run_id, name)
        client.log_batch(run_id, tags=[RunTag(KIND, kind), RunTag(NOTE, masked(note))])


@reachable()
def evaluation_of(run_id: str) -> dict[str, float] | None:
    """Metrics of the finished evaluation of a run's models, or None."""
    client = mlflow.MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    query = f"tags.`{SOURCE}` = '{run_id}' and tags.`{KIND}` = 'evaluate'"
    found = client.search_runs([experiment], f"{query} and attributes.status = 'FINISHED'")
    return dict(found[0].data.metrics) if found else None
