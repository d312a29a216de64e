"""What a worker does: claim a cell, train it; again, until none is left.

A cell is claimed by a lock on a file, which the system takes back when the process ends, however
it ends. So two commands on one machine share the cells of a curve and train none twice.
"""

import contextlib
import hashlib
from collections.abc import Generator, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from experiments import trial
from experiments.curve import cell as cells
from experiments.curve.cell import Job
from experiments.curve.grid import Cell
from pipeline import interrupts, tracking
from pipeline.tracking import Found

LOST = 2  # times that a cell's process may be lost in one command: killed, or out of memory


class State(NamedTuple):
    """What has become of the cells of a curve, by their digests."""

    finished: dict[str, Found]
    failed: dict[str, Found]  # in this command, and not finished: they are not tried again
    running: dict[str, Found]
    ended: Sequence[Found]  # the cells of this command that have ended, in that order

    def open(self, wanted: Sequence[Cell]) -> list[Cell]:
        """The cells that are still to be trained."""
        over = {*self.finished, *self.failed}
        return [cell for cell in wanted if cell.digest not in over]


def state(found: Sequence[Found], command: str) -> State:
    """Sort the runs of a curve's cells."""
    by_status: dict[str, dict[str, Found]] = {"FINISHED": {}, "RUNNING": {}}
    failed: dict[str, Found] = {}
    lost: dict[str, int] = {}
    for run in found:
        digest = run.tags.get(tracking.CELL_DIGEST, "")
        if run.status in by_status:
            by_status[run.status].setdefault(digest, run)
        elif run.tags.get(tracking.COMMAND) == command:
            lost[digest] = lost.get(digest, 0) + (run.status == "KILLED")
            if run.status == "FAILED" or lost[digest] >= LOST:
                failed[digest] = run
    finished, running = by_status["FINISHED"], by_status["RUNNING"]
    failed = {digest: run for digest, run in failed.items() if digest not in finished}
    own = [run for run in found if run.ended and run.tags.get(tracking.COMMAND) == command]
    return State(finished, failed, running, sorted(own, key=lambda run: run.ended or 0))


def work(job: Job) -> int:
    """Train cells until none is free or the process is to be renewed; returns how many."""
    trial.detach()
    done = 0
    with contextlib.closing(_free(job)) as free:
        for cell in free:
            interrupts.heed()
            if _still_open(cell, job):
                _attempt(cell, job)
                done += 1
            if done >= job.cells_per_process:
                break
    return done


def _free(job: Job) -> Generator[Cell]:
    """Cells that no other process trains, each locked until the next one is asked for.

    First those of a method and a seed that nobody else works on: a warm-up without labels then
    serves all of its label counts. Then whatever is left.
    """
    for (method, seed), of_group in groupby(job.cells, lambda cell: (cell.method, cell.seed)):
        with _held(_lock(job, f"{method} {seed}")) as ours:
            for cell in of_group if ours else ():
                yield from _locked(job, cell)
    for cell in job.cells:
        yield from _locked(job, cell)


def _locked(job: Job, cell: Cell) -> Iterator[Cell]:
    with _held(_lock(job, cell.digest)) as ours:
        if ours:
            yield cell


@contextlib.contextmanager
def _held(lock: FileLock) -> Iterator[bool]:
    """Hold a lock during the block; False if another process has it."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def alone(job: Job) -> FileLock:
    """The lock of a curve's summary run: one command at a time makes it and writes to it."""
    return _lock(job, "summary")


def folder(job: Job) -> Path:
    """Where the locks of a curve lie: for every command on this machine and this store the same."""
    said = f"{tracking.store_name()} {job.experiment}"
    name = hashlib.sha256(said.encode()).hexdigest()[:16]
    return Path.home() / ".cache" / "ssgan" / "curves" / name


def _lock(job: Job, name: str) -> FileLock:
    there = folder(job)
    there.mkdir(parents=True, exist_ok=True)
    return FileLock(there / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.lock")


def _still_open(cell: Cell, job: Job) -> bool:
    found = tracking.patiently(lambda: tracking.cells(job.experiment, job.curve, cell.digest))
    return bool(state(found, job.command).open([cell]))


def _attempt(cell: Cell, job: Job) -> None:
    """Train a cell; a failure belongs to its run, and the curve goes on."""
    begun = False

    def began() -> None:
        nonlocal begun
        begun = True

    try:
        cells.perform(cell, job, began)
    except Exception:
        interrupts.heed()
        if not begun:  # nothing would tell it
            raise
