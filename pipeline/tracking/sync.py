"""The command `sync`: records that a store has not got are sent, in order, nothing twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import mlflow

from pipeline import interrupts, progress
from pipeline.errors import RunFailure, UserError
from pipeline.masking import masked_addresses
from pipeline.tracking import dead, launched
from pipeline.tracking.experiments import attached_run
from pipeline.tracking.faults import StoreAway, passes, told
from pipeline.tracking.sending import Delivery
from pipeline.tracking.spool import GIVE_UP, Spool, folders, held
from pipeline.tracking.store import begun, connect, reachable, store_name, tell

OTHERS = 60.0  # seconds to wait for another process that sends a run's records


@dataclass(frozen=True)
class Sent:
    """What has become of the records that waited."""

    runs: int
    records: int
    busy: int  # runs that a process still writes
    elsewhere: Sequence[str]  # other stores for which records wait

    def __str__(self) -> str:
        """In sentences."""
        runs = "1 run" if self.runs == 1 else f"{self.runs} runs"
        done = f"{self.records} records of {runs} sent." if self.runs else "Nothing waits."
        there = "".join(
            f" Records wait for {store}, too: set MLFLOW_TRACKING_URI to it."
            for store in self.elsewhere
        )
        busy = " A run is still at work, and sends its own." if self.busy else ""
        return done + busy + there


def sync() -> Sent:
    """Send what processes of this machine that are gone have left for this store.

    Raises:
        StoreAway, UserError: the store cannot be used.
        RunFailure: it refuses a record, or a folder is damaged.
    """
    with reachable():
        client = connect()
    begun()
    runs, records, busy, elsewhere, faults = set(), 0, 0, set(), []
    for folder in folders():
        try:
            found = _sent(folder, client)
        except StoreAway:
            raise
        except (RunFailure, UserError) as error:  # the others are not kept waiting
            faults.append(error)
            continue
        busy += found is None
        if isinstance(found, str):
            elsewhere.add(found)
        elif found and found.records:
            runs.add(found.run)
            records += found.records
    with reachable():
        launched.sweep(mlflow.get_tracking_uri(), attached_run())
        dead.sweep(mlflow.get_tracking_uri())
    if faults:
        raise faults[0]
    return Sent(len(runs), records, busy, sorted(elsewhere))


def send_left(client: mlflow.MlflowClient) -> None:
    """Send, as a command begins, what processes that are gone have left for its store.

    What cannot be sent is told on stderr, and keeps waiting.

    Raises:
        StoreAway: the store does not answer.
    """
    for folder in folders():
        try:
            _sent(folder, client)
        except StoreAway:
            raise
        except (RunFailure, UserError) as error:
            tell(f"records of an earlier run are not sent: {error}")


class _Folder(NamedTuple):
    run: str
    records: int


def _sent(folder: Path, client: mlflow.MlflowClient) -> _Folder | str | None:
    """Send a folder's records: how many; or the store that they are for; None if it is in use."""
    with held(folder) as spool:
        if spool is None:
            return None if folder.exists() else _Folder("", 0)
        about = spool.about()
        if about["store"] != _store():
            return about["store"]
        waiting = len(spool.waiting())
        if waiting:
            progress.phase(f"sending {waiting} records of run {about['run']}")
            _send(spool, client, about["experiment"])
        return _Folder(about["run"], waiting)


def send_of(run_id: str, *, needed: bool = True) -> None:
    """Send what earlier processes have left of one run, if anything, and of its children.

    needed: refuse what cannot be sent from here; else it is left.

    Raises:
        As `sync`; and RunFailure: another process goes on sending them, or they are for another
            address of the store.
    """
    for folder in folders():
        if folder.name.startswith(f"{run_id}-"):
            with held(folder, OTHERS if needed else 0.0) as spool:
                if spool is None and folder.exists() and needed:
                    raise RunFailure(
                        f"run {run_id}: another process is still sending what it has told (a "
                        f"command that began just now, or {dead.SYNC}); repeat this afterwards."
                    )
                if spool and spool.waiting():
                    _send_here(spool, run_id, needed)


def _send_here(spool: Spool, run_id: str, needed: bool) -> None:
    about = spool.about()
    if about["store"] != _store():
        if not needed:
            return
        raise RunFailure(
            f"run {run_id}: records of it wait for the store {about['store']}; set "
            f"MLFLOW_TRACKING_URI to that, send them with {dead.SYNC}, then repeat this."
        )
    with reachable():
        client = connect()
    begun()
    _send(spool, client, about["experiment"])


def _send(spool: Spool, client: mlflow.MlflowClient, experiment: str) -> None:
    delivery, uri = Delivery(client, experiment, spool), mlflow.get_tracking_uri()
    for number in spool.waiting():
        interrupts.heed()
        try:
            with interrupts.undisturbed():
                delivery.send(spool.entry(number), again=True)
        except RunFailure:
            raise
        except Exception as error:
            interrupts.heed()
            fault, again = told(error, uri), passes(error, files=spool.holds_files(number))
            if again and isinstance(fault, StoreAway):
                raise fault from None
            advice = "" if again else f" {GIVE_UP}."
            raise RunFailure(f"record {number} of {spool.folder}: {fault}{advice}") from None
        spool.sent(number)


def _store() -> str:
    return masked_addresses(store_name())
