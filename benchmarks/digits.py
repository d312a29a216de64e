"""digits: ssgan against its supervised arm and scikit-learn's methods, on the same splits.

    python -m benchmarks.digits [--splits 5] [--label_frac 0.1] [--methods ssgan,seed_gan]

Prints the test error of every split (split_seed = seed = 0, 1, …) and the medians. LabelSpreading
has 7 neighbours and its default alpha 0.2, as in scikit-learn's own example; it sees every
training image, the RBF SVM (C = 10) only the labelled ones. The same test images judge all.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

from pipeline import config as configuration
from pipeline import data
from pipeline.config import Config
from pipeline.data import Dataset
from pipeline.flow import choose_split
from pipeline.stages.split import Split
from pipeline.stages.train import train

Arm = Callable[[Dataset, Split, Config], np.ndarray]


def label_spreading(dataset: Dataset, split: Split, config: Config) -> np.ndarray:
    """Predicted classes of the test images, from a graph of 7 neighbours over all images."""
    images = _pixels(dataset.train_images[split.pool])
    labels = np.full(len(split.pool), -1)
    labels[np.searchsorted(split.pool, split.labelled)] = _labels(dataset, split)
    model = LabelSpreading(kernel="knn", n_neighbors=7, alpha=0.2).fit(images, labels)
    return model.predict(_pixels(dataset.test_images))


def rbf_svm(dataset: Dataset, split: Split, config: Config) -> np.ndarray:
    """Predicted classes of the test images, from the labelled images alone."""
    model = SVC(C=10).fit(_pixels(dataset.train_images[split.labelled]), _labels(dataset, split))
    return model.predict(_pixels(dataset.test_images))


def ours(dataset: Dataset, split: Split, config: Config) -> np.ndarray:
    """Predicted classes of the test images, from `config.method`."""
    return train(dataset, split, config).model.classify(dataset.test_images).argmax(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--label_frac", default="0.1")
    parser.add_argument("--methods", default="ssgan,supervised")
    options = parser.parse_args()
    arms: dict[str, Arm] = {"LabelSpreading (7-NN)": label_spreading, "RBF SVM": rbf_svm}
    arms |= dict.fromkeys(options.methods.split(","), ours)
    errors: dict[str, list[float]] = {name: [] for name in arms}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for seed in range(options.splits):
        for name, arm in arms.items():
            method = name if arm is ours else "supervised"
            flags = {"method": method, "label_frac": options.label_frac}
            config = configuration.load({**flags, "seed": str(seed), "split_seed": str(seed)})
            dataset = data.load(config.dataset, config.data_dir)
            chosen = choose_split(config, dataset)
            begin = time.perf_counter()
            predicted = arm(dataset, chosen, config)
            seconds[name].append(time.perf_counter() - begin)
            truth = dataset.test_labels.read(np.arange(len(predicted)), "evaluate")
            errors[name].append(float(np.mean(predicted != truth)))
            print(f"split {seed}  {name:24s} {errors[name][-1]:7.2%}", flush=True)
    _show(errors, seconds, chosen.n_labels, len(truth))


def _show(
    errors: dict[str, list[float]], seconds: dict[str, list[float]], n_labels: int, n_test: int
) -> None:
    splits = len(next(iter(errors.values())))
    table = Table(title=f"digits, {n_labels} labels, {splits} splits, {n_test} test images")
    for column in ("arm", "median error", "error of every split, %", "median s"):
        table.add_column(column)
    for name, found in sorted(errors.items(), key=lambda item: statistics.median(item[1])):
        table.add_row(
            name,
            f"{statistics.median(found):.2%}",
            " ".join(f"{100 * error:.2f}" for error in found),
            f"{statistics.median(seconds[name]):.1f}",
        )
    Console().print(table)


def _labels(dataset: Dataset, split: Split) -> np.ndarray:
    return dataset.train_labels.read(split.labelled, "train")


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255


if __name__ == "__main__":
    main()
