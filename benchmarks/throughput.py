"""Training throughput: ours, the same method in plain PyTorch, and the machine's GEMM rate.

    python -m benchmarks.throughput [--torch_python PYTHON]
                                    [--methods feature_matching,ssgan,relativistic_gan]
                                    [--rounds 5] [--steps 100] [--threads N]
                                    [--variants eager,tuned,compiled] [--data_dir FOLDER]
                                    [--set key=value …]

`ssgan` is its classifier, `relativistic_gan` its generator: a step of both networks of R3GAN.
Ours and every PyTorch variant (see `benchmarks.twins`) are processes of their own that load the
data once, warm up, and are then measured in turns: in each round every one runs `--steps` steps
and the float32 product of 2048² matrices is timed by TensorFlow and by PyTorch, while all others
wait. Rates are medians over the rounds, ratios are of medians. Images a second are the pool's, as
in training's reports; of `relativistic_gan` they are generated ones. CPU time is of all threads: on
a machine that others use too, it says more than the clock.

"needed" FLOPs are the algorithm's (`benchmarks.flops`) and the same for every arm; PyTorch's own
counter says what the twin executes, second passes of generated images included. The share
of the ceiling is the needed FLOPs a second over the faster of the two GEMMs.

`--torch_python` is a Python that has torch (2.13 was used); it needs nothing of ours. Without it
this Python is used if it has torch, else ours is measured alone. Pixels are random unless
`--data_dir` names a folder with MNIST's IDX files: speed does not depend on them.
"""

import argparse
import importlib.util
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import ceiling
from benchmarks.turns import Worker, WorkerFailure
from pipeline import data
from pipeline.config import layers as configuration
from pipeline.config.schema import Config

GEMMS = 10  # products a turn


class Twin(NamedTuple):
    """What a file of `benchmarks.twins` is compared with."""

    method: str
    flags: Mapping[str, str] = {}
    phase: str = "step"


# By file. Without a warm-up `ssgan`'s pseudo-labels are the teacher's.
TWINS = {
    "feature_matching": Twin("feature_matching"),
    "ssgan": Twin("ssgan", {"warm_up_share": "0", "generator": "false"}),
    "relativistic_gan": Twin("ssgan", {"warm_up_share": "0"}, "generate"),
}
HOW_TO_GET_TORCH = (
    "PyTorch is not here: ours and the ceiling alone. To compare, python3 -m venv torch_venv && "
    "torch_venv/bin/pip install torch==2.13.0 numpy, then --torch_python torch_venv/bin/python."
)

BUSY = (
    "The machine is busy (load {:.1f}): with several threads PyTorch suffers more from that than "
    "TensorFlow, so ratios are not to be quoted; --threads 1 and CPU time are steadier."
)


def resolved(method: str, threads: int | None, keys: Mapping[str, str]) -> Config:
    """The method's default MNIST configuration at 100 labels; `keys` as on the command line."""
    flags = {"method": method, "dataset": "mnist", "label_frac": "0.00167", **keys}
    return configuration.load({**flags, "threads": str(threads or "none")})


