"""Images that are nearly equal: one picture saved, scaled, brightened or shifted anew.

Pairs of like perceptual hashes are candidates; their pixels decide (`_same_picture`).
"""

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline import progress
from pipeline.data._equal import image_keys
from pipeline.data._finding import ROWS, Finding
from pipeline.data._pixels import FULL, pixel_range, stretching
from pipeline.data._same_picture import difference

# Most bits of 64 in which the hashes of candidates differ. Measured: saved, scaled or brightened
# anew, all images are within it; shifted by one pixel of 32, 92 % of photographs are.
BITS = 10
CANDIDATES = 8  # an image at most, those with the nearest hashes: strokes have hundreds
QUERIES = 64  # searched at once: if all images are alike, each hits every other
COMPARED = 2**21  # bytes of images compared at once
FEW = 2_000  # so many images are hashed in this process
TASK, TASK_BYTES = 500, 2**23  # most images, and bytes of them, that a worker is given at once

Indices = NDArray[np.int64]


class Part(NamedTuple):
    """Distinct images of one part."""

    images: NDArray[np.uint8]  # all of them
    at: Indices  # where the distinct ones stand, int64 [k]
    names: Sequence[str]  # of all images
    table: NDArray[np.uint8] | None  # stretches pixels to 0..255

    def take(self, places: Indices | slice) -> NDArray[np.uint8]:
        """A copy of the distinct images at places."""
        images = self.images[self.at[places]]
        return images if self.table is None else self.table[images]


class Pairs(NamedTuple):
    """Candidates or nearly equal images, by their place among the distinct ones."""

    later: Indices
    earlier: Indices


def near_equal(
    train_images: NDArray[np.uint8],
    train_labels: NDArray[np.int64],
    test_images: NDArray[np.uint8],
    train_files: Sequence[str] = (),
    test_files: Sequence[str] = (),
) -> tuple[Finding, ...]:
    """Find nearly equal images; images uint8 [n, h, w, c], mapped from a file or in memory.

    Labels are int64 [n], -1 = unknown; files name the images in the rows, by default their numbers
    do. Images that are equal byte for byte count as one here: `_equal` tells of them. The search
    grows with the square of the training images: half a minute of CPU time at 240,000.
    """
    keys, test_keys = image_keys(train_images), image_keys(test_images)
    narrow = pixel_range(train_images)
    table = None if narrow == FULL else stretching(*narrow)
    train = Part(
        train_images,
        _distinct(keys, train_labels),
        train_files or [f"training image {i}" for i in range(len(train_images))],
        table,
    )
    # A test image that equals a training image is told as such.
    fresh = np.flatnonzero(~np.isin(test_keys, keys))
    test = Part(
        test_images,
        fresh[_distinct(test_keys[fresh], np.zeros(len(fresh), np.int64))],
        test_files or [f"test image {i}" for i in range(len(test_images))],
        table,
    )
    progress.phase(
        "looking for nearly equal images", total=len(train.at) + len(test.at), unit="images"
    )
    hashes, test_hashes = _hashes(train, 0), _hashes(test, len(train.at))
    within = _confirmed(_candidates(hashes, None), train, train)
    across = _confirmed(_candidates(hashes, test_hashes), test, train)
    labels = train_labels[train.at]
    known = (labels[within.later] >= 0) & (labels[within.earlier] >= 0)
    at_odds = np.flatnonzero(known & (labels[within.later] != labels[within.earlier]))
    return tuple(
        _told(
            _rows(across, test, train),
            _rows(within, train, train),
            _rows(Pairs(within.later[at_odds], within.earlier[at_odds]), train, train),
            (len(train_images), len(test_images)),
        )
    )


def _told(
    leaks: list[tuple[str, str]],
    repeats: list[tuple[str, str]],
    contradictions: list[tuple[str, str]],
    n_images: tuple[int, int],
) -> Iterator[Finding]:
    """The findings; a row for each image that is nearly equal to another, n_images of the parts."""
    n_train, n_test = n_images
    if leaks:
        yield Finding(
            "near_equal_leaks",
            len(leaks),
            f"{len(leaks):,} of {n_test:,} test images are nearly equal to a training image (one "
            "picture saved, scaled or shifted anew), so the test error may come out too low; keep "
            "all versions of a picture in one part",
            tuple(leaks[:ROWS]),
        )
    for name, rows, what in (
        (
            "near_equal_train",
            repeats,
            "an earlier one: they add little to learn, and those that validate make the validation "
            "error too low; keep one version of each picture",
        ),
        (
            "near_equal_contradictions",
            contradictions,
            "an earlier one with another label; look at them and correct the wrong labels, or make "
            "them unknown",
        ),
    ):
        if rows:
            sentence = f"{len(rows):,} of {n_train:,} training images are nearly equal to {what}"
            yield Finding(name, len(rows), sentence, tuple(rows[:ROWS]))


