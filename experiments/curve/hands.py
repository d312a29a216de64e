"""Who trains the cells of a curve: processes of this machine, or tasks of a Ray cluster."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from experiments import workers
from experiments.curve.cell import Job
from experiments.curve.grid import Cell
from experiments.curve.settings import Settings
from experiments.curve.work import work
from pipeline import tracking
from pipeline.tracking import Found

LOST = "its task was lost: killed, out of memory, or its machine went away"


class Hands(Protocol):
    """Trains cells."""

    def tend(self, waiting: Sequence[Cell], running: Mapping[str, Found]) -> None:
        """Bury those that have ended, and start as many as the cells have use for.

        Args:
            waiting: cells that have not ended.
            running: the open runs of some of them, by digest.
        """

    def at_once(self) -> int:
        """How many trainings go on at the same time, as far as can be told."""

    def renew(self, job: Job) -> None:
        """Work on another job from now on."""

    def stop(self) -> None:
        """End all; what they were training is trained again."""


class OfThisMachine:
    """Processes that choose their cells themselves."""

    def __init__(self, job: Job, count: int) -> None:
        """Up to `count` at once."""
        self.count = count
        self.pool = workers.Local(functools.partial(work, job), count)

    def tend(self, waiting: Sequence[Cell], running: Mapping[str, Found]) -> None:
        """See `Hands.tend`."""
        self.pool.tend(sum(cell.digest not in running for cell in waiting), -len(waiting))

    def at_once(self) -> int:
        """See `Hands.at_once`."""
        return self.count

    def renew(self, job: Job) -> None:
        """See `Hands.renew`."""
        self.stop()
        self.pool = workers.Local(functools.partial(work, job), self.count)

    def stop(self) -> None:
        """See `Hands.stop`."""
        self.pool.stop()


class OfACluster:
    """Ray tasks, each of which is given one cell. One command at a time may work on a curve."""

    def __init__(self, job: Job, cpus: int, gpus: float) -> None:
        """Connect to the cluster; see `workers.Ray`."""
        self.job, self.given = job, dict[str, Any]()
        self.suspects: set[str] = set()  # cells whose run is open though their task has ended
        self.pool = workers.Ray(functools.partial(work, job), cpus, gpus)

    def tend(self, waiting: Sequence[Cell], running: Mapping[str, Found]) -> None:
        """See `Hands.tend`; ends the runs of tasks that are lost."""
        self.pool.tend(0)
        idle = [cell for cell in waiting if self.given.get(cell.digest) not in self.pool.alive]
        open_runs = {c.digest for c in idle if c.digest in running and c.digest in self.given}
        for digest in open_runs & self.suspects:  # twice: the first look may have been too early
            tracking.kill(running[digest].id, LOST)
        self.suspects = open_runs
        for cell in idle:
            if cell.digest in running:
                continue
            before = len(self.pool.alive)
            self.pool.work = functools.partial(work, replace(self.job, cells=(cell,)))
            self.pool.tend(1)
            if len(self.pool.alive) == before:  # no room
                return
            self.given[cell.digest] = self.pool.alive[-1]

    def at_once(self) -> int:
        """See `Hands.at_once`: what all nodes have room for now."""
        return max(1, self.pool.room())

    def renew(self, job: Job) -> None:
        """See `Hands.renew`."""
        self.job = job

    def stop(self) -> None:
        """See `Hands.stop`."""
        self.pool.stop()


def of(job: Job, settings: Settings) -> Hands:
    """The hands that a curve's settings ask for.

    Raises:
        UserError: the cluster cannot be used, or does not share what its machines must.
    """
    if settings.workers == "ray":
        workers.require_shared(None, job.cells[0].config.data_dir)
        return OfACluster(job, settings.cpus_per_cell, settings.gpus_per_cell)
    return OfThisMachine(job, settings.workers)
