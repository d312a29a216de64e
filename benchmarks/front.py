"""Does a search pay? What it recommends against the default rates, on seeds it has not seen.

    python -m benchmarks.front --study studies/mnist-mnist --points 3 --seeds 3 --workers 2

Takes the `best-*.yaml` files of a study, `points` of them spread over the label counts, and trains
each again as it is and with the method's default values of the keys that were searched, on fresh
seeds and fresh label draws (`split_seed`), the same for both. The error is on the test images.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from experiments import workers
from pipeline import data
from pipeline.config import layers as configuration
from pipeline.config.schema import Config
from pipeline.stages.split import choose_split
from pipeline.stages.train import train

FIRST_SEED = 1000  # apart from those of development
SEARCHED = ("discriminator_lr", "generator_lr")


def error(config: Config) -> tuple[int, float]:
    """Labels a training reads, validation labels left out, and its error on the test images."""
    dataset = data.of(config)
    config = configuration.settled(config, len(dataset.train_images))
    split = choose_split(config, dataset)
    trained = train(dataset, split, config)
    predicted = trained.model.classify(dataset.test_images).argmax(axis=1)
    trained.release()
    truth = dataset.test_labels.read(np.arange(len(predicted)), "evaluate")
    return len(split.labelled), float(np.mean(predicted != truth))


def arms(file: Path, keys: list[str], seed: int) -> dict[str, Config]:
    """The file's configuration, and the same with default values of the keys."""
    own = configuration.from_yaml(file.read_text(encoding="utf-8"))
    named = {key: str(own[key]) for key in ("method", "dataset")}
    default = configuration.load(named).flat()
    drawn = {"seed": seed, "split_seed": seed, "threads": 1, "valid_labels": None}
    found = {}
    for name, changed in (("searched", {}), ("default", {key: default[key] for key in keys})):
        kept = {k: v for k, v in {**own, **drawn, **changed}.items() if v is not None}
        found[name] = configuration.load({key: str(value) for key, value in kept.items()})
    return found


def spread(files: list[Path], points: int) -> list[Path]:
    """So many of the files, from the fewest labels to the most."""
    files = sorted(files, key=lambda file: int(file.name.split("-")[1]))
    chosen = np.linspace(0, len(files) - 1, min(points, len(files))).round().astype(int)
    return [files[i] for i in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", type=Path, required=True, help="folder of best-*.yaml files")
    parser.add_argument("--keys", default=",".join(SEARCHED), help="what was searched")
    parser.add_argument("--points", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if not (found := list(options.study.glob("best-*.yaml"))):
        parser.error(f"--study {options.study}: no best-*.yaml there; studies/<study> has them")
    files = spread(found, options.points)
    cells = [
        (file.name, seed, name, config)
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds)
        for file in files
        for name, config in arms(file, options.keys.split(","), seed).items()
    ]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, context, workers.follow_parent) as pool:
        results = list(pool.map(error, [config for *_, config in cells]))
    rows = [
        (file, labels, seed, name, wrong)
        for (file, seed, name, _), (labels, wrong) in zip(cells, results, strict=True)
    ]
    show(pd.DataFrame(rows, columns=["file", "labels", "seed", "arm", "error"]))


def show(results: pd.DataFrame) -> None:
    """Print every seed and the median of both arms at each label count."""
    table = Table(title=f"test error, %, {results['seed'].nunique()} fresh seeds and label draws")
    for column in ("labels", "searched", "default", "median", "searched better in"):
        table.add_column(column, justify="right")
    for labels, group in results.groupby("labels"):
        wide = 100 * group.pivot(index="seed", columns="arm", values="error")
        better = int((wide["searched"] < wide["default"]).sum())
        medians = f"{wide['searched'].median():.2f} / {wide['default'].median():.2f}"
        each = [" ".join(f"{v:.2f}" for v in wide[arm]) for arm in ("searched", "default")]
        table.add_row(str(labels), *each, medians, f"{better} of {len(wide)}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