def _rows(pairs: Pairs, part: Part, other: Part) -> list[tuple[str, str]]:
    """A row for each later image: its name, and that of the earlier one nearest to it."""
    _, first = np.unique(pairs.later, return_index=True)  # the pairs are sorted, nearest first
    later, earlier = part.at[pairs.later[first]], other.at[pairs.earlier[first]]
    return [
        (part.names[a], f"nearly equal to {other.names[b]}")
        for a, b in zip(later, earlier, strict=True)
    ]


def _distinct(keys: Indices, labels: NDArray[np.int64]) -> Indices:
    """Where distinct images stand, sorted; of equal ones the first, with a known label if any."""
    order = np.lexsort((np.arange(len(keys)), labels < 0, keys))
    starts = np.ones(len(keys), bool)
    starts[1:] = keys[order[1:]] != keys[order[:-1]]
    return np.sort(order[starts])


def _bytes(part: Part) -> int:
    """Size of an image."""
    return prod(part.images.shape[1:])


def _hashes(part: Part, done: int) -> NDArray[np.uint8]:
    """Perceptual hashes of the distinct images, uint8 [k, 8]; `done` images lie behind."""
    import joblib
    from joblib.externals.loky import get_reusable_executor

    step = max(1, min(TASK, TASK_BYTES // _bytes(part)))
    begins = range(0, len(part.at), step)
    alone = len(part.at) <= FEW
    parallel = joblib.Parallel(
        n_jobs=1 if alone else max(1, min(joblib.cpu_count(), len(begins) // 2)),
        return_as="generator",
        max_nbytes=None,
        pre_dispatch="2*n_jobs",
    )
    results = [np.zeros((0, 8), np.uint8)]
    try:
        for hashed in parallel(
            joblib.delayed(_hash)(part.take(slice(i, i + step))) for i in begins
        ):
            results.append(hashed)
            done += len(hashed)
            progress.advance(done)
    finally:
        if not alone:  # idle, they would keep their memory while a model trains
            get_reusable_executor().shutdown(wait=True)
    return np.concatenate(results)


def _hash(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Perceptual hashes of images [n, h, w, c], uint8 [n, 8]."""
    import imagehash
    from PIL import Image

    grey = images.shape[3] == 1
    pictures = (Image.fromarray(image[..., 0] if grey else image) for image in images)
    return np.stack([np.packbits(imagehash.phash(picture).hash) for picture in pictures])


def _candidates(hashes: NDArray[np.uint8], others: NDArray[np.uint8] | None) -> Iterator[Pairs]:
    """Pairs of like hashes: of each of the others, or each of the hashes with an earlier one.

    Brute force: at this many bits it is faster than IndexBinaryMultiHash up to 240,000 images at
    least (measured), misses no pair and adds no memory.
    """
    import faiss
    from threadpoolctl import threadpool_limits

    index: Any = faiss.IndexBinaryFlat(64)
    if others is not None:
        index.add(hashes)
    queries = hashes if others is None else others
    # For so few queries at once, starting threads costs more than they save.
    with threadpool_limits(1, "openmp"):
        for begin in range(0, len(queries), QUERIES):
            block = queries[begin : begin + QUERIES]
            if others is None:
                index.add(block)
            limits, bits, found = index.range_search(block, BITS + 1)
            query = np.repeat(np.arange(len(block)), np.diff(limits.astype(np.int64)))
            if others is None:
                earlier = found < query + begin
                query, bits, found = query[earlier], bits[earlier], found[earlier]
            order = np.lexsort((found, bits, query))
            query, found = query[order], found[order]
            rank = np.arange(len(query)) - np.searchsorted(query, query)
            nearest = rank < CANDIDATES
            yield Pairs(query[nearest] + begin, found[nearest])


def _confirmed(candidates: Iterable[Pairs], part: Part, other: Part) -> Pairs:
    """Those whose pixels agree, sorted by the later image, the nearest first."""
    at_once = max(1, COMPARED // _bytes(part))
    columns: list[tuple[Indices, Indices, NDArray[np.float32]]] = []
    for later, earlier in _gathered(candidates, at_once):
        apart = difference(part.take(later), other.take(earlier))
        same = np.isfinite(apart)
        columns.append((later[same], earlier[same], apart[same]))
    if not columns:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
    later, earlier, apart = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.lexsort((apart, later))
    return Pairs(later[order], earlier[order])


def _gathered(candidates: Iterable[Pairs], at_once: int) -> Iterator[Pairs]:
    """The same pairs, at_once in each."""
    waiting: list[Pairs] = []
    for pairs in candidates:
        waiting.append(pairs)
        if sum(len(one.later) for one in waiting) >= at_once:
            yield from _cut(waiting, at_once)
            waiting = []
    yield from _cut(waiting, at_once)


def _cut(waiting: Sequence[Pairs], at_once: int) -> Iterator[Pairs]:
    """The pairs joined, and cut into parts of at_once."""
    if waiting:
        later, earlier = (np.concatenate(column) for column in zip(*waiting, strict=True))
        for begin in range(0, len(later), at_once):
            yield Pairs(later[begin : begin + at_once], earlier[begin : begin + at_once])