def synthetic(
    shape: tuple[int, int, int] = (28, 28, 1),
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """60,000 images of random pixels, uint8 [n, h, w, c], and labels of the first 100."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (60_000, *shape), dtype=np.uint8), np.arange(100) % 10


def mnist(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The training images, 10 of each class first, and the labels of these 100."""
    dataset = data.load("mnist", folder)
    labels = dataset.train_labels.read(np.arange(len(dataset.train_images)), "benchmark")
    first = np.concatenate([np.flatnonzero(labels == k)[:10] for k in range(10)])
    order = np.concatenate([first, np.setdiff1d(np.arange(len(labels)), first)])
    return dataset.train_images[order], labels[first]


def measure(
    workers: Mapping[str, Worker], rounds: int, steps: int, images_per_step: int
) -> pd.DataFrame:
    """Run all workers in turns; one row for every arm, GEMMs last.

    Returns:
        DataFrame by arm of medians, of one step or product, `seconds` and `cpu_seconds` (of all
        threads), `images_per_second`, and `low`, `high`: slowest and fastest round over median.
    """
    arms = [name for name in workers if name != "ceiling"]
    turns = [(name, workers[name], "steps", steps) for name in arms]
    turns += [
        (f"GEMM {name}", workers[name], "gemm", GEMMS)
        for name in ("ceiling", "eager")
        if name in workers
    ]
    rows = []
    for _ in range(rounds):
        for arm, worker, program, count in turns:
            took = worker.run(program, count)
            rows.append((arm, took.seconds / count, took.cpu_seconds / count))
    every = pd.DataFrame(rows, columns=["arm", "seconds", "cpu_seconds"]).groupby("arm", sort=False)
    frame = every.median()
    return frame.assign(
        images_per_second=images_per_step / frame["seconds"],
        low=frame["seconds"] / every["seconds"].max(),
        high=frame["seconds"] / every["seconds"].min(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch_python")
    parser.add_argument("--methods", default=",".join(TWINS))
    parser.add_argument("--variants", default="eager,tuned,compiled")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--data_dir", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="keys")
    options = parser.parse_args()
    if unknown := set(options.methods.split(",")) - set(TWINS):
        parser.error(f"--methods: {', '.join(unknown)} has no twin; choose of {', '.join(TWINS)}")
    console = Console()
    console.width = max(console.width, 110)  # the table's, on a narrow terminal too
    if (load := os.getloadavg()[0]) > 0.5:
        console.print(BUSY.format(load), soft_wrap=True)
    torch_python = options.torch_python
    if torch_python is None and importlib.util.find_spec("torch"):
        torch_python = sys.executable
    if torch_python is None:
        console.print(HOW_TO_GET_TORCH, soft_wrap=True)
    images, labels = mnist(options.data_dir) if options.data_dir else synthetic()
    keys = dict(pair.split("=", 1) for pair in options.keys)
    for name in options.methods.split(","):
        twin = TWINS[name]
        config = resolved(twin.method, options.threads, {**keys, **twin.flags})
        drawn = twin.phase == "generate"
        images_per_step = (
            config.own["generated_batch_size"] if drawn else config.unlabelled_batch_size
        )
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            np.save(f"{folder}/images.npy", images)
            np.save(f"{folder}/labels.npy", labels)
            order = {"images": f"{folder}/images.npy", "labels": f"{folder}/labels.npy"}
            order |= {"twin": name, "phase": twin.phase}
            commands = {
                "ours": [sys.executable, "-m", "benchmarks.ours"],
                "ceiling": [sys.executable, "-m", "benchmarks.ceiling"],
            }
            if torch_python:
                # The tuned variants are compared with the idiomatic one, which cannot be missing.
                variants = dict.fromkeys(["eager", *options.variants.split(",")])
                commands |= {key: [torch_python, "-m", "benchmarks.twins"] for key in variants}
            workers = _started(commands, order, config, stack, console)
            rates = measure(workers, options.rounds, options.steps, images_per_step)
            about = {arm: worker.about for arm, worker in workers.items()}
        _show(console, rates, about, f"{name}: {options.rounds} rounds of {options.steps} steps")


def _started(
    commands: Mapping[str, Sequence[str]],
    order: Mapping[str, Any],
    config: Config,
    stack: ExitStack,
    console: Console,
) -> dict[str, Worker]:
    """The workers that start; a variant of PyTorch that cannot run here is said and left out."""
    workers = {}
    for name, command in commands.items():
        try:
            workers[name] = Worker(command, {**order, "config": config.flat(), "variant": name})
        except WorkerFailure as failure:
            if name in ("ours", "ceiling", "eager"):
                sys.exit(f"{name}: {failure}")
            console.print(f"{name} left out: {str(failure).splitlines()[-1]}", markup=False)
        else:
            stack.callback(workers[name].close)
    return workers


def _show(
    console: Console, rates: pd.DataFrame, about: Mapping[str, Mapping[str, Any]], title: str
) -> None:
    ours = about["ours"]
    labels = {"ours": "ours (TensorFlow)", "GEMM ceiling": "GEMM, TensorFlow"}
    labels["GEMM eager"] = "GEMM, PyTorch"
    gemms = rates.index.str.startswith("GEMM")
    peak = ceiling.FLOPS / rates.loc[gemms, "seconds"].min() / 1e9
    table = Table(title=title)
    headings = ("images/s", "steps/s", "ms", "spread", "CPU ms", "ours ÷ it", "GFLOP/s", "of GEMM")
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for arm, row in rates.iterrows():
        gemm = str(arm).startswith("GEMM")
        rate = (ceiling.FLOPS if gemm else ours["flops"]) / row["seconds"] / 1e9
        table.add_row(
            labels.get(str(arm), f"PyTorch {arm}"),
            "" if gemm else f"{row['images_per_second']:,.0f}",
            "" if gemm else f"{1 / row['seconds']:.1f}",
            f"{row['seconds'] * 1e3:.2f}",
            f"{row['low'] - 1:+.0%} {row['high'] - 1:+.0%}",
            f"{row['cpu_seconds'] * 1e3:.1f}",
            "" if gemm or arm == "ours" else f"{row['seconds'] / rates.at['ours', 'seconds']:.2f}",
            f"{rate:.0f}",
            f"{rate / peak:.0%}",
        )
    console.print(table)
    twins = [about[name] for name in about if name != "ours" and "flops" in about[name]]
    says = f"FLOPs a step: {ours['flops'] / 1e9:.3f} billion needed"
    if twins:
        says += f", {twins[0]['flops'] / 1e9:.3f} billion executed by PyTorch {twins[0]['torch']}"
    console.print(f"{says}. GFLOP/s are the needed ones.", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
