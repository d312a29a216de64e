"""Do the generator's images help the classifier? Paired draws, beside equal steps on real images.

    python -m benchmarks.augment_with --set label_frac=0.01 threads=1 [--draws 10]
                                      [--csv draws.csv]

Each draw trains classifier and generator once, then twice the same further steps from there
(`augment_with`): on images that the generator draws (samples), and on real ones with their
pseudo-labels (images). Errors are of training images that no training has read the label of, 10,000
at most. Prints every draw, the mean differences, and their intervals over the draws.
"""

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pipeline import data
from pipeline.config import layers as configuration
from pipeline.config.schema import Config
from pipeline.data import Dataset
from pipeline.methods import Arrays
from pipeline.ops import runtime
from pipeline.stages import train as training
from pipeline.stages.manifest import Split
from pipeline.stages.split import choose_split
from pipeline.training import loop
from pipeline.training import program as programs
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.history import Report
from pipeline.training.program import Program

Classify = Callable[[Any], Any]
ARMS = ("samples", "images")
COLUMNS = ("before", *(name for arm in ARMS for name in (arm, f"{arm} accepted")))
MOST = 10_000  # images that are asked for their class
FEW = 6  # draws below which no interval is told


class GeneratorTrained(Exception):
    """Ends a training where its further steps would begin."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="seed and split_seed of the first")
    parser.add_argument("--csv", type=Path, help="keep the draws here, each as it is made")
    parser.add_argument("--set", nargs="*", default=[], help="configuration: key=value")
    options = parser.parse_args()
    flags = dict(pair.split("=", 1) for pair in options.set)
    rows = []
    for seed in range(options.first, options.first + options.draws):
        rows.append(_draw({**flags, "seed": str(seed), "split_seed": str(seed)}))
        print(f"draw {seed}: " + _told(rows[-1]), flush=True)
        if options.csv:
            pd.DataFrame(rows).to_csv(options.csv, index=False)
    results = pd.DataFrame(rows).dropna()
    print("mean: " + _told(results.mean().to_dict()))
    for other in ("images", "before"):
        print(f"samples - {other}: {_interval(results['samples'] - results[other])}")


def _draw(flags: dict[str, str]) -> dict[str, float]:
    """Errors before the further steps and after those of each kind; NaN if a generator is lost."""
    configs = {arm: _config({**flags, "augment_with": arm}) for arm in ARMS}
    first = configs["samples"]
    runtime.start(first.seed, first.threads, first.deterministic, first.devices)
    dataset = data.of(first)
    split = choose_split(first, dataset)
    configs = {
        arm: training.as_trained(config, len(split.labelled), False)
        for arm, config in configs.items()
    }
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        begun = Path(folder, "begun")
        found["before"] = _begin(dataset, split, configs["samples"], begun)
        for arm in ARMS if begun.exists() else ():
            shutil.copytree(begun, Path(folder, arm))
            error, share = _go_on(dataset, split, configs[arm], Path(folder, arm))
            found |= {arm: error, f"{arm} accepted": share}
    return found if "images" in found else dict.fromkeys(COLUMNS, np.nan)


def _config(flags: dict[str, str]) -> Config:
    config = configuration.load({"baseline": "false", **flags})
    return configuration.settled(config, len(data.of(config).train_images))


def _begin(dataset: Dataset, split: Split, config: Config, folder: Path) -> float:
    """Train classifier and generator and keep a checkpoint of them; the classifier's error."""
    end, found = config.steps + config.own["generator_steps"], [np.nan]

    def on_report(report: Report) -> bool:
        if report.step == end:
            found[0] = _error(dataset, split, config, classify)
            raise GeneratorTrained
        return True

    program, arrays, classify = _prepared(dataset, split, config)
    with contextlib.suppress(GeneratorTrained):
        loop.train(program, arrays, config, on_report, checkpoints=Checkpoints(folder, np.inf))
    programs.release(program)
    return found[0]


def _go_on(dataset: Dataset, split: Split, config: Config, folder: Path) -> tuple[float, float]:
    """Take the further steps from the checkpoint; the classifier's error, the share accepted."""
    program, arrays, classify = _prepared(dataset, split, config)
    kept = Checkpoints(folder, np.inf)
    history = loop.train(program, arrays, config, lambda report: True, checkpoints=kept)
    error = _error(dataset, split, config, classify)
    programs.release(program)
    if history.generator_lost:
        return np.nan, np.nan
    return error, history.reports[-1].metrics["train/accepted_share"]


def _prepared(dataset: Dataset, split: Split, config: Config) -> tuple[Program, Arrays, Classify]:
    labels = dataset.train_labels.read(split.labelled, training.READER)
    program = programs.prepare(config, training.spec_of(dataset, split.pool, labels))
    unknown = np.intersect1d(split.pool, dataset.train_labels.unknown())
    images = dataset.images_to_train_on
    arrays = Arrays(images, split.pool, split.labelled, labels, unknown, dataset.digest)
    return program, arrays, training.batched(program.classify)


def _error(dataset: Dataset, split: Split, config: Config, classify: Classify) -> float:
    """Of images of the pool whose labels were not trained on."""
    known = np.setdiff1d(split.pool, dataset.train_labels.unknown())
    unread = np.setdiff1d(known, split.labelled)
    some = np.random.default_rng(config.seed).permutation(unread)[:MOST]
    some = np.sort(some)
    truth = dataset.train_labels.read(some, "benchmark")
    return float(np.mean(classify(dataset.train_images[some]).argmax(axis=1) != truth))


def _told(draw: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.2%}" for name, value in draw.items())


def _interval(differences: pd.Series) -> str:
    """Mean of paired differences in points, with its 95 % interval (Student's t)."""
    n, mean, told = len(differences), differences.mean(), ""
    if n >= FEW and differences.std() > 0:
        low, high = stats.t.interval(0.95, n - 1, mean, stats.sem(differences))
        told = f" ({100 * low:+.2f} to {100 * high:+.2f}, 95 %)"
    return f"{100 * mean:+.2f} points{told}, {n} draws"


if __name__ == "__main__":
    main()
