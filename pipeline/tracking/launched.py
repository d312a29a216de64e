"""Runs that `mlflow run` has left open: it ended before our command began.

Without conda, or with a parameter that it refuses, the launcher goes and its run stays RUNNING.
"""

import contextlib
import functools
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import Run

from pipeline.tracking.store import KIND, REASON, sqlite_file, tell

if TYPE_CHECKING:
    from psutil import Process

PROJECT = Path(__file__).resolve().parents[2]
NEVER_BEGAN = (
    "mlflow run ended before the command began; its output says why. Without conda or uv for the "
    "environment, use --env-manager local in the one that make has made."
)
SLACK = 2.0  # seconds by which clocks may differ
OURS = ("pipeline", "experiments")
# What has a store open and launches nothing.
IDLE = {"mlflow ui", "mlflow server", *(f"-m {module}" for module in OURS)}


@functools.cache
def sweep(uri: str, current: str | None) -> None:
    """End, once a process, the runs of this project whose launcher is gone: FAILED, with a reason.

    A launcher leaves no trace of its process, so a run is left alone while any process that is
    older than it might be its launcher. Only in SQLite stores: those of a server may have their
    launcher on any machine.

    Args:
        uri: the store's.
        current: the run that `mlflow run` has made for this process.
    """
    store = sqlite_file()
    if store is None:
        return
    client = mlflow.MlflowClient()
    everywhere = [e.experiment_id for e in client.search_experiments()]
    query = "tags.`mlflow.source.type` = 'PROJECT' and attributes.status = 'RUNNING'"
    left = [
        run
        for run in client.search_runs(everywhere, query)
        if KIND not in run.data.tags and run.info.run_id != current and _ours(run)
    ]
    ended = 0
    for run in left:
        if not _may_live(run, store):
            client.set_tag(run.info.run_id, REASON, NEVER_BEGAN)
            client.set_terminated(run.info.run_id, "FAILED")
            ended += 1
    if ended:
        runs = "1 run" if ended == 1 else f"{ended} runs"
        tell(f"{runs} that mlflow run had left RUNNING ended as FAILED; the tag {REASON} says why.")


def given_up(run: Run) -> bool:
    """Whether a run was ended by `sweep`: if its launcher lived after all, it may go on."""
    return run.data.tags.get(REASON) == NEVER_BEGAN


def _ours(run: Run) -> bool:
    """Whether this user launched this project."""
    where, _, inside = run.data.tags.get("mlflow.source.name", "/").partition("#")
    folder = Path(where.removeprefix("file://"), inside)  # of a git repository, and in it
    user = mlflow.tracking.context.registry.resolve_tags().get("mlflow.user")
    return run.data.tags.get("mlflow.user") == user and folder.resolve() == PROJECT


def _may_live(run: Run, store: Path) -> bool:
    """Whether a process of this machine could be the run's launcher, or is its command.

    A launcher is older than its run and keeps the store's file open.
    """
    import psutil

    begun, file = run.info.start_time / 1000 + SLACK, str(store.resolve())
    for process in psutil.process_iter(["create_time"]):
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error):  # it has ended, or is another user's
            if process.environ().get("MLFLOW_RUN_ID") == run.info.run_id:
                return True
            older = process.info["create_time"] < begun
            holds = older and file in [opened.path for opened in process.open_files()]
            # `mlflow run`, or a script that calls mlflow.projects.run.
            if holds and not IDLE & {_command(p) for p in [process, *process.parents()]}:
                return True
    return False


def _command(process: "Process") -> str:
    """What a process runs: a command of mlflow, a module of ours, or "" for anything else."""
    words = [Path(word).name for word in process.cmdline()]
    for word, following in itertools.pairwise(words[:4]):
        if word == "mlflow" or (word == "-m" and following in OURS):
            return f"{word} {following}"
    return ""
