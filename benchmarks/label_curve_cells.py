"""Cells of scikit-learn's methods, for `benchmarks.label_curve_backtest --cells`: minutes on a CPU.

    python -m benchmarks.label_curve_cells --csv cells.csv [--mnist <folder>] [--seeds 10]

Five methods on the bundled digits (10 to 800 labels, 797 test images) and, with --mnist, on 12,000
of MNIST's training images (20 to 5,000 labels, 3,000 test images of these, 40 principal components,
which need no label). Every seed draws its test images and an order of the others that takes the
classes in turn; the labels of a count are the first in that order, so counts are nested.
"""

import argparse
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

from experiments.curve.table import ERROR, METHOD, N_LABELS, N_TEST, SEED
from pipeline import data
from pipeline.command_line import guarded

SPREAD_OVER, SPREAD_UP_TO = 3000, 1000  # images of the graph, labels from which it says no more


def methods(seed: int) -> dict[str, Any]:
    """The classifiers that learn from labels alone."""
    return {
        "svm": SVC(C=10),
        "logistic": LogisticRegression(max_iter=300),
        "nearest": KNeighborsClassifier(1),
        "trees": ExtraTreesClassifier(100, random_state=seed),
    }


def data_sets(mnist: Path | None) -> Iterator[tuple[str, Any, Any, tuple[int, ...], int]]:
    """Name, features [n, d], labels [n], label counts, number of test images."""
    images, labels = load_digits(return_X_y=True)
    yield "digits", images / 16, labels, (10, 20, 50, 100, 200, 400, 800), 797
    if mnist:
        dataset = data.load("mnist", mnist)
        some = np.arange(12_000)
        pixels = dataset.train_images[some].reshape(len(some), -1) / 255
        features = PCA(40, random_state=0).fit_transform(pixels)
        counts = (20, 50, 100, 200, 500, 1000, 2000, 5000)
        yield "mnist", features, dataset.train_labels.read(some, "benchmark"), counts, 3000


def in_turn(labels: Any, places: Any) -> Any:
    """The places in an order that takes the classes in turn, as long as each lasts."""
    rank = pd.Series(labels[places]).groupby(labels[places]).cumcount().to_numpy()
    return places[np.lexsort((labels[places], rank))]


def cells(mnist: Path | None, seeds: range) -> Iterator[dict[str, Any]]:
    """One row a training, with the columns of `experiments/curve/table.py` and `dataset`."""
    for name, features, labels, counts, n_test in data_sets(mnist):
        for seed in seeds:
            drawn = np.random.default_rng(seed).permutation(len(labels))
            test, order = drawn[:n_test], in_turn(labels, drawn[n_test:])
            for n in counts:
                known = order[:n]
                fitted = {
                    method: model.fit(features[known], labels[known])
                    for method, model in methods(seed).items()
                }
                if n <= SPREAD_UP_TO:
                    pool = order[:SPREAD_OVER]
                    partly = np.where(np.arange(len(pool)) < n, labels[pool], -1)
                    spread = LabelSpreading(kernel="knn", n_neighbors=7, alpha=0.2)
                    fitted["label_spreading"] = spread.fit(features[pool], partly)
                for method, model in fitted.items():
                    error = 1 - model.score(features[test], labels[test])
                    row = {METHOD: method, N_LABELS: n, SEED: seed, ERROR: error}
                    yield row | {N_TEST: n_test, "dataset": name}
            print(f"{name}, seed {seed}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--mnist", type=Path, help="folder with MNIST's files")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first_seed", type=int, default=0)
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    warnings.simplefilter("ignore")  # a graph with few labels, a regression that has not converged
    pd.DataFrame(cells(given.mnist, seeds)).to_csv(given.csv, index=False)


if __name__ == "__main__":
    sys.exit(guarded(main))
