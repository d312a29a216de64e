"""Stage evaluate: a model and the test set in, metrics, tables and figures out.

The only reader of test labels, and only once per model.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline import figures, progress
from pipeline.data import Dataset
from pipeline.measure import classification
from pipeline.stages.train import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READER = "evaluate"
SAMPLES = 2000  # generated images that are measured
LEAST = 20  # test images that sample measures need: they compare neighbours and subsets
GRID = 100  # generated images that are shown


@dataclass(frozen=True)
class Evaluation:
    """A part of what is logged of a finished model, named as in MLflow."""

    metrics: Mapping[str, float]
    tables: Mapping[str, pd.DataFrame]
    figures: "Mapping[str, Figure]"
    wrong: NDArray[np.bool_] | None = None  # [n_test], where the class was wrong


def evaluate(
    dataset: Dataset, model: Model, *, n_labels: int, seed: int, scorer_dir: Path, title: str
) -> Iterator[Evaluation]:
    """Measure a model on the whole test set, then its generator if it has one.

    Args:
        dataset: its test labels are read here.
        model: what the train stage returned, or the same loaded back.
        n_labels: labels the run was allowed to read, for titles.
        seed: of the latents and of the sampling in the sample measures.
        scorer_dir: where the domain classifier of the sample measures is kept between runs.
        title: of the figures; names method and run.

    Yields:
        `test/…` metrics with per-class, reliability and prediction tables, confusion, reliability
        and mistakes figures; then, with a generator, `samples/…` metrics and a sample figure.
    """
    progress.phase(f"evaluation on {len(dataset.test_labels):,} test images")
    labels = dataset.test_labels.read(np.arange(len(dataset.test_labels)), READER)
    measured = classification.measure(
        model.classify(dataset.test_images), labels, dataset.class_names, dataset.test_files
    )
    title = f"{title}, {n_labels} labels"
    drawn = {
        "figures/confusion_matrix.png": figures.confusion_matrix(
            measured.confusion, dataset.class_names, title
        ),
        "figures/reliability.png": figures.reliability(
            measured.reliability, measured.metrics["ece"], title
        ),
        "figures/mistakes.png": figures.mistakes(
            dataset.stretched(dataset.test_images), measured.predictions, dataset.class_names, title
        ),
    }
    yield Evaluation(
        metrics={f"test/{name}": value for name, value in measured.metrics.items()},
        tables={
            "evaluate/per_class.csv": measured.per_class,
            "evaluate/reliability.csv": measured.reliability,
            "evaluate/predictions.parquet": measured.predictions,
        },
        figures=drawn,
        wrong=(measured.predictions["predicted"] != measured.predictions["label"]).to_numpy(),
    )
    if model.generate is not None:
        progress.phase("evaluation of samples")
        quality, images, wanted = _samples(dataset, labels, model, seed, scorer_dir)
        grid = figures.sample_grid(images, title, wanted, dataset.class_names)
        yield Evaluation(
            metrics={f"samples/{name}": value for name, value in quality.items()},
            tables={},
            figures={"figures/samples.png": grid},
        )


def _samples(
    dataset: Dataset,
    test_labels: NDArray[np.int64],
    model: Model,
    seed: int,
    scorer_dir: Path,
) -> tuple[Mapping[str, float], NDArray[np.uint8], NDArray[np.int64] | None]:
    """Sample measures (none on fewer than `LEAST` test images), and samples to show."""
    from pipeline.measure import samples, scorer

    assert model.latents is not None
    assert model.generate is not None
    random = np.random.default_rng(seed)
    wanted = model.latents.grid_labels(SAMPLES)
    images = model.generate(model.latents.draw(SAMPLES, random, wanted))
    # An unconditional generator's samples are labelled by the classifier they trained.
    labels = wanted if wanted is not None else model.classify(images).argmax(axis=1)
    # From here on as training sees them, so that no measure depends on how pixels are stored.
    images, test_images = dataset.stretched(images), dataset.stretched(dataset.test_images)
    order = np.linspace(0, SAMPLES - 1, GRID).astype(int)
    shown = images[order], None if wanted is None else wanted[order]
    if len(dataset.test_images) < LEAST:
        return {}, *shown
    everything = np.arange(len(dataset.train_labels))
    features = scorer.domain_scorer(
        dataset.images_to_train_on,
        dataset.train_labels.read(everything, "scorer"),
        dataset.digest,
        scorer_dir,
    )
    progress.phase("evaluation of samples")
    quality = samples.measure(test_images, images, labels, test_images, test_labels, features, seed)
    return quality.metrics, *shown
