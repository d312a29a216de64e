"""How good ssgan's images by class are, over the number of labels.

    python -m benchmarks.samples_by_labels [--dataset digits] [--labels_per_class 1,2,5,14,all]
                                           [--seed 0] [--set precision=auto]
                                           [--picture docs/images/samples_by_labels.png]

The same generator, trained on the same images with the classes that the classifier of so many
labels gives them; `all` = every true label, the best that labels can do. Prints what a run measures
of its samples (docs/measures.md) with standard errors, and the classifier's test error. The picture
shows a row for each number of labels, images of every class in it, from the same latents.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from pipeline import data, figures
from pipeline.config import layers as configuration
from pipeline.data import Dataset
from pipeline.runs.logged import SCORERS
from pipeline.stages.evaluate import evaluate
from pipeline.stages.split import choose_split
from pipeline.stages.train import Model, train

ALL = "all"
MEASURES = ("read_as_wanted", "coverage", "density", "kid")
COLUMNS = 20  # images in a row of the picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--labels_per_class", default="1,2,5,14,all")
    parser.add_argument("--seed", default="0", help="of the split and of the training")
    parser.add_argument("--threads", default="")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="keys")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    console, table = Console(), Table("labels", "s", "test error", *MEASURES)
    shown, names, real = [], [], {}
    for count in options.labels_per_class.split(","):
        begin = time.perf_counter()
        dataset, model, n_labels = _trained(options, count)
        seconds, metrics = time.perf_counter() - begin, {}
        where = SCORERS.expanduser()
        for found in evaluate(
            dataset, model, n_labels=n_labels, seed=0, scorer_dir=where, title=""
        ):
            metrics |= found.metrics
        numbers = [_number(metrics, name) for name in MEASURES]
        table.add_row(f"{n_labels:,}", f"{seconds:.0f}", f"{metrics['test/error']:.2%}", *numbers)
        console.print(f"{n_labels:,} labels: {', '.join(numbers)}")
        real = {name: metrics.get(f"samples/{name}_real", np.nan) for name in MEASURES}
        if model.generate is not None:
            shown.append(_row(dataset, model))
            names.append(f"{n_labels:,} labels")
    table.add_row("real images", "", "", *(f"{real[name]:.4f}" for name in MEASURES))
    console.print(table)
    if options.picture and shown:
        rows = np.repeat(np.arange(len(shown)), len(shown[0]))
        sheet = figures.class_sheet(np.concatenate(shown), rows, names)
        Image.fromarray(sheet).save(options.picture)


def _trained(options: argparse.Namespace, count: str) -> tuple[Dataset, Model, int]:
    flags = {name: getattr(options, name) for name in ("dataset", "data_dir", "threads", "seed")}
    flags |= {"split_seed": options.seed, "baseline": "false"}
    flags |= dict(pair.split("=", 1) for pair in options.keys)
    flags |= {"label_frac": "1"} if count == ALL else {"labels_per_class": count}
    config = configuration.load(flags)
    dataset = data.of(config)  # anew: it counts who reads its test labels
    config = configuration.settled(config, len(dataset.train_images))
    split = choose_split(config, dataset)
    return dataset, train(dataset, split, config).model, split.n_labels


def _number(metrics: dict[str, float], name: str) -> str:
    error = metrics.get(f"samples/{name}_se")
    value = metrics.get(f"samples/{name}", np.nan)  # of a generator that was lost
    return f"{value:.4f}" + ("" if error is None else f" ± {error:.4f}")


def _row(dataset: Dataset, model: Model) -> np.ndarray:
    """Images of every class, the same latents for every model."""
    classes = len(dataset.class_names)
    wanted = np.repeat(np.arange(min(classes, COLUMNS)), max(1, COLUMNS // classes))
    latents = model.latents.draw(len(wanted), np.random.default_rng(0), wanted)
    return dataset.stretched(model.generate(latents))


if __name__ == "__main__":
    main()
