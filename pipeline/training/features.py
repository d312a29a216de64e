"""A backbone's features of images: computed once, kept in the cache by content and by weights.

An entry of the cache is a pair of files for a data set, weights and size: `<key>.npy`, float32
[n, d], mapped, and `<key>.known.npy`, bool [n], which rows of it have been computed.
"""

import contextlib
import hashlib
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline import progress
from pipeline.methods import Arrays, Method
from pipeline.networks.pretrained import PretrainedClassifier

BATCH = 50
SOME = 2000  # images that the scaling of the features is taken from


def start(method: Method, arrays: Arrays) -> None:
    """Let a method on a backbone begin from a logistic regression on the labelled images."""
    network = method.network
    if not isinstance(network, PretrainedClassifier):
        return
    some = arrays.pool[:: -(-len(arrays.pool) // SOME)]
    rows = of(network, arrays, np.concatenate([some, arrays.labelled]))
    network.fit_output(rows[: len(some)], rows[len(some) :], arrays.labels)
    method.average.set_weights(network.get_weights())


def of(
    network: PretrainedClassifier, arrays: Arrays, places: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Features float32 [k, d] of the images at places, int64 [k], from the cache if they are there.

    The cache is a help: where it cannot be read or written, they are computed.
    """
    key = hashlib.sha256(f"{arrays.digest} {network.digest} {network.side}".encode())
    kept = _Kept(_folder() / key.hexdigest()[:32], len(arrays.images), len(network.share))
    missing = np.setdiff1d(places, kept.known())
    if len(missing):
        kept.add(missing, _computed(network, arrays, missing))
    return kept.rows(places)


def _computed(
    network: PretrainedClassifier, arrays: Arrays, places: NDArray[np.int64]
) -> NDArray[np.float32]:
    compute = tf.function(network.features, reduce_retracing=True)
    progress.phase("features of the backbone", total=len(places), unit="images")
    parts = []
    for begin in range(0, len(places), BATCH):
        some = arrays.images[places[begin : begin + BATCH]].astype(np.float32) / 255
        padded = np.pad(some, [(0, BATCH - len(some)), (0, 0), (0, 0), (0, 0)])
        parts.append(compute(padded).numpy()[: len(some)])
        progress.advance(begin + len(some))
    return np.concatenate(parts)


class _Kept:
    """The rows of one entry, in memory as well as in its files."""

    def __init__(self, path: Path, n: int, size: int) -> None:
        self.values, self.mask = path.with_suffix(".npy"), path.with_suffix(".known.npy")
        self.n, self.size = n, size
        self.memory: dict[int, NDArray[np.float32]] = {}

    def known(self) -> NDArray[np.int64]:
        """Rows that the cache holds."""
        with contextlib.suppress(OSError, ValueError):
            mask = np.load(self.mask, allow_pickle=False)
            values = np.load(self.values, mmap_mode="r", allow_pickle=False)
            if values.shape == (self.n, self.size) and mask.shape == (self.n,):
                return np.flatnonzero(mask)
        return np.array([], np.int64)

    def add(self, places: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Keep rows; their marks are written last, so that a mark never stands without its row."""
        self.memory = dict(zip(places.tolist(), rows, strict=True))
        with contextlib.suppress(OSError, ValueError):
            self.values.parent.mkdir(parents=True, exist_ok=True)
            known = self.known()
            shape = (self.n, self.size)
            mode = "r+" if len(known) else "w+"
            values = np.lib.format.open_memmap(self.values, mode, np.float32, shape)
            values[places] = rows
            values.flush()
            mask = np.zeros(self.n, bool)
            mask[np.concatenate([known, places])] = True
            np.save(self.mask, mask)

    def rows(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows float32 [k, d] that are known or were added."""
        found = np.zeros((len(places), self.size), np.float32)
        kept = ~np.isin(places, list(self.memory))
        if kept.any():
            found[kept] = np.load(self.values, mmap_mode="r", allow_pickle=False)[places[kept]]
        for row in np.flatnonzero(~kept):
            found[row] = self.memory[int(places[row])]
        return found


def _folder() -> Path:
    return Path.home() / ".cache" / "ssgan" / "features"
