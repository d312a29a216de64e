"""What commands do with a store of many runs, and a search with many trials, beside few.

    python -m benchmarks.growth --runs 5000 --trials 2000

A run is written as a curve's cells are, and copied in the store's tables. Each line is the median
of `rounds` calls; the sweeps that a process does once are done anew in each. A trial is claimed,
sampled and ended as a worker does it, with a made-up error in place of a training.
"""

import argparse
import contextlib
import os
import sqlite3
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from optuna.trial import TrialState
from rich.console import Console
from rich.table import Table

from experiments import plan as plans
from experiments.search import Study, open_storage
from experiments.search.lead import Lead
from pipeline import tracking
from pipeline.tracking import dead, launched

EXPERIMENT, CURVE, FEW = "grown", "digits-curve", 10
TABLES = ("tags", "params", "metrics", "latest_metrics")  # that hold rows of a run


def filled(folder: Path, runs: int) -> str:
    """A store with so many finished cells; the digest of the last."""
    file = folder / "mlflow.db"
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{file}"
    digest = uuid.uuid4().hex
    tags = {tracking.CURVE: CURVE, tracking.CELL: "ssgan 50 0", tracking.CELL_DIGEST: digest}
    with tracking.open_run("cell", experiment=EXPERIMENT, name="a cell", tags=tags) as run:
        run.params({f"key_{i}": i for i in range(12)})
        for step in range(0, 1000, 100):
            run.metrics({"train/loss": 1.0, "valid/error": 0.1}, step)
        run.metrics({f"test/measure_{i}": 0.5 for i in range(30)})
    with contextlib.closing(sqlite3.connect(file)) as database:
        columns = {
            name: [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
            for name in ("runs", *TABLES)
        }
        for _ in range(runs - 1):
            copied(database, columns, run.id)
        database.commit()
    return digest


def copied(database: sqlite3.Connection, columns: dict[str, list[str]], run_id: str) -> None:
    """Copy a run and all its rows, under another id and as another cell."""
    new, digest = uuid.uuid4().hex, uuid.uuid4().hex
    for table, names in columns.items():
        chosen = ", ".join("?" if name == "run_uuid" else name for name in names)
        query = f"INSERT INTO {table} ({', '.join(names)}) SELECT {chosen} FROM {table}"
        database.execute(f"{query} WHERE run_uuid = ?", (new, run_id))
    database.execute(
        "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = ?",
        (digest, new, tracking.CELL_DIGEST),
    )


def opened() -> None:
    """Open a run and end it, as the first of a process."""
    launched.sweep.cache_clear()
    dead.sweep.cache_clear()
    with tracking.open_run("pipeline", experiment=EXPERIMENT, name="one more"):
        pass


def seconds(call: Callable[[], object], rounds: int) -> float:
    """Median of so many calls."""
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def measured(folder: Path, runs: int, rounds: int) -> dict[str, float]:
    """Seconds of each thing that commands do."""
    digest = filled(folder, runs)
    return {
        "a command's first run is opened and ended": seconds(opened, rounds),
        "a curve looks at all its cells": seconds(
            lambda: tracking.cells(EXPERIMENT, CURVE), rounds
        ),
        "a worker asks whether a cell is done": seconds(
            lambda: tracking.cells(EXPERIMENT, CURVE, digest), rounds
        ),
        "a curve ends lost cells": seconds(lambda: tracking.end_lost(EXPERIMENT, CURVE), rounds),
        "a report takes runs by a filter": seconds(
            lambda: tracking.chosen("metrics.`test/measure_0` < 1", EXPERIMENT), rounds
        ),
    }


def searched(folder: Path, trials: int, rounds: int) -> dict[str, float]:
    """Seconds of each thing that a search does with its journal, when so many trials have ended."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    plan = plans.read({"study": "grown", "trials": str(trials + rounds)})
    place, random = str(folder / "journal.log"), np.random.default_rng(0)

    def joined() -> Study:
        return Study.open(plan, open_storage(place), "data")

    study = joined()
    study.fill()

    def claimed() -> None:
        claim = study.claim()
        assert claim is not None
        error, labels = float(random.uniform(0.05, 0.5)), int(random.integers(100, 500))
        claim.finish(TrialState.COMPLETE, [error, labels], n_labels=labels)

    for _ in range(trials):
        claimed()
    return {
        "a worker claims, samples and ends a trial": seconds(claimed, rounds),
        "the one that leads looks for missing trials": seconds(study.fill, rounds),
        "somebody asks who leads": seconds(Lead(study).held, rounds),
        "a worker or a command opens the study": seconds(joined, rounds),
    }


def main(runs: int, trials: int, rounds: int) -> int:
    """Print the seconds of the small and the large ones, and their ratio."""
    for count, title, measure in (
        (runs, "an SQLite store grows: runs", measured),
        (trials, "a study's journal grows: trials", searched),
    ):
        if count > FEW:
            compared(count, rounds, title, measure)
    return 0


def compared(
    count: int, rounds: int, title: str, measure: Callable[[Path, int, int], dict[str, float]]
) -> None:
    """Print a table of what is measured with few and with `count`."""
    table = Table("", f"{FEW}", f"{count:,}", "ratio", title=title)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        few = measure(Path(one), FEW, rounds)
        many = measure(Path(other), count, rounds)
    for what, before in few.items():
        now = many[what]
        table.add_row(what, f"{before:.3f} s", f"{now:.3f} s", f"{now / before:.1f}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5000, help="0: not measured")
    parser.add_argument("--trials", type=int, default=2000, help="0: not measured")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    sys.exit(main(given.runs, given.trials, given.rounds))
