"""Error table: methods × label counts × label draws, with wall and CPU seconds.

    python -m benchmarks.labels --dataset mnist --data_dir <folder> --labels_per_class 10 \
        --arms ssgan:generator=false,fixmatch,supervised --draws 10 --equal_cpu fixmatch \
        --workers 2 --csv labels.csv

An arm is a method, or `method:key=value:key=value`. Draw i has split_seed = seed = first_draw + i,
the same for every arm. No validation labels, no selection: the error is that of the averaged
weights after the last step, on the official test images; with --held_out n on n training images
taken out of training instead, for choosing a recipe without looking at the test set.

The cells of a draw are computed in one process, one after the other, so that those that differ in
labels alone share a warm-up (`pipeline.training.warm_up`): "recalled" is the steps that a cell did
not have to take itself, and its seconds are without them.

With --equal_cpu ARM every arm gets the steps that take the CPU seconds of that arm's steps,
measured on a few steps each beforehand (`ssgan`'s graph comes on top). Each worker is one process
with one thread (or --threads); rows that --csv already has, of the same settings and data, are not
computed again. A training that fails is told, leaves no row, and does not stop the others.
"""

import argparse
import multiprocessing
import re
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from experiments import pace, workers
from pipeline import data
from pipeline.command_line import guarded
from pipeline.config import layers as configuration
from pipeline.config.schema import Config
from pipeline.data import Dataset
from pipeline.data.dataset import build
from pipeline.errors import RunFailure, UserError
from pipeline.ops import runtime
from pipeline.stages.split import choose_split
from pipeline.stages.train import train

HELD_OUT_SEED = 1234
COLUMNS = ["arm", "labels", "draw", "steps", "recalled", "error", "wall_s", "cpu_s", "settings"]


@dataclass(frozen=True)
class Cell:
    """One training of the table."""

    arm: str
    labels_per_class: int
    draw: int
    flags: tuple[tuple[str, str], ...]  # configuration keys and values, as typed
    held_out: int
    n_images: int = 0  # to train on; 0 while they are not loaded

    @property
    def config(self) -> Config:
        """What is trained: the arm's flags over those of the whole table."""
        method, *own = self.arm.split(":")
        flags = dict(self.flags) | {"method": method} | dict(pair.split("=", 1) for pair in own)
        drawn = {"seed": str(self.draw), "split_seed": str(self.draw)}
        counted = {"labels_per_class": str(self.labels_per_class)}
        config = configuration.load(flags | drawn | counted)
        return configuration.settled(config, self.n_images) if self.n_images else config


def load(config: Config, held_out: int) -> Dataset:
    """The data set; with `held_out` training images in place of the test images."""
    whole = data.of(config)
    if not held_out:
        return whole
    everything = np.arange(len(whole.train_labels))
    labels = whole.train_labels.read(everything, "benchmark")
    chosen = np.random.default_rng(HELD_OUT_SEED).permutation(everything)
    test, kept = np.sort(chosen[:held_out]), np.sort(chosen[held_out:])
    return build(
        whole.name,
        f"{held_out} images held out",
        (whole.train_images[kept], labels[kept]),
        (whole.train_images[test], labels[test]),
        whole.class_names,
    )


def measure(cell: Cell) -> dict[str, object]:
    """Train one cell and judge it."""
    config = cell.config
    dataset = load(config, cell.held_out)
    split = choose_split(config, dataset)
    # TensorFlow's import is not an arm's.
    runtime.start(config.seed, config.threads, config.deterministic, config.devices)
    wall, cpu = time.perf_counter(), time.process_time()
    trained = train(dataset, split, config)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    predicted = trained.model.classify(dataset.test_images).argmax(axis=1)
    trained.release()
    truth = dataset.test_labels.read(np.arange(len(predicted)), "evaluate")
    return {
        "arm": cell.arm,
        "labels": split.n_labels,
        "draw": cell.draw,
        "steps": config.steps,
        "recalled": trained.history.recalled_steps,
        "error": float(np.mean(predicted != truth)),
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
    }


def cpu_pace(cell: Cell) -> pace.Pace:
    """CPU seconds of an arm's steps, without tracing."""
    config = cell.config
    dataset = load(config, cell.held_out)
    return pace.measured(dataset, choose_split(config, dataset), config, time.process_time)


def of_steps(cell: Cell, steps: int) -> Cell:
    """The same with another length."""
    return replace(cell, flags=(*cell.flags, ("steps", str(steps))))


def main() -> None:
    """Compute the cells that are not in the table yet, and show the table.

    Raises:
        UserError: an arm, a value or the table's file that cannot be; nothing has been trained.
        RunFailure: some trainings failed; the others are in the table.
    """
    options = _options()
    flags = {"dataset": options.dataset, "threads": str(options.threads), "baseline": "false"}
    flags |= {"data_dir": options.data_dir} if options.data_dir else {}
    flags |= dict(pair.split("=", 1) for pair in options.set)
    arms = re.split(r",(?![^\[]*\])", options.arms)  # but not within a list
    cells = [
        Cell(arm, int(count), draw, tuple(flags.items()), options.held_out)
        for draw in range(options.first_draw, options.first_draw + options.draws)
        for arm in arms
        for count in options.labels_per_class.split(",")
    ]
    _check(cells, options.equal_cpu)
    whole = load(cells[0].config, 0)
    n_images = len(whole.train_images) - options.held_out
    cells = [replace(cell, n_images=n_images) for cell in cells]
    settings, path = _settings(options, flags, whole), Path(options.csv)
    known = _read(path, settings)
    done = set(zip(known["arm"], known["draw"], known["labels"], strict=True))
    per_class = len(whole.class_names)
    waiting = [c for c in cells if (c.arm, c.draw, c.labels_per_class * per_class) not in done]
    context, failed = multiprocessing.get_context("spawn"), 0
    with ExitStack() as stack:
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, context, workers.follow_parent))
            for _ in range(options.workers)
        ]
        stack.push(_end_workers)
        if options.equal_cpu:
            steps = dict(zip(known["arm"], known["steps"], strict=True))
            waiting = _same_cpu(waiting, options.equal_cpu, steps, pools[0])
        for row in _rows(waiting, pools):
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
            if "failed" in row:
                failed += 1
                continue
            frame = pd.DataFrame([{**row, "settings": settings}])[COLUMNS]
            frame.to_csv(path, mode="a", header=not path.exists(), index=False)
    show(_read(path, settings))
    if failed:
        raise RunFailure(f"{failed} of {len(waiting)} trainings failed, see above.")


