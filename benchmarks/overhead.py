"""Where the seconds of a default run go, from the command to its end.

    python -m benchmarks.overhead [--rounds 3] [--set key=value …]

Runs `mlflow run . --env-manager local -P label_frac=0.1` in this folder, with a store of its own
in a temporary folder: once unmeasured (it makes the store and fills the file cache), then `rounds`
times. Prints medians of each part, and what lies outside training and evaluation. The parts come
from the run's own `time/…` metrics and from its start and end as MLflow recorded them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlflow import MlflowClient
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
INSIDE = ("training: steps", "training: tracing", "evaluation")


def measure(uri: str, keys: list[str]) -> dict[str, float]:
    """Seconds of each part of one run, in the order they happen."""
    given = [part for key in ["label_frac=0.1", *keys] for part in ("-P", key)]
    command = [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", *given]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    begin = time.time()
    done = subprocess.run(
        command,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, "PATH": path},
        capture_output=True,
        check=False,
        text=True,
    )
    end = time.time()
    if done.returncode:
        raise SystemExit(f"the run failed:\n{done.stderr}")
    client = MlflowClient(uri)
    runs = client.search_runs(["0"], order_by=["attributes.start_time DESC"], max_results=2)
    runs = [run for run in runs if run.info.start_time / 1000 >= begin]  # not the round before
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    arms = [run.data.metrics for run in runs]
    started, ended = parent.info.start_time / 1000, parent.info.end_time / 1000

    def both(key: str) -> float:
        return sum(arm[key] for arm in arms)

    loop, trace, evaluate = both("time/loop_s"), both("time/trace_s"), both("time/evaluate_s")
    split, total = parent.data.metrics["time/split_s"], parent.data.metrics["time/total_s"]
    around = both("time/start_s") + both("time/train_s") - loop
    return {
        "mlflow's launcher, until the run exists": started - begin,
        "second Python, imports without TensorFlow": ended - started - total,
        "split": split,
        "TensorFlow's import, building networks": around,
        "training: tracing": trace,
        "training: steps": loop - trace,
        "evaluation": evaluate,
        "logging: models, figures, images, metrics": total - split - around - loop - evaluate,
        "launcher's end": end - ended,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        measure(uri, options.set)
        rounds = [measure(uri, options.set) for _ in range(options.rounds)]
    medians = {part: statistics.median(one[part] for one in rounds) for part in rounds[0]}
    walls = [sum(one.values()) for one in rounds]
    table = Table(title=f"a default digits run, medians of {options.rounds}")
    table.add_column("part")
    table.add_column("seconds", justify="right")
    for part, seconds in medians.items():
        table.add_row(part, f"{seconds:.1f}")
    table.add_section()
    outside = [sum(s for part, s in one.items() if part not in INSIDE) for one in rounds]
    table.add_row("outside training and evaluation", f"{statistics.median(outside):.1f}")
    table.add_row("wall, from the command to its end", f"{statistics.median(walls):.1f}")
    Console().print(table)
    print("wall of every round:", " ".join(f"{wall:.1f}" for wall in walls))


if __name__ == "__main__":
    main()
