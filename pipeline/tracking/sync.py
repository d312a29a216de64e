"""The command `sync`: records that a store has not got are sent, in order, nothing twice."""

from collections.abc import Sequence
from dataclasses import dataclass

import mlflow

from pipeline import interrupts, progress
from pipeline.errors import RunFailure
from pipeline.masking import masked_addresses
from pipeline.tracking import dead, launched
from pipeline.tracking.faults import passes, told
from pipeline.tracking.sending import Delivery
from pipeline.tracking.spool import GIVE_UP, Spool, folders, held
from pipeline.tracking.store import begun, connect, reachable


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
    runs, records, busy, elsewhere = set(), 0, 0, set()
    for folder in folders():
        with held(folder) as spool:
            if spool is None:
                busy += 1
                continue
            about = spool.about()
            if about["store"] != _store():
                elsewhere.add(about["store"])
                continue
            if waiting := len(spool.waiting()):
                progress.phase(f"sending {waiting} records of run {about['run']}")
                _send(spool, client, about["experiment"])
                runs.add(about["run"])
                records += waiting
    with reachable():
        launched.sweep(mlflow.get_tracking_uri(), None)
        dead.sweep(mlflow.get_tracking_uri())
    return Sent(len(runs), records, busy, sorted(elsewhere))


def send_of(run_id: str) -> None:
    """Send what earlier processes have left of one run, if anything, and of its children.

    Raises:
        As `sync`.
    """
    for folder in folders():
        if folder.name.startswith(f"{run_id}-"):
            with held(folder) as spool:
                if spool and spool.waiting() and spool.about()["store"] == _store():
                    with reachable():
                        client = connect()
                    _send(spool, client, spool.about()["experiment"])


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
            if passes(error):
                raise told(error, uri) from None
            raise RunFailure(
                f"record {number} of {spool.folder}: {told(error, uri)} {GIVE_UP}."
            ) from None
        spool.sent(number)


def _store() -> str:
    return masked_addresses(mlflow.get_tracking_uri())
