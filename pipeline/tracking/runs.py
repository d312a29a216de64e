"""Opens runs and ends them; see `run` for what is written in between."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import mlflow

from pipeline.errors import RunFailure, Stopped, UserError, advice
from pipeline.interrupts import heard, undisturbed
from pipeline.tracking import dead, launched, reopened, views
from pipeline.tracking.experiments import (
    attach,
    attached_run,
    experiment_id,
    keep_killed,
    rename,
)
from pipeline.tracking.run import Run
from pipeline.tracking.store import FAULTS, KIND, REASON, REASON_LENGTH, connect, reachable


@contextmanager
def open_run(
    kind: str,
    *,
    experiment: str | None,
    name: str,
    keep_name: bool = False,
    parent: Run | None = None,
    tags: Mapping[str, str] | None = None,
    earlier: str = "",
) -> Iterator[Run]:
    """Open a run and end it: FINISHED, FAILED with its reason, or KILLED on Ctrl-C and SIGTERM.

    Args:
        kind: the tag `ssgan.kind`.
        experiment: the experiment's name, made if it is not there; None is the environment's.
        name: the run's name.
        keep_name: leave a name that the user gave to `mlflow run`.
        parent: makes this its child. Without one, goes on with the run `mlflow run` has made.
        tags: more tags.
        earlier: id of a run to go on with, instead of a new one; it keeps its name.

    Raises:
        UserError: the store cannot be reached or written, or MLFLOW_RUN_ID names a run that
            cannot be begun.
    """
    run = None
    try:
        with undisturbed():
            tags = {KIND: kind, **(tags or {})}
            run = (
                _go_on(earlier, parent, tags)
                if earlier
                else _create(experiment, name, keep_name, parent, tags)
            )
        yield run
    except BaseException as error:
        if run is not None:
            _end(run, error)
        raise
    _end(run, None)


def _create(
    experiment: str | None,
    name: str,
    keep_name: bool,
    parent: Run | None,
    more_tags: Mapping[str, str],
) -> Run:
    run_id = attached_run() if parent is None else None
    with reachable():
        client = parent.client if parent else connect()
        if parent is None:
            launched.sweep(mlflow.get_tracking_uri(), run_id)
            dead.sweep(mlflow.get_tracking_uri())
        if run_id:
            info = attach(client, run_id)
            if keep_name:
                rename(client, run_id, name)
            else:
                client.update_run(run_id, name=name)
            run = Run(run_id, info.experiment_id, client)
            run.tags({**more_tags, **dead.sign()})
            views.offer(client, run.experiment_id)
            return run
        tags = {"mlflow.parentRunId": parent.id} if parent else {}
        tags |= mlflow.tracking.context.registry.resolve_tags() | more_tags | dead.sign()
        place = parent.experiment_id if parent else experiment_id(client, experiment)
        if parent is None:
            views.offer(client, place)
        created = client.create_run(place, run_name=name, tags=tags)
        return Run(created.info.run_id, place, client, parent)


@reachable()
def _go_on(run_id: str, parent: Run | None, more_tags: Mapping[str, str]) -> Run:
    client = parent.client if parent else connect()
    run = reopened.reopen(client, run_id, parent)
    run.tags({**more_tags, **dead.sign()})
    if parent is None:
        launched.sweep(mlflow.get_tracking_uri(), attached_run())
        dead.sweep(mlflow.get_tracking_uri(), run_id)
    return run


@undisturbed()
def _end(run: Run, error: BaseException | None) -> None:
    """Set the final status; Ctrl-C meanwhile cannot leave the run open."""
    stopped = isinstance(error, Stopped)
    interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
    interrupted = interrupted or (error is not None and not stopped and heard())
    killed = interrupted or stopped
    try:
        if error is not None:
            reason = "interrupted" if interrupted else str(error) or type(error).__name__
            reason = "; ".join([reason[:REASON_LENGTH], *advice(error)])
            run.tags({REASON: reason})
        status = "FINISHED" if error is None else "KILLED" if killed else "FAILED"
        run.client.set_terminated(run.id, status)
        if killed and run.id == attached_run():
            keep_killed(run.id)
    except (UserError, *FAULTS) as failure:
        if error is None:
            raise RunFailure(f"the run could not be closed: {failure}") from None
