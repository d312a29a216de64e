"""The real images that samples are measured against, and what is known of them beforehand.

Nothing here depends on a run: it is computed once for a data set and size of image, and kept.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline import progress
from pipeline.measure import distances
from pipeline.measure import scorer as scorers
from pipeline.measure.cas import cas_error
from pipeline.measure.scorer import Scorer

logger = logging.getLogger(__name__)

SEED = 20_261  # which images are measured: the same in every run
MOST = 10_000  # real test images that are measured
TRAINING = 60_000  # training images that samples are compared with, one by one
ENOUGH = 0.9  # of the test images: a floor of fewer images would not compare,
ALIKE = 0.01  # nor one of which a larger share is of other classes than theirs
SIDE = 32  # pixels, at most, that anything is measured at
CHUNK = 4096  # images reduced at once
FLOOR, JUDGE = "floor", "judge"


class Images(Protocol):
    """uint8 images [n, h, w, c] in memory or in a file, read by index."""

    shape: tuple[int, ...]

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, places: Any) -> NDArray[np.uint8]:
        """Those at some places."""


@dataclass(frozen=True)
class Real:
    """Real images as every run measures against them; features are float32 [·, d]."""

    test: NDArray[np.int64]  # places of the n test images that are measured
    labels: NDArray[np.int64]  # [n], their classes
    features: NDArray[np.float32]  # [n, d]
    radii: NDArray[np.float32]  # [n], to the k-th nearest other one
    to_training: NDArray[np.float32]  # [n], to the nearest of those training images
    training: NDArray[np.int64]  # places of the training images that samples are compared with
    training_features: NDArray[np.float32]
    floor: dict[str, float]  # what a set of other real images gets; without enough of them less


@dataclass(frozen=True)
class Reference:
    """Real images, the classifier whose features they are in, and the pixels themselves."""

    scorer: Scorer
    real: Real
    size: tuple[int, int]  # height and width that everything is measured at
    test_images: NDArray[np.uint8]  # [n, *size, c]
    train_images: Images  # all of them, at their own size

    def train(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Training images at some places, at the size that is measured, [m, *size, c]."""
        return reduced(self.train_images, self.size, places)


def reference(
    train_images: Images,
    train_labels: NDArray[np.int64],
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.int64],
    generated: tuple[int, int],
    digest: str,
    cache_dir: Path,
) -> Reference:
    """Bring real images and the domain classifier to the size of generated images.

    Measured are at most `MOST` test images, drawn by chance. As many training images, of each
    class as many as of these test images, are *withheld* from the domain classifier, so that they
    are to it what test images are; they are the set that shows what real images get from every
    measure. Of no class more than half of the labelled images are withheld. If that leaves fewer
    than `ENOUGH` of what is needed, or another mix of classes, none are, and there is no floor.
    Copies of withheld images are copies, too: samples and test images are held against all
    training images, withheld ones against those that the classifier has seen.

    Args:
        train_images, test_images: uint8 [·, h, w, c].
        train_labels: int64, -1 = unlabelled; test_labels: int64.
        generated: height and width of what is generated. If one side is longer than `SIDE`, all is
            measured smaller. Images are reduced by areas.
        digest: of the data set.
        cache_dir: where the classifier and what is known of real images are kept.

    Raises:
        ValueError: fewer than two classes are labelled.
        RunFailure: the process that trains the domain classifier has failed.
    """
    size = measured_size(generated)
    name = f"{digest}-{size[0]}x{size[1]}"
    random = np.random.default_rng(SEED)
    test = random.permutation(len(test_labels))[:MOST]
    withheld = _withheld(train_labels, test_labels[test], random)
    seen = np.setdiff1d(np.arange(len(train_labels)), withheld)

    def labelled() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        places = seen[train_labels[seen] >= 0]
        return reduced(train_images, size, places), train_labels[places]

    shape = (*size, train_images.shape[3])
    scorer = scorers.domain_scorer(labelled, shape, name, cache_dir)
    pixels, labels = reduced(test_images, size, test), test_labels[test]

    def looked_at() -> Real:
        progress.phase("looking at the real images, once per data set")
        training = np.sort(random.permutation(len(train_labels))[:TRAINING])
        features = scorer.features(pixels)
        of_training = _features(scorer, train_images, size, training)
        to_training = distances.nearest(features, of_training)[1]
        radii = distances.radii(features)
        floor = {"read_as_wanted": float((scorer.read(features) == labels).mean())}
        if len(withheld):
            images, given = reduced(train_images, size, withheld), train_labels[withheld]
            others = scorer.features(images)
            floor["kid"] = distances.kid(features, others, (labels, given))[0]
            found = distances.density_coverage(features, radii, [others])
            floor |= {key: found[key] for key in ("density", "coverage")}
            of_seen = of_training[np.isin(training, seen)]
            to_seen = (distances.nearest(each, of_seen)[1] for each in (others, features))
            floor["nearer_to_training"] = distances.nearer(*to_seen)
            floor["cas_error"] = cas_error(images, given, pixels, labels, SEED)
        return Real(test, labels, features, radii, to_training, training, of_training, floor)

    kept = scorers.folder(cache_dir) / f"real-{scorers.VERSION}-{name}.npz"
    return Reference(scorer, _kept(kept, scorer.digest, looked_at), size, pixels, train_images)


