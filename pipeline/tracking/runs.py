"""Opens runs and ends them; see `run` for what is written in between."""

import contextlib
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import mlflow

from pipeline.errors import RunFailure, Stopped, advice
from pipeline.interrupts import ending_a_wait, heard, undisturbed
from pipeline.masking import masked
from pipeline.tracking import dead, launched, outbox, reopened, sync, views
from pipeline.tracking.experiments import (
    attach,
    attached_run,
    experiment_id,
    keep_killed,
    rename,
)
from pipeline.tracking.faults import FAULTS, passes, told
from pipeline.tracking.outbox import LAST_WAIT
from pipeline.tracking.run import Run, now
from pipeline.tracking.spool import END
from pipeline.tracking.store import KIND, REASON_LENGTH, connect, patiently, reachable, tell

# Seconds after which MLflow 3.17.2 is likely to have asked a server twice for one run by itself.
SLOW = 0.5


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
    patience: float | None = None,
) -> Iterator[Run]:
    """Open a run and end it: FINISHED, FAILED with its reason, or KILLED on Ctrl-C and SIGTERM.

    A store that is away as the run ends keeps its records waiting: see `outbox.unsent`.

    Args:
        kind: the tag `ssgan.kind`.
        experiment: the experiment's name, made if it is not there; None is the environment's.
        name: the run's name.
        keep_name: leave a name that the user gave to `mlflow run`.
        parent: makes this its child, also while the store is away. Without one, goes on with the
            run `mlflow run` has made.
        tags: more tags.
        earlier: id of a run to go on with, instead of a new one; it keeps its name.
        patience: seconds to wait for a store that is away, at the beginning and at the end. By
            default it must be there at the beginning, and is waited for two minutes at the end.

    Raises:
        StoreAway: the store does not answer; a child is begun without it.
        UserError: the store cannot be written, or MLFLOW_RUN_ID names a run that cannot be begun.
    """
    run = None
    try:
        with undisturbed():
            tags = {KIND: kind, **(tags or {})}
            if earlier:
                run = _go_on(earlier, parent, tags)
            elif parent:
                run = _child(parent, name, tags)
            else:
                opening = _Opening(experiment, name, keep_name, tags)
                run = patiently(opening.attempt, patience or 0.0)
        yield run
    except BaseException as error:
        if run is not None:
            # What has ended the run is told, whatever else goes wrong.
            with contextlib.suppress(RunFailure):
                _end(run, error, patience)
        raise
    _end(run, None, patience)


@dataclass
class _Opening:
    """A run that is to be opened, once, in one attempt or several."""

    experiment: str | None
    name: str
    keep_name: bool
    more_tags: Mapping[str, str]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)  # of this run, in a tag of it
    tried: bool = False  # whether the store may have been told already

    @reachable()
    def attempt(self) -> Run:
        """Open it, or take the run that an attempt whose answer was lost has opened."""
        client, run_id = connect(), attached_run()
        sync.send_left(client)
        launched.sweep(mlflow.get_tracking_uri(), run_id)
        dead.sweep(mlflow.get_tracking_uri())
        if run_id:
            info = attach(client, run_id, {**self.more_tags, **dead.sign()})
            if self.keep_name:
                rename(client, run_id, self.name)
            else:
                client.update_run(run_id, name=self.name)
            views.offer(client, info.experiment_id)
            return Run(run_id, info.experiment_id, client)
        place = experiment_id(client, self.experiment)
        views.offer(client, place)
        made = self._made(client, place) if self.tried else []
        if not made:
            self.tried, begin = True, time.monotonic()
            tags = mlflow.tracking.context.registry.resolve_tags() | self.more_tags
            created = client.create_run(place, run_name=self.name, tags=tags | dead.sign(self.mark))
            made = [created.info.run_id]
            if time.monotonic() - begin > SLOW:
                with contextlib.suppress(*FAULTS):
                    made += [run_id for run_id in self._made(client, place) if run_id != made[0]]
        for double in made[1:]:
            with contextlib.suppress(*FAULTS):
                client.delete_run(double)
        return Run(made[0], place, client)

    def _made(self, client: mlflow.MlflowClient, place: str) -> list[str]:
        """The runs that attempts so far have made."""
        query = f"tags.`{dead.PROCESS}` LIKE '%{self.mark}%'"
        return [run.info.run_id for run in client.search_runs([place], query)]


def _child(parent: Run, name: str, more_tags: Mapping[str, str]) -> Run:
    """A child run; while the store is away its beginning is a record like any other."""
    tags = mlflow.tracking.context.registry.resolve_tags() | more_tags | dead.sign()
    tried = not parent.outbox.away
    if tried:
        try:
            tags_there = {dead.PARENT: parent.id, **tags}
            created = parent.client.create_run(parent.experiment_id, run_name=name, tags=tags_there)
            return Run(created.info.run_id, parent.experiment_id, parent.client, parent)
        except FAULTS as error:
            if not passes(error):
                raise told(error, mlflow.get_tracking_uri()) from None
    begun_here = f"begun-{uuid.uuid4().hex}"
    shown = {key: masked(str(value)) for key, value in tags.items()}
    given: Any = {"parent": parent.id, "name": name, "tags": shown, "begun": now(), "tried": tried}
    parent.outbox.put("child", begun_here, **given)
    return Run(begun_here, parent.experiment_id, parent.client, parent)


def _go_on(run_id: str, parent: Run | None, more_tags: Mapping[str, str]) -> Run:
    if parent is None:
        sync.send_of(run_id)
    with reachable():
        client = parent.client if parent else connect()
        run = reopened.reopen(client, run_id, parent)
        if parent is None:
            launched.sweep(mlflow.get_tracking_uri(), attached_run())
            dead.sweep(mlflow.get_tracking_uri(), run_id)
    run.tags(more_tags)
    return run


def disown(run: Run, reason: str) -> None:
    """Let a run that has ended, but whose records still wait, count for nothing: KILLED.

    What is done again would else be there twice once the store is back.
    """
    spool = run.outbox.spool
    if spool.folder.exists():  # what sends it is at the records before
        fields = {"status": "KILLED", "reason": reason, "time": now()}
        spool.put(END, run.id, fields, None)


@undisturbed()
def _end(run: Run, error: BaseException | None, patience: float | None) -> None:
    """Tell the final status; Ctrl-C meanwhile cannot leave the run open."""
    stopped = isinstance(error, Stopped)
    interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
    interrupted = interrupted or (error is not None and not stopped and heard())
    killed, reason = interrupted or stopped, ""
    if error is not None:
        reason = "interrupted" if interrupted else str(error) or type(error).__name__
        reason = masked("; ".join([reason[:REASON_LENGTH], *advice(error)]))
    status = "FINISHED" if error is None else "KILLED" if killed else "FAILED"
    try:
        run.outbox.put("end", run.id, status=status, reason=reason, time=now())
    finally:
        if run.parent is None:
            # A run of a command of its own has ended well by now: Ctrl-C can end the wait alone.
            done = status == "FINISHED" and patience is None
            with ending_a_wait() if done else contextlib.nullcontext():
                run.outbox.close(LAST_WAIT if patience is None else patience)
            # Of a run that has ended well, the command tells it below its result.
            if (error is not None or heard()) and (left := outbox.unsent()):
                tell(left)
    if killed and run.id == attached_run():
        keep_killed(run.id)
