"""digits: error against label count, ours and scikit-learn's methods on the same splits.

    python -m benchmarks.digits [--splits 5] [--label_fracs 0.1] [--methods ssgan,supervised]
                                [--picture docs/images/digits.png]

Prints the test error of every split (split_seed = seed = 0, 1, …) and the medians. LabelSpreading
has 7 neighbours and alpha 0.2, as in scikit-learn's documentation; it sees every training image,
the RBF SVM (C = 10) only the labelled ones. The same test images judge all.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

from pipeline import data
from pipeline.config import layers as configuration
from pipeline.config.schema import Config
from pipeline.data import Dataset
from pipeline.stages.manifest import Split
from pipeline.stages.split import choose_split
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
    trained = train(dataset, split, config)
    predicted = trained.model.classify(dataset.test_images).argmax(axis=1)
    trained.release()
    return predicted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--label_fracs", default="0.1")
    parser.add_argument("--methods", default="ssgan,supervised")
    parser.add_argument("--picture", help="draw the medians and every split into this file")
    options = parser.parse_args()
    arms: dict[str, Arm] = {"LabelSpreading (7-NN)": label_spreading, "RBF SVM": rbf_svm}
    arms |= dict.fromkeys(options.methods.split(","), ours)
    rows = []
    for row in _measure(arms, options.label_fracs.split(","), options.splits):
        print("{arm:24s} {labels:5d} labels  split {split}  {error:7.2%}".format(**row), flush=True)
        rows.append(row)
    results = pd.DataFrame(rows)
    for labels, group in results.groupby("labels"):
        _show(group, f"digits, {labels} labels, {options.splits} splits, 360 test images")
    if options.picture:
        _draw(results).savefig(options.picture, dpi=120)


def _measure(
    arms: dict[str, Arm], label_fracs: list[str], splits: int
) -> Iterator[dict[str, object]]:
    for label_frac in label_fracs:
        for seed in range(splits):
            for name, arm in arms.items():
                method = name if arm is ours else "supervised"
                flags = {"method": method, "label_frac": label_frac, "seed": str(seed)}
                config = configuration.load({**flags, "split_seed": str(seed)})
                dataset = data.of(config)
                split = choose_split(config, dataset)
                begin = time.perf_counter()
                predicted = arm(dataset, split, config)
                seconds = time.perf_counter() - begin
                truth = dataset.test_labels.read(np.arange(len(predicted)), "evaluate")
                yield {
                    "arm": name,
                    "labels": split.n_labels,
                    "split": seed,
                    "error": float(np.mean(predicted != truth)),
                    "seconds": seconds,
                }


def _show(results: pd.DataFrame, title: str) -> None:
    table = Table(title=title)
    for column in ("arm", "median error", "error of every split, %", "median s"):
        table.add_column(column)
    medians = results.groupby("arm")[["error", "seconds"]].median().sort_values("error")
    for name, median in medians.iterrows():
        every = results.loc[results["arm"] == name, "error"]
        table.add_row(
            str(name),
            f"{median['error']:.2%}",
            " ".join(f"{100 * error:.2f}" for error in every),
            f"{median['seconds']:.1f}",
        )
    Console().print(table)


def _draw(results: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, group in results.groupby("arm"):
        medians = group.groupby("labels")["error"].median() * 100
        (line,) = axes.plot(medians.index, medians, marker="o", label=str(name))
        axes.scatter(group["labels"], group["error"] * 100, s=10, color=line.get_color(), alpha=0.4)
    axes.set(xscale="log", yscale="log", xlabel="labels", ylabel="test error, %")
    ticks = sorted(results["labels"].unique())
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.minorticks_off()
    errors = [1, 2, 5, 10, 20, 40]
    axes.set_yticks(errors, [str(error) for error in errors])
    splits = results["split"].nunique()
    axes.set_title(
        f"digits (1,437 training images): medians of {splits} splits, dots are the splits",
        fontsize=10,
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def _labels(dataset: Dataset, split: Split) -> np.ndarray:
    return dataset.train_labels.read(split.labelled, "train")


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255


if __name__ == "__main__":
    main()
