"""What a search costs beside its trainings, and what a second worker brings.

    python -m benchmarks.search_speed --scaling [--rounds 3] [--trials 12]
    python -m benchmarks.search_speed --slope 200
    python -m benchmarks.search_speed --against_mlflow_run 20

`--scaling`: the same study of the digits by two workers of one thread, one of one thread and
one of two, in turns. `--slope N`: whether the time around a trial grows with their number, over N
very small trials. `--against_mlflow_run N`: the same N trials as a search with two workers, and one
`mlflow run` each, one after another, with all threads (it also tests each trial's model). Every
study gets a folder, a store and a storage of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from experiments.search import open_storage

ROOT = Path(__file__).resolve().parent.parent
STUDY = "speed"
SPACE = {
    "valid_labels": 100,
    "label_frac": {"low": 0.01, "high": 0.3, "log": True},
    "discriminator_lr": {"low": 3e-4, "high": 1e-2, "log": True},
    "generator_lr": {"low": 3e-4, "high": 1e-2, "log": True},
}
# A training of a few steps of a network of a few units: what is around it is what counts.
TINY = {"method": "feature_matching", "network": "dense", "dense_units": [8]}
TINY |= {"steps": 20, "report_every": 20}
AT_END = 20  # trials at either end of a study whose medians are compared


@dataclass(frozen=True)
class Searched:
    """A finished study."""

    wall: float  # seconds, from the command to its answer
    trials: Sequence[Any]  # Optuna's, all complete

    @property
    def working(self) -> float:
        """Seconds from the first claim to the last trial's end."""
        begin = min(trial.datetime_start for trial in self.trials)
        return float((max(t.datetime_complete for t in self.trials) - begin).total_seconds())

    def seconds(self, key: str) -> list[float]:
        """A time of every trial, in the order in which they ended."""
        ended = sorted(self.trials, key=lambda trial: trial.datetime_complete)
        return [float(trial.user_attrs[key]) for trial in ended]


def search(trials: int, workers: int, threads: int, values: dict[str, Any]) -> Searched:
    """Run a search in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="ssgan-") as folder:
        there = Path(folder)
        (there / "space.yaml").write_text(yaml.safe_dump({**SPACE, **values}))
        flags = {"search": "space.yaml", "study": STUDY, "trials": trials}
        flags |= {"workers": workers, "threads": threads}
        words = [part for key, value in flags.items() for part in (f"--{key}", str(value))]
        wall = timed([sys.executable, "-m", "experiments", "search", *words], there)
        storage = open_storage(str(there / "studies" / "journal.log"))
        found = storage.get_all_trials(storage.get_study_id_from_name(STUDY))
    states = {trial.state.name for trial in found}
    if states != {"COMPLETE"} or len(found) != trials:
        raise SystemExit(f"not {trials} complete trials but {len(found)}: {states}")
    return Searched(wall, found)


def timed(command: Sequence[str], folder: Path) -> float:
    """Seconds of a command in a folder with the store `mlflow.db`."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    kept |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    kept["PATH"] = f"{Path(sys.executable).parent}:{kept['PATH']}"
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=kept, capture_output=True, text=True)  # noqa: PLW1510
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return time.perf_counter() - begin


def scaling(rounds: int, trials: int, values: dict[str, Any]) -> None:
    """Print how long workers and threads take for the same trials, in turns."""
    ways = {"2 workers × 1 thread": (2, 1), "1 worker × 1 thread": (1, 1)}
    ways |= {"1 worker × 2 threads": (1, 2)}
    found: dict[str, list[Searched]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (workers, threads) in ways.items():
            found[name].append(search(trials, workers, threads, values))
    table = Table(title=f"{trials} trials, medians of {rounds} (all rounds)")
    for column in ("", "command to answer, s", "times", "first claim to last end, s", "times"):
        table.add_column(column, justify="right")
    walls = {name: [one.wall for one in searched] for name, searched in found.items()}
    works = {name: [one.working for one in searched] for name, searched in found.items()}
    first = next(iter(ways))
    for name in ways:
        cells = []
        for times in (walls, works):
            ratio = statistics.median(times[name]) / statistics.median(times[first])
            each = " ".join(f"{one:.1f}" for one in times[name])
            cells += [f"{statistics.median(times[name]):.1f} ({each})", f"{ratio:.2f}"]
        table.add_row(name, *cells)
    Console().print(table)


def slope(trials: int, workers: int) -> None:
    """Print the time around a trial, and how it grows with the trials there are."""
    done = search(trials, workers, 1, TINY)
    overhead, training = done.seconds("overhead_s"), done.seconds("training_s")
    rise, start = np.polyfit(np.arange(trials), overhead, 1)
    ends = [statistics.median(part) for part in (overhead[:AT_END], overhead[-AT_END:])]
    print(
        f"{trials} trials by {workers} worker(s): {done.wall:.1f} s, {done.working:.1f} s of them "
        f"from the first claim to the last end; training, median: {statistics.median(training):.3f}"
        f" s\naround the training, median: {statistics.median(overhead):.3f} s; least squares: "
        f"{start:.3f} s + {1000 * rise:+.3f} ms per trial; median of the first {AT_END}: "
        f"{ends[0]:.3f} s, of the last {AT_END}: {ends[1]:.3f} s"
    )


def against_mlflow_run(trials: int, values: dict[str, Any]) -> None:
    """Print what the same trials take as a search and as one `mlflow run` each."""
    done = search(trials, 2, 1, values)
    with tempfile.TemporaryDirectory(prefix="ssgan-") as folder:
        begin = time.perf_counter()
        for trial in done.trials:
            given = {"valid_labels": 100, "baseline": "false", **values}
            given |= trial.params
            words = [part for key, value in given.items() for part in ("-P", f"{key}={value}")]
            command = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local"]
            timed([*command, *words], Path(folder))
        alone = time.perf_counter() - begin
    print(
        f"{trials} trials: search with 2 workers {done.wall:.1f} s, one mlflow run each "
        f"{alone:.1f} s: {alone / done.wall:.2f} times as long"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--scaling", action="store_true")
    what.add_argument("--slope", type=int, metavar="N")
    what.add_argument("--against_mlflow_run", type=int, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, help="of --scaling")
    parser.add_argument("--trials", type=int, default=12, help="of --scaling")
    parser.add_argument("--workers", type=int, default=1, help="of --slope")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    values = {
        key: yaml.safe_load(value) for key, _, value in (s.partition("=") for s in options.set)
    }
    if options.scaling:
        scaling(options.rounds, options.trials, values)
    elif options.slope:
        slope(options.slope, options.workers)
    else:
        against_mlflow_run(options.against_mlflow_run, values)


if __name__ == "__main__":
    main()
