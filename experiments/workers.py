"""N workers: processes of this machine, or tasks of a Ray cluster. The only importer of ray."""

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn, Protocol

from experiments import trial
from pipeline import interrupts, life, progress
from pipeline.command_line import EXIT_INTERRUPTED, guarded
from pipeline.errors import RunFailure, UserError

ROOT = Path(__file__).resolve().parent.parent
CODE = ("pipeline", "experiments", "configs")  # what travels to a cluster
ANSWER = 10.0  # seconds for a cluster to answer
DEATHS = 3  # of workers in a row that came to no trial: something is wrong with all of them
KILLS = 10  # of workers in a row, from outside, before they came to a trial
GRACE = 60.0  # seconds in which an interrupted worker closes its run

Work = Callable[[], int]  # returns the number of trials done


class Pool(Protocol):
    """Keeps workers at work."""

    def tend(self, waiting: int, ended: int = 0) -> None:
        """Bury those that have ended, and start as many as `waiting` trials have use for.

        ended: how many trials have, or any number that rises with them.
        """

    def stop(self) -> None:
        """End all workers; they give their trials back."""


class Deaths:
    """Workers in a row that have ended badly, while nobody got any further."""

    def __init__(self) -> None:
        """None yet."""
        self.count, self.steps, self.far = 0, 0, 0

    def look(self, far: int) -> None:
        """See from how far the work is whether anybody got further."""
        if far > self.far:
            self.steps, self.count = self.steps + 1, 0
        self.far = far

    def add(self, steps: int, most: int) -> bool:
        """Count a worker that was started when `steps` was so high; whether `most` are reached."""
        self.count += self.steps == steps
        return self.count >= most


