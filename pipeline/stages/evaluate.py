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
from pipeline.figures.style import counted
from pipeline.measure import classification
from pipeline.stages.train import BATCH, Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READER = "evaluate"
SETS, FEWEST_SETS = 5, 3  # independent sets of samples, each as many as real images,
SAMPLES = 30_000  # and together about so many
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
    dataset: Dataset,
    model: Model,
    *,
    n_labels: int,
    seed: int,
    scorer_dir: Path,
    title: str,
    draw: bool = True,
) -> Iterator[Evaluation]:
    """Measure a model on the whole test set, then its generator if it has one.

    Args:
        dataset: its test labels are read here.
        model: what the train stage returned, or the same loaded back.
        n_labels: labels the run was allowed to read, for titles.
        seed: of the latents and of the sampling in the sample measures.
        scorer_dir: where the domain classifier of the sample measures is kept between runs.
        title: of the figures; names method and run.
        draw: figures of the classifier too.

    Yields:
        `test/…` metrics with per-class, reliability and prediction tables, confusion, reliability
        and mistakes figures; then, with a generator, `samples/…` metrics, how each wanted class is
        read, samples, and samples beside the nearest training images.
    """
    progress.phase(f"evaluation on {counted(len(dataset.test_labels), 'test image')}")
    labels = dataset.test_labels.read(np.arange(len(dataset.test_labels)), READER)
    measured = classification.measure(
        model.classify(dataset.test_images), labels, dataset.class_names, dataset.test_files
    )
    title = f"{title}, {n_labels} labels"
    drawn = _figures(dataset, measured, title) if draw else {}
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
        yield _samples(dataset, labels, model, seed, scorer_dir, title)


def sets_of(n: int) -> int:
    """How many sets of n samples each are measured."""
    return max(FEWEST_SETS, min(SETS, SAMPLES // n))


def _figures(
    dataset: Dataset, measured: classification.Classification, title: str
) -> "dict[str, Figure]":
    """How the classifier errs: where, how sure it is, on which images."""
    names = dataset.class_names
    found = {
        "confusion_matrix": figures.confusion_matrix(measured.confusion, names, title),
        "reliability": figures.reliability(measured.reliability, measured.metrics["ece"], title),
        "mistakes": figures.mistakes(dataset.images_to_test_on, measured.predictions, names, title),
    }
    return {f"figures/{name}.png": figure for name, figure in found.items()}


def _samples(
    dataset: Dataset,
    test_labels: NDArray[np.int64],
    model: Model,
    seed: int,
    scorer_dir: Path,
    title: str,
) -> Evaluation:
    """Samples to look at and, on at least `LEAST` test images, their measures."""
    from pipeline.measure import reference, samples
    from pipeline.measure.as_drawn import as_drawn

    assert model.latents is not None
    assert model.generate is not None
    latents, generate, random = model.latents, model.generate, np.random.default_rng(seed)

    def drawn(wanted: NDArray[np.int64] | None, n: int) -> NDArray[np.uint8]:
        # As training sees them, so that no measure depends on how pixels are stored.
        return dataset.stretched(generate(latents.draw(n, random, wanted)))

    def measured(wanted: NDArray[np.int64] | None, n: int) -> NDArray[np.uint8]:
        """The same as the generator drew them; in parts, as enlarged ones may fill the memory."""
        if model.drawn in (None, images.shape[1:3]):
            return drawn(wanted, n)
        inputs = latents.draw(n, random, wanted)
        parts = (generate(inputs[i : i + BATCH]) for i in range(0, n, BATCH))
        return dataset.stretched(np.concatenate([as_drawn(part, model.drawn) for part in parts]))

    names, of_grid = dataset.class_names, latents.grid_labels(GRID)
    images = drawn(of_grid, GRID)
    grid = {"figures/samples.png": figures.sample_grid(images, title, of_grid, names)}
    if len(test_labels) < LEAST:
        return Evaluation({}, {}, grid)
    real = reference.reference(
        dataset.images_to_train_on,
        dataset.train_labels.read(np.arange(len(dataset.train_labels)), "scorer"),
        dataset.images_to_test_on,
        test_labels,
        model.drawn or images.shape[1:3],
        dataset.digest,
        scorer_dir,
    )
    progress.phase("evaluation of samples")
    # The test images' own classes: equal shares would be another distribution.
    n, wanted = len(real.real.test), np.sort(real.real.labels) if latents.n_classes else None
    several = (samples.Generated(measured(wanted, n), wanted) for _ in range(sets_of(n)))
    quality = samples.measure(real, several, names, seed)
    pairs = figures.sample_pairs(quality.pairs.samples, quality.pairs.training, title)
    tables = (
        {} if quality.per_class is None else {"evaluate/samples_per_class.csv": quality.per_class}
    )
    return Evaluation(
        metrics={f"samples/{name}": value for name, value in quality.metrics.items()},
        tables=tables,
        figures={**grid, "figures/nearest_training_images.png": pairs},
    )
