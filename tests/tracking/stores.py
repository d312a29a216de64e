"""A real store that goes away, and what stands in it."""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np

from pipeline import tracking
from pipeline.tracking.run import Run

IMAGE = np.full((8, 8, 3), 7, np.uint8)
STEPS = range(5)


@contextlib.contextmanager
def away(store: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(store, timeout=60)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


def until(asked: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not asked():
        assert time.monotonic() < end
        time.sleep(0.02)


def write(run: Run, step: int) -> None:
    run.metrics({"loss": step / 2, "error": 1.0}, step)
    run.image(IMAGE, "samples", step)


def points(run_id: str, key: str = "loss") -> list[tuple[int, float]]:
    history = mlflow.MlflowClient().get_metric_history(run_id, key)
    return [(point.step, point.value) for point in sorted(history, key=lambda p: p.timestamp)]


def status(run_id: str) -> str:
    return str(mlflow.MlflowClient().get_run(run_id).info.status)


def text(run_id: str, path: str, folder: Path) -> str:
    return tracking.fetch(run_id, path, folder).read_text()
