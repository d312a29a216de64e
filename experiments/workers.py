"""N workers: processes of this machine, or tasks of a Ray cluster. The only importer of ray."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import connection
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol

from pipeline.command_line import guarded
from pipeline.errors import RunFailure, UserError

ROOT = Path(__file__).resolve().parent.parent
DEATHS = 3  # of workers in a row that came to no trial: something is wrong with all of them
GRACE = 60.0  # seconds in which an interrupted worker closes its run

Work = Callable[[], int]  # returns the number of trials done


class Pool(Protocol):
    """Keeps workers at work."""

    def tend(self, waiting: int) -> None:
        """Bury those that have ended, and start as many as `waiting` trials have use for."""

    def stop(self) -> None:
        """End all workers; they give their trials back."""


class Local:
    """Processes of this machine, started by spawn: TensorFlow does not survive a fork."""

    def __init__(self, work: Work, count: int) -> None:
        """Up to `count` processes that each call `work` once."""
        self.work, self.count = work, count
        self.context = multiprocessing.get_context("spawn")
        self.alive: list[Any] = []
        self.deaths = 0

    def tend(self, waiting: int) -> None:
        """See `Pool.tend`.

        Raises:
            RunFailure: workers end by themselves without doing anything.
        """
        for process in [process for process in self.alive if not process.is_alive()]:
            self.alive.remove(process)
            self.deaths = self.deaths + 1 if process.exitcode and process.exitcode > 0 else 0
        if self.deaths >= DEATHS:
            raise RunFailure(
                f"{DEATHS} workers in a row could not begin; see what they said above."
            )
        for _ in range(min(self.count - len(self.alive), waiting)):
            process = self.context.Process(target=_in_process, args=(self.work,), daemon=False)
            # Ctrl-C reaches the whole group: one that is still being imported lets it wait.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                process.start()
                self.alive.append(process)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def stop(self) -> None:
        """See `Pool.stop`."""
        for process in self.alive:
            process.terminate()
        for process in self.alive:
            process.join(GRACE)
            process.kill()
        self.alive.clear()


class Ray:
    """Tasks of the Ray cluster that RAY_ADDRESS names, each with the CPUs and GPUs of a trial."""

    def __init__(self, work: Work, cpus: int, gpus: float) -> None:
        """As many tasks as the cluster has room for; the code travels with them.

        Raises:
            UserError: Ray is not installed, or the cluster does not answer.
        """
        try:
            import ray
        except ImportError:
            raise UserError(
                "workers = ray: Ray is not installed; pip install 'ssgan[ray]'."
            ) from None
        self.ray, self.cpus, self.gpus = ray, cpus, gpus
        if not ray.is_initialized():
            packed = ("pipeline", "experiments", "configs")
            kept = [f"!/{name}/**" for name in packed]
            environment = {
                "working_dir": str(ROOT),
                "excludes": ["/*", *(f"!/{name}" for name in packed), *kept],
                "env_vars": {
                    k: v for k, v in os.environ.items() if k.startswith(("MLFLOW_", "SSGAN_"))
                },
            }
            try:
                ray.init(
                    address=os.environ.get("RAY_ADDRESS"),
                    runtime_env=environment,
                    logging_level="ERROR",
                    log_to_driver=False,
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise UserError(
                    f"workers = ray: no cluster at RAY_ADDRESS = {os.environ.get('RAY_ADDRESS')} "
                    f"({str(error).splitlines()[0]})."
                ) from None
        options = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 0}
        self.task = ray.remote(**options)(_in_task)
        self.work, self.deaths = work, 0
        self.alive: list[Any] = []

    def tend(self, waiting: int) -> None:
        """See `Pool.tend`; a task that no node has room for yet waits in Ray's queue.

        Raises:
            RunFailure: tasks end by themselves without doing anything.
        """
        ended, self.alive = (
            self.ray.wait(self.alive, num_returns=len(self.alive), timeout=0)
            if self.alive
            else ([], [])
        )
        for task in ended:
            try:
                self.ray.get(task)
                self.deaths = 0
            except self.ray.exceptions.WorkerCrashedError:
                self.deaths = 0  # killed: its trial runs again
            except self.ray.exceptions.RayError as error:
                self.deaths += 1
                if self.deaths >= DEATHS:
                    reason = str(error).strip().splitlines()[-1]
                    raise RunFailure(f"{DEATHS} Ray tasks in a row failed: {reason}") from None
        for _ in range(min(self._room() - len(self.alive), waiting)):
            self.alive.append(self.task.remote(self.work))

    def stop(self) -> None:
        """See `Pool.stop`."""
        for task in self.alive:
            self.ray.cancel(task, force=False)
        self.ray.wait(
            self.alive, num_returns=len(self.alive), timeout=GRACE
        ) if self.alive else None
        for task in self.alive:
            self.ray.cancel(task, force=True)
        self.alive.clear()

    def _room(self) -> int:
        there = self.ray.cluster_resources()
        rooms = [there.get("CPU", 0.0) // self.cpus]
        rooms += [there.get("GPU", 0.0) // self.gpus] if self.gpus else []
        return max(1, int(min(rooms)))


def _in_process(work: Work) -> NoReturn:
    """A worker process's life: quiet, ended by the first signal, and by its parent's end."""
    os.environ["TTY_COMPATIBLE"] = "0"  # the training's progress bars would overwrite each other
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()

    def run() -> None:
        with contextlib.suppress(KeyboardInterrupt):  # its parent says so
            for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(sign, _once)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            work()

    os._exit(guarded(run))  # an interrupted TensorFlow may take long to wind down


def _in_task(work: Work) -> int:
    os.environ["TTY_COMPATIBLE"] = "0"
    return work()


def _follow(sentinel: int) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)  # a destructor may have swallowed the interrupt
    os.kill(os.getpid(), signal.SIGKILL)


def _once(signum: int, frame: FrameType | None) -> NoReturn:
    """Interrupt; what closes the run and gives the trial back is not interrupted again."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, _unheard)  # SIG_IGN would be complained of if one waits already
    raise KeyboardInterrupt


def _unheard(signum: int, frame: FrameType | None) -> None:
    """Do nothing."""
