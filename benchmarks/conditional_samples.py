"""seed_gan's samples: the share that a judge of real images reads as the class that was wanted.

    python -m benchmarks.conditional_samples --data_dir <folder with MNIST> [--splits 3]
                                             [--picture docs/images/seed_gan.png]

The judge is the classifier of method `supervised`, trained once on every real training label; the
method sees 1,000 of them, others on each split (split_seed = seed = 0, 1, …). Prints for each
split the share read as wanted, overall and by class, of 200 samples a class; the measures of a run
(see `pipeline.measure.samples`), real images' beside them; the pixels' deviation within a class as
a share of the real test images'; and the test error of the classifier. The picture shows the first
split's.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline import data, figures
from pipeline.config import layers as configuration
from pipeline.config.schema import Config
from pipeline.data import Dataset
from pipeline.measure import reference, samples
from pipeline.runs.logged import SCORERS
from pipeline.stages.split import choose_split
from pipeline.stages.train import Model, train

PER_CLASS = 200
SETS = 3
SHOWN = 10  # of each class
JUDGE_SEED = 1000  # none of the splits': the judge starts from other weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--label_frac", default="0.0167")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--steps", help="of the method; its own if left out")
    parser.add_argument("--threads", default="")
    parser.add_argument("--picture", type=Path, help="draw samples of every class into this file")
    options = parser.parse_args()
    shared = {name: getattr(options, name) for name in ("dataset", "data_dir", "threads")}
    dataset = data.load(options.dataset, configuration.load(shared).data_dir)
    judge = _train(
        dataset,
        shared
        | {"method": "supervised", "label_frac": "1", "batch_size": "128"}
        | {"seed": str(JUDGE_SEED)},
    )
    print(f"judge: {_error(dataset, judge):.2%} test error", flush=True)
    for number in range(options.splits):
        seeds = {"seed": str(number), "split_seed": str(number)}
        steps = {"steps": options.steps} if options.steps else {}
        begin = time.perf_counter()
        flags = {"method": "seed_gan", "label_frac": options.label_frac}
        model = _train(dataset, shared | flags | seeds | steps)
        seconds = time.perf_counter() - begin
        images, wanted = _generate(dataset, model, number)
        print(f"split {number}: {seconds:.0f} s, {_error(dataset, model):.2%} test error")
        _report(dataset, judge, model, images, wanted, number)
        if options.picture and number == 0:
            shown = np.flatnonzero(np.arange(len(wanted)) % PER_CLASS < SHOWN)
            figures.sample_grid(
                images[shown], "seed_gan, first split", wanted[shown], dataset.class_names
            ).savefig(options.picture, dpi=80)


def _train(dataset: Dataset, flags: dict[str, str]) -> Model:
    config: Config = configuration.settled(configuration.load(flags), len(dataset.train_images))
    return train(dataset, choose_split(config, dataset), config).model


def _generate(dataset: Dataset, model: Model, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and the labels they were generated for, PER_CLASS of each class."""
    wanted = np.repeat(np.arange(len(dataset.class_names)), PER_CLASS)
    latents = model.latents.draw(len(wanted), np.random.default_rng(seed), wanted)
    return model.generate(latents), wanted


def _report(
    dataset: Dataset,
    judge: Model,
    model: Model,
    images: np.ndarray,
    wanted: np.ndarray,
    seed: int,
) -> None:
    right = judge.classify(images).argmax(axis=1) == wanted
    by_class = right.reshape(-1, PER_CLASS).mean(axis=1)
    shares = "  ".join(
        f"{name} {share:.1%}" for name, share in zip(dataset.class_names, by_class, strict=True)
    )
    print(f"  read as wanted {right.mean():.2%}:  {shares}")
    labels = _test_labels(dataset)
    every = dataset.train_labels.read(np.arange(len(dataset.train_labels)), "scorer")
    real = reference.reference(
        dataset.images_to_train_on,
        every,
        dataset.stretched(dataset.test_images),
        labels,
        images.shape[1:3],
        dataset.digest,
        SCORERS,
    )
    sets = _sets(dataset, model, np.sort(real.real.labels), seed)
    measured = samples.measure(real, sets, dataset.class_names, seed).metrics
    spread = np.mean(
        [
            _spread(images[wanted == k]) / _spread(dataset.test_images[labels == k])
            for k in np.unique(wanted)
        ]
    )
    names = ("kid", "density", "coverage", "cas_error", "read_as_wanted", "nearer_to_training")
    numbers = "  ".join(
        f"{name} {measured[name]:.4f} (real {measured.get(f'{name}_real', np.nan):.4f})"
        for name in names
    )
    print(f"  {numbers}  spread {spread:.2f}", flush=True)


def _sets(
    dataset: Dataset, model: Model, wanted: np.ndarray, seed: int
) -> Iterator[samples.Generated]:
    """Sets of samples as a run's: of the test images' own classes."""
    random = np.random.default_rng(seed)
    for _ in range(SETS):
        images = model.generate(model.latents.draw(len(wanted), random, wanted))
        yield samples.Generated(dataset.stretched(images), wanted)


def _spread(images: np.ndarray) -> float:
    return float(images.astype(np.float32).std(axis=0).mean())


def _test_labels(dataset: Dataset) -> np.ndarray:
    return dataset.test_labels.read(np.arange(len(dataset.test_labels)), "evaluate")


def _error(dataset: Dataset, model: Model) -> float:
    predicted = model.classify(dataset.test_images).argmax(axis=1)
    return float(np.mean(predicted != _test_labels(dataset)))


if __name__ == "__main__":
    main()