class Local:
    """Processes of this machine, started by spawn: TensorFlow does not survive a fork."""

    def __init__(self, work: Work, count: int) -> None:
        """Up to `count` processes that each call `work` once."""
        self.work, self.count = work, count
        self.alive: list[BaseProcess] = []
        # Who is killed may begin the next trial well; who gives one back has to end one.
        self.killed, self.failed = Deaths(), Deaths()
        self.begun = dict[BaseProcess, tuple[int, int]]()

    def tend(self, waiting: int, ended: int = 0) -> None:
        """See `Pool.tend`.

        Raises:
            RunFailure: workers end without doing anything, by themselves or killed.
        """
        self.killed.look(-waiting)
        self.failed.look(ended)
        for process in [process for process in self.alive if not process.is_alive()]:
            self.alive.remove(process)
            (killed, failed), code = self.begun.pop(process), process.exitcode or 0
            if code > 0 and code != EXIT_INTERRUPTED and self.failed.add(failed, DEATHS):
                raise RunFailure(
                    f"{DEATHS} workers in a row could not do their work; see what they said above."
                )
            if code < 0 and self.killed.add(killed, KILLS):
                raise RunFailure(
                    f"{self.killed.count} workers in a row were killed before they began "
                    f"({signal.Signals(-code).name}); is there enough memory, and does anybody "
                    "end them?"
                )
        for _ in range(min(self.count - len(self.alive), waiting)):
            self.alive.append(start(self.work))
            self.begun[self.alive[-1]] = self.killed.steps, self.failed.steps

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
        """Connect; the code travels to the cluster, its nodes need nothing but the libraries.

        Raises:
            UserError: Ray is not installed, or the cluster does not answer.
        """
        try:
            import ray
        except ImportError:
            raise UserError(
                "workers = ray: Ray is not installed; uv pip install -r requirements-ray.txt."
            ) from None
        _connect(ray)
        self.ray, self.work, self.cpus, self.gpus = ray, work, cpus, gpus
        # A process takes its number of threads and GPUs once, so every task has one of its own.
        self.task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=1)(_in_task)
        self.alive: list[Any] = []
        self.deaths = 0
        if not self.room():
            progress.warn(
                f"workers = ray: no node has {cpus} CPUs and {gpus:g} GPUs; waiting for one."
            )

    def tend(self, waiting: int, ended: int = 0) -> None:
        """See `Pool.tend`.

        One task more than there is room for waits in Ray's queue: it makes a cluster that can grow
        do so, and is the next when a task ends.

        Raises:
            RunFailure: tasks end by themselves without doing anything.
        """
        for task in self._ended():
            self.alive.remove(task)
            self._bury(task)
        for _ in range(min(self.room() + 1 - len(self.alive), waiting)):
            self.alive.append(self.task.remote(self.work))

    def stop(self) -> None:
        """See `Pool.stop`; leaves the cluster."""
        try:
            with contextlib.suppress(self.ray.exceptions.RayError):
                for task in self.alive:
                    self.ray.cancel(task, force=False)
                self._ended(GRACE)
        finally:
            self.alive.clear()
            self.ray.shutdown()  # ends what is left

    def _ended(self, timeout: float = 0.0) -> list[Any]:
        if not self.alive:
            return []
        ended, _ = self.ray.wait(self.alive, num_returns=len(self.alive), timeout=timeout)
        return list(ended)

    def _bury(self, task: Any) -> None:
        errors = self.ray.exceptions
        try:
            self.ray.get(task)
            self.deaths = 0
        except (errors.RayTaskError, errors.RuntimeEnvSetupError) as error:
            self.deaths += 1
            if self.deaths >= DEATHS:
                cause = getattr(error, "cause", None) or error
                reason = " ".join(f"{type(cause).__name__}: {cause}".split())[:500]
                raise RunFailure(f"{DEATHS} Ray tasks in a row could not begin: {reason}") from None
        except errors.RayError:
            pass  # killed, by hand or with its node: the trial runs again

    def room(self) -> int:
        """How many trials all nodes can hold at once."""
        room = 0
        for node in self.ray.nodes():
            there = node["Resources"] if node["Alive"] else {}
            rooms = [there.get("CPU", 0.0) // self.cpus]
            rooms += [there.get("GPU", 0.0) // self.gpus] if self.gpus else []
            room += int(min(rooms))
        return room


def require_shared(storage: str | None, data_dir: Path | None) -> None:
    """Check that what the machines of a cluster must share can be shared.

    storage: Optuna's, if there is one.

    Raises:
        UserError: a place that only this machine can reach.
    """
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    if storage is not None and ("://" not in storage or storage.startswith("sqlite")):
        raise UserError(
            f"storage = {storage}: with workers = ray every machine must reach it; give --storage "
            "postgresql+psycopg://… or grpc://host:port."
        )
    if "://" not in store or store.startswith(("sqlite", "file")):
        raise UserError(
            f"MLFLOW_TRACKING_URI = {store or 'not set'}: with workers = ray every machine must "
            "reach the MLflow store; set it to a server's address, http://host:port."
        )
    if data_dir and not data_dir.is_absolute():
        raise UserError(
            f"data_dir = {data_dir}: with workers = ray every machine reads it; give an absolute "
            "path that they all have."
        )


def _connect(ray: Any) -> None:
    address = os.environ.get("RAY_ADDRESS") or "auto"
    ours = signal.getsignal(signal.SIGTERM)
    try:
        if address != "auto":
            host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()
        ray.init(
            address=address,
            runtime_env=_environment(),
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except Exception as error:
        reason = " ".join(str(error).rpartition("Error: ")[2].split())[:300]
        raise UserError(
            f"workers = ray: no cluster at RAY_ADDRESS = {address} ({reason}); start one "
            "(ray start --head) and set RAY_ADDRESS=host:port."
        ) from None
    finally:
        signal.signal(signal.SIGTERM, ours)  # Ray sets its own


def _environment() -> dict[str, Any]:
    """What travels: our code, and the variables that name the MLflow store."""
    left_behind = [f"/{path.name}" for path in ROOT.iterdir() if path.name not in CODE]
    variables = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("MLFLOW_", "SSGAN_")) and name not in trial.ATTACHED
    }
    return {
        "working_dir": str(ROOT),
        "excludes": [*left_behind, "__pycache__"],
        "env_vars": variables,
    }


def start(work: Work) -> BaseProcess:
    """Start a process that calls `work` once, and ends quietly when interrupted or left alone."""
    process = multiprocessing.get_context("spawn").Process(target=_in_process, args=(work,))
    resource_tracker.ensure_running()  # starting it would let signals through again
    # Ctrl-C reaches the whole group: one that is still being imported lets it wait.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return process


def follow_parent() -> None:
    """Let this process end when the one that has started it does, however that ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _in_process(work: Work) -> NoReturn:
    """A worker process's life: ended by the first signal, and by its parent's end."""
    follow_parent()

    def run() -> None:
        with contextlib.suppress(KeyboardInterrupt):  # its parent says so
            interrupts.listen(once=_hush)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            work()

    os._exit(guarded(run))  # an interrupted TensorFlow may take long to wind down


def _in_task(work: Work) -> int:
    """A Ray task's life: it knows its node."""
    import ray

    os.environ[life.NODE] = ray.get_runtime_context().get_node_id()
    signal.signal(signal.SIGINT, interrupts.interrupt)  # what `cancel` gives
    return work()


def _follow(sentinel: int) -> None:
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)  # a destructor may have swallowed the interrupt
    os.kill(os.getpid(), signal.SIGKILL)


def _hush() -> None:
    """Interrupted, TensorFlow's C++ prints where it was."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
