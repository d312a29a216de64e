"""How good generated images are, measured in the features of a classifier of the same data.

In: sets of generated uint8 images and the real ones of `reference`. Out: numbers and two tables.
Inception features know photographs, not digits or scans, so the features come from `scorer`.
Numbers of different classifiers (other data, size of image or `scorer.VERSION`) do not compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.measure import distances
from pipeline.measure.cas import cas_error
from pipeline.measure.reference import Reference, reduced

COMPARED = 2000  # samples that are held against the training images
SHOWN = 10  # in a row


@dataclass(frozen=True)
class Generated:
    """One set of samples: images uint8 [m, h, w, c] and the classes they were made for, [m]."""

    images: NDArray[np.uint8]
    wanted: NDArray[np.int64] | None  # None: of a generator that knows no class


@dataclass(frozen=True)
class Pairs:
    """Samples [2, m, h, w, c] and the training image nearest to each, the same shape.

    Row 0: those nearest of all to a training image; row 1: some drawn by chance.
    """

    samples: NDArray[np.uint8]
    training: NDArray[np.uint8]


@dataclass(frozen=True)
class SampleQuality:
    """What was measured; `docs/measures.md` says what each number means.

    `metrics`: density, coverage and nearer_to_training; kid unless most test images are the only
    one of their class; with wanted classes read_as_wanted and cas_error too. `…_se` are standard
    errors, `…_real` what real images get. n samples in each of `sets` sets.
    """

    metrics: dict[str, float]
    per_class: pd.DataFrame | None  # how each wanted class is read; None without wanted classes
    pairs: Pairs


def measure(
    reference: Reference, sets: Iterable[Generated], class_names: Sequence[str], seed: int
) -> SampleQuality:
    """Measure sets of samples against real images.

    Args:
        reference: the real images.
        sets: independent ones, each of as many samples as there are real images measured; taken
            one at a time.
        class_names: of the classes 0..K-1.
        seed: of what is drawn by chance: samples that a classifier learns from, or that are shown.

    Raises:
        ValueError: fewer than 6 real images or 4 samples.
    """
    real, first = reference.real, None
    features: list[NDArray[np.float32]] = []
    wanted: list[NDArray[np.int64]] = []
    for drawn in sets:
        images = reduced(drawn.images, reference.size)
        features.append(reference.scorer.features(images))
        if drawn.wanted is not None:
            wanted.append(drawn.wanted)
        first = first or Generated(images, drawn.wanted)
    assert first is not None
    classes = (real.labels, np.concatenate(wanted)) if wanted else None
    kid, kid_se = distances.kid(real.features, np.concatenate(features), classes)
    metrics = {"kid": kid, "kid_se": kid_se} if np.isfinite(kid) else {}
    metrics |= distances.density_coverage(real.features, real.radii, features)
    metrics["nearer_to_training"], pairs = _held_against_training(
        reference, first.images, features[0], seed
    )
    per_class = None
    if first.wanted is not None:
        pixels = (reference.test_images, real.labels)
        metrics["cas_error"] = cas_error(first.images, first.wanted, *pixels, seed)
        read = [reference.scorer.read(each) for each in features]
        shares = [float((a == b).mean()) for a, b in zip(read, wanted, strict=True)]
        metrics["read_as_wanted"] = float(np.mean(shares))
        if len(shares) > 1:
            metrics["read_as_wanted_se"] = float(np.std(shares, ddof=1) / np.sqrt(len(shares)))
        per_class = _per_class(np.concatenate(wanted), np.concatenate(read), reference, class_names)
    floor = {
        f"{name}_real": value
        for name, value in real.floor.items()
        if name in metrics and np.isfinite(value)
    }
    counts = {"n": float(len(first.images)), "sets": float(len(features))}
    return SampleQuality(metrics | floor | counts, per_class, pairs)


def _held_against_training(
    reference: Reference, images: NDArray[np.uint8], features: NDArray[np.float32], seed: int
) -> tuple[float, Pairs]:
    """Whether samples lie nearer to training images than test images do, and pairs to look at."""
    real, random = reference.real, np.random.default_rng(seed)
    some = random.permutation(len(images))[:COMPARED]
    places, apart = distances.nearest(features[some], real.training_features)
    order = np.argsort(apart, kind="stable")[:SHOWN]
    shown = np.concatenate([order, random.permutation(len(some))[: len(order)]])
    training = reference.train(real.training[places[shown]])
    two_rows = (2, len(order), *images.shape[1:])
    return distances.nearer(apart, real.to_training), Pairs(
        images[some[shown]].reshape(two_rows), training.reshape(two_rows)
    )


def _per_class(
    wanted: NDArray[np.int64],
    read: NDArray[np.int64],
    reference: Reference,
    class_names: Sequence[str],
) -> pd.DataFrame:
    """A row for each wanted class; a share of real images is NaN without such a test image."""
    real, rows = reference.real, []
    real_right = reference.scorer.read(real.features) == real.labels
    for label in np.unique(wanted):
        counts = np.bincount(read[wanted == label], minlength=len(class_names))
        others = np.where(np.arange(len(counts)) == label, -1, counts)
        other = int(others.argmax())
        there = real_right[real.labels == label]
        rows.append(
            {
                "class": class_names[label],
                "n": int(counts.sum()),
                "read_as_wanted": counts[label] / counts.sum(),
                "read_as_wanted_real": there.mean() if len(there) else np.nan,
                "most_frequent_other": class_names[other] if others[other] > 0 else "",
                "other_share": max(0, int(others[other])) / counts.sum(),
            }
        )
    return pd.DataFrame(rows)