def measured_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of images, or smaller ones whose longer side is `SIDE`."""
    factor = min(1.0, SIDE / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def reduced(
    images: Images, size: tuple[int, int], places: NDArray[np.int64] | None = None
) -> NDArray[np.uint8]:
    """Images [n, h, w, c], or those at some places, as [n, *size, c]: means over areas."""
    places = np.arange(len(images)) if places is None else places
    channels = images.shape[3]
    result = np.empty((len(places), *size, channels), np.uint8)
    for begin in range(0, len(places), CHUNK):
        part = images[places[begin : begin + CHUNK]]
        if part.shape[1:3] != size:
            part = np.stack([_reduced(image, size) for image in part])
        result[begin : begin + CHUNK] = part
    return result


def _reduced(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    small = np.asarray(picture.resize(size[::-1], Image.Resampling.BOX))
    return small.reshape(*size, image.shape[2])


def _withheld(
    labels: NDArray[np.int64], wanted: NDArray[np.int64], random: np.random.Generator
) -> NDArray[np.int64]:
    """Places of training images: of each class as many as in `wanted`, of none above half.

    None at all if those would be too few, or their shares of classes others than in `wanted`.
    """
    found: list[NDArray[np.int64]] = []
    kinds, counts = np.unique(wanted, return_counts=True)
    for label, count in zip(kinds, counts, strict=True):
        there = random.permutation(np.flatnonzero(labels == label))
        found.append(there[: min(int(count), len(there) // 2)])
    withheld = np.sort(np.concatenate(found))
    got = np.array([len(places) for places in found])
    enough = got.sum() >= ENOUGH * len(wanted)
    other = np.abs(got / max(1, got.sum()) - counts / len(wanted)).sum() / 2  # total variation
    return withheld if enough and other <= ALIKE else withheld[:0]


def _features(
    scorer: Scorer, images: Images, size: tuple[int, int], places: NDArray[np.int64]
) -> NDArray[np.float32]:
    parts = [places[begin : begin + CHUNK] for begin in range(0, max(1, len(places)), CHUNK)]
    return np.concatenate([scorer.features(reduced(images, size, part)) for part in parts])


def _kept(path: Path, judge: str, looked_at: Callable[[], Real]) -> Real:
    """What the file holds, or else what is found now, which is then kept there.

    judge: digest of the domain classifier; features by another one are of no use.
    """
    names = [field.name for field in fields(Real) if field.name != FLOOR]
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file[JUDGE]) != judge:
                raise ValueError("its features are by another domain classifier")
            floor = {
                key.removeprefix(FLOOR): float(file[key]) for key in file if key.startswith(FLOOR)
            }
            return Real(**{name: file[name] for name in names}, floor=floor)
    except FileNotFoundError:
        pass
    except Exception as error:  # a damaged file fails in many ways
        logger.warning("%s cannot be used, looking at real images again: %s", path, error)
    real = looked_at()
    arrays = {JUDGE: np.array(judge)} | {name: getattr(real, name) for name in names}
    arrays |= {FLOOR + name: np.float64(value) for name, value in real.floor.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            made = Path(scratch) / path.name
            np.savez(made, **arrays)
            made.replace(path)
    except OSError as error:
        logger.warning("what is known of real images is not kept in %s: %s", path, error)
    return real
