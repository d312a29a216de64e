"""What a run tells its store: kept on this disk first, sent by a thread, waited for at the end.

Training never waits for the store. While it is away, records wait in their spool; they are sent in
order when it is back. What is left when the process ends is sent by `python -m pipeline sync`.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow

from pipeline import interrupts, progress
from pipeline.errors import RunFailure
from pipeline.masking import masked, masked_addresses
from pipeline.tracking.dead import SYNC
from pipeline.tracking.faults import StoreAway, is_too_large, passes, told
from pipeline.tracking.sending import Delivery
from pipeline.tracking.spool import END, Spool
from pipeline.tracking.store import PAUSES, begun, store_name

LAST_WAIT = 120.0  # seconds to wait, at a run's end, for a store that is away
SILENCE = 180.0  # more, for a store that neither answers nor fails
HURRIED = 3.0  # the same after Ctrl-C, and for a store that answers
LOOK = 0.05  # seconds between two looks

# Of runs of this process that have ended and whose records wait: what is said, whether refused.
_unsent: list[tuple[str, bool]] = []


class Outbox:
    """The records of a run and of its children, on their way."""

    def __init__(self, run_id: str, experiment_id: str, client: mlflow.MlflowClient) -> None:
        """Start to send.

        Raises:
            RunFailure: no disk takes the records.
        """
        self.run_id, self.uri = run_id, mlflow.get_tracking_uri()
        self.spool = Spool.make(run_id, experiment_id, masked_addresses(store_name()))
        self.delivery = Delivery(client, experiment_id, self.spool)
        self._putting, self._changed = threading.Lock(), threading.Condition()
        self._waiting: deque[int] = deque()
        self._away: Exception | None = None  # why the store does not take the first record
        self._since: float | None = None  # when that was first so
        self._refused: Exception | None = None
        self._told_away = self._told_wait = self._closing = False
        self._moved = time.monotonic()  # when the store last took a record
        begun()
        self._sender = threading.Thread(target=self._work, daemon=True, name="outbox")
        self._sender.start()

    def put(
        self,
        kind: str,
        run: str,
        write: Callable[[Path], object] | None = None,
        **fields: Any,
    ) -> None:
        """Keep a record, to be sent.

        Raises:
            RunFailure: the store has refused an earlier one, or no disk takes it.
        """
        self._tell()
        if kind != END:  # how a run has ended is kept whatever was refused
            self._refuse()
        # In order; the sender goes on meanwhile. What lies on disk is in the queue, too.
        with interrupts.undisturbed(), self._putting:
            number = self.spool.put(kind, run, fields, write)
            with self._changed:
                self._waiting.append(number)
                self._changed.notify_all()

    def _refuse(self) -> None:
        """Take nothing more once the store has refused something."""
        if self._refused is not None:
            raise RunFailure(str(told(self._refused, self.uri)))

    @property
    def away(self) -> bool:
        """Whether the store does not answer."""
        return self._away is not None

    def sent(self, patience: float = LAST_WAIT) -> bool:
        """Wait until everything is sent; False if the store stays away or refuses something.

        patience: seconds to wait while the store is away, from now or from when it went.
        """
        begin = time.monotonic()
        while self._waiting and self._refused is None and self._sender.is_alive():
            self._tell()
            now = time.monotonic()
            if now - max(begin, self._moved) > patience + SILENCE:
                return False
            if self._since is not None and now - max(begin, self._since) > patience:
                return False
            if interrupts.heard() and now - begin > HURRIED:
                return False
            if self._away and patience > HURRIED:
                self._tell_wait(patience)
            time.sleep(LOOK)
        self._tell()
        return not self._waiting

    def close(self, patience: float = LAST_WAIT) -> bool:
        """Send what is left, and end; whether nothing is left."""
        all_sent = self.sent(HURRIED if interrupts.heard() else patience)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if not all_sent:
            for_good = self._refused is not None or is_too_large(self._away)
            _unsent.append((self._left(), for_good))
        self._sender.join(HURRIED if all_sent else LOOK)  # it gives the spool up
        return all_sent

    def _left(self) -> str:
        why = self._refused or self._away
        said = told(why, self.uri) if why else f"the MLflow store {self.uri} has not answered yet."
        return masked(
            f"not all records of run {self.run_id} are sent: {said} Nothing is lost: "
            f"{len(self._waiting)} lie in {self.spool.folder}; send them with: {SYNC}"
        )

    def _tell(self) -> None:
        """Say once that the store is away, and once that it is back."""
        away = self._away
        if away and not self._told_away:
            progress.note(
                f"{told(away, self.uri)} Meanwhile the work goes on, its records lie in "
                f"{self.spool.folder}."
            )
            self._told_away = True
        elif not away and self._told_away:
            progress.note("the MLflow store is back; what had waited is sent")
            self._told_away = False

    def _tell_wait(self, patience: float) -> None:
        """Say once that the end waits for the store."""
        if not self._told_wait:
            progress.note(
                f"waiting up to {patience:.0f} s for the MLflow store; Ctrl-C ends the "
                f"wait, and the records stay for {SYNC}"
            )
            self._told_wait = True

    def _work(self) -> None:
        """Send until the run is closed, then let others have what is left."""
        self._send()
        with self._changed:
            while not self._closing:  # something was refused
                self._changed.wait()
        self.spool.close()

    def _send(self) -> None:
        """Send record after record."""
        attempt, pause = 1, PAUSES[0]
        while (number := self._next()) is not None:
            try:
                self.delivery.send(self.spool.entry(number), attempt > 1)
                self.spool.sent(number)
            except Exception as error:
                attempt += 1
                if not passes(error, attempt, self.spool.holds_files(number)):
                    self._refused = error
                    return
                self._away, self._since = error, self._since or time.monotonic()
                self._rest(pause)
                pause = min(2 * pause, PAUSES[1])
            else:
                attempt, pause = 1, PAUSES[0]
                self._away = self._since = None
                self._moved = time.monotonic()
                with self._changed:
                    self._waiting.popleft()

    def _next(self) -> int | None:
        """The number of the first record, waited for; None at the end."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            return self._waiting[0] if self._waiting and not self._closing else None

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        with self._changed:
            while not self._closing and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)


def unsent() -> str:
    """What of the runs that this process has ended is not sent, in a sentence, once; or ""."""
    left = "; ".join(said for said, _ in _unsent)
    _unsent.clear()
    return left


def check_sent() -> None:
    """See that the store has all that the runs of this process have told.

    Raises:
        StoreAway: it has not; the runs' records wait in their spools.
        RunFailure: the same, and it refuses one of them, which no waiting mends.
    """
    refused = any(of_one for _, of_one in _unsent)
    if left := unsent():
        raise RunFailure(left) if refused else StoreAway(left)