def _check(cells: list[Cell], equal_cpu: str | None) -> None:
    for cell in cells:
        if equal_cpu and cell.arm != equal_cpu and ":steps=" in cell.arm:
            raise UserError(f"{cell.arm}: --equal_cpu decides its steps; leave steps out.")
        if any("=" not in pair for pair in cell.arm.split(":")[1:]):
            raise UserError(f"{cell.arm}: an arm is method:key=value:key=value.")
        _ = cell.config


def _read(path: Path, settings: str) -> pd.DataFrame:
    """The rows so far that have these settings."""
    if not path.resolve().parent.is_dir():
        raise UserError(f"--csv {path}: there is no such folder.")
    table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=COLUMNS)
    if list(table.columns) != COLUMNS:
        raise UserError(f"--csv {path}: not a table of this command; give another file.")
    return table[table["settings"] == settings]


def _settings(options: argparse.Namespace, flags: Mapping[str, str], dataset: Dataset) -> str:
    """What the rows of one table share."""
    shared = {key: value for key, value in flags.items() if key not in ("data_dir", "baseline")}
    shared |= {"held_out": options.held_out, "equal_cpu": options.equal_cpu}
    shared |= {"digest": dataset.digest}
    return " ".join(f"{key}={value}" for key, value in sorted(shared.items()) if value)


def _end_workers(kind: type[BaseException] | None, *_: object) -> None:
    """What ends the command, ends trainings that nobody waits for."""
    for process in multiprocessing.active_children() if kind else []:
        process.terminate()


def _rows(cells: list[Cell], pools: list[ProcessPoolExecutor]) -> Iterator[dict[str, object]]:
    waiting = {pools[cell.draw % len(pools)].submit(measure, cell): cell for cell in cells}
    for future in as_completed(waiting):
        try:
            yield future.result()
        except RunFailure as failure:
            cell = waiting[future]
            yield {"arm": cell.arm, "draw": cell.draw, "failed": failure}


def _same_cpu(
    cells: list[Cell], reference: str, known: Mapping[str, int], pool: ProcessPoolExecutor
) -> list[Cell]:
    """The cells, each with the steps that take as many CPU seconds as the reference arm's.

    known: steps of arms that have rows already, which they keep.
    """
    one = {cell.arm: cell for cell in cells if cell.arm not in {reference, *known}}
    steps = dict(known)
    if one:
        one[reference] = replace(cells[0], arm=reference)
        price = {arm: pool.submit(cpu_pace, cell) for arm, cell in one.items()}
        config = one[reference].config
        budget = price[reference].result().seconds(config.steps, pace.warm_up_share(config))
        for arm, future in price.items():
            cell, found = one[arm], future.result()
            steps[arm] = found.steps_in(
                budget, lambda n, cell=cell: pace.warm_up_share(of_steps(cell, n).config)
            )
            print(
                f"{arm}: {1000 * found.warm_up:.1f} and {1000 * found.step:.1f} CPU ms a step of "
                f"the warm-up and of the others, {steps[arm]} steps",
                flush=True,
            )
    return [cell if cell.arm == reference else of_steps(cell, steps[cell.arm]) for cell in cells]


def computed(group: pd.DataFrame) -> pd.DataFrame:
    """The rows that have taken all their steps themselves, or all rows if none has."""
    own = group[group["recalled"] == 0]
    return own if len(own) else group


def show(results: pd.DataFrame) -> None:
    """Print medians and every draw; seconds are those of rows that recalled no warm-up, if any."""
    table = Table(title=f"test error, {results['draw'].nunique()} label draws")
    for column in ("labels", "arm", "steps", "median", "worst", "every draw, %", "wall s", "CPU s"):
        table.add_column(column, justify="left" if column in ("arm", "every draw, %") else "right")
    for (labels, arm), group in results.sort_values("draw").groupby(["labels", "arm"]):
        table.add_row(
            str(labels),
            str(arm),
            f"{group['steps'].median():.0f}",
            f"{group['error'].median():.2%}",
            f"{group['error'].max():.2%}",
            " ".join(f"{100 * error:.2f}" for error in group["error"]),
            *(f"{computed(group)[column].median():.0f}" for column in ("wall_s", "cpu_s")),
        )
    Console(width=150).print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data_dir")
    parser.add_argument("--arms", default="ssgan:generator=false,fixmatch,supervised")
    parser.add_argument("--labels_per_class", default="10", help="counts, with commas")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--first_draw", type=int, default=0)
    parser.add_argument("--equal_cpu", metavar="ARM", help="same CPU seconds for every arm")
    parser.add_argument("--held_out", type=int, default=0, help="judge on training images")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--csv", default="labels.csv", help="rows so far; continued if it exists")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(guarded(main, kept="trainings that had ended are in the table, --csv"))
