"""A backbone's features of images: computed once, kept in the cache by content and by weights.

An entry of the cache is a folder for a data set, weights and size. It holds files, each of
2,000 images at most: `places`, int64 [k], ascending, and `rows`, float32 [k, d]. A file appears
whole or not at all and is never changed, so processes may add to an entry at once.
"""

import contextlib
import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline import progress
from pipeline.measure.two_sample import unlabelled_compared
from pipeline.methods import Arrays, Method
from pipeline.networks.pretrained import PretrainedClassifier
from pipeline.networks.spec import some_of
from pipeline.parts import pool_balance

BATCH = 50
PART = 40 * BATCH  # images, whose features are kept as soon as they are computed
SOME = 2000  # images of the pool that scaling and comparisons are taken from, at most
MADE = 1  # how features are made: counts up when other code makes others of the same weights
BYTES = 2 * 10**9  # kept at most; the last ones used
UNFINISHED = ".making-"
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def start(method: Method, arrays: Arrays) -> Mapping[str, float]:
    """Let a method on a backbone begin from a logistic regression on the labelled images.

    Returns:
        How well images without a known label are told from those with one, if some have none,
        and what is found of the pool's classes; nothing without a backbone.
    """
    network = method.network
    if not isinstance(network, PretrainedClassifier):
        return {}
    some = some_of(arrays.pool, SOME)
    rows = of(network, arrays, np.concatenate([some, arrays.labelled]))
    network.fit_output(rows[: len(some)], rows[len(some) :], arrays.labels)
    method.average.set_weights(network.get_weights())
    seed, labelled = method.config.seed, rows[len(some) :]
    # Images beside the labelled ones: what was trained on these would answer them too well.
    others = ~np.isin(some, arrays.labelled)
    unknown = np.isin(np.concatenate([some[others], arrays.labelled]), arrays.unknown)
    beside = rows[: len(some)][others]
    compared = unlabelled_compared(np.concatenate([beside, labelled]), unknown, seed)
    if not method.class_balances or not len(beside):
        return compared
    return {
        **compared,
        **pool_balance.follow(method.class_balances, labelled, arrays.labels, beside, seed),
    }


def of(
    network: PretrainedClassifier, arrays: Arrays, places: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Features float32 [k, d] of the images at places, int64 [k], from the cache if they are there.

    The network's backbone has the weights that it was built with. The cache is a help: where it
    cannot be read or written, features are computed.
    """
    said = f"{MADE} {arrays.digest} {network.digest} {network.side}"
    if tf.config.list_logical_devices("GPU"):  # its last bits differ
        said += " GPU"
    name = hashlib.sha256(said.encode()).hexdigest()[:32]
    found = np.zeros((len(places), len(network.share)), np.float32)
    missing = np.ones(len(places), bool)
    for known, rows in _kept(name, found.shape[1]):
        at = np.searchsorted(known, places).clip(max=len(known) - 1)
        here = missing & (known[at] == places)
        found[here], missing[here] = rows[at[here]], False
        if not missing.any():
            return found
    new = np.unique(places[missing])
    for some, rows in _computed(network, arrays, new):
        here = np.flatnonzero(np.isin(places, some))
        found[here] = rows[np.searchsorted(some, places[here])]
        _keep(name, some, rows)
    return found


def _computed(
    network: PretrainedClassifier, arrays: Arrays, places: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Places, as many as are kept in a file, and their rows, as soon as they are computed."""
    if not len(places):
        return
    compute = tf.function(network.features, reduce_retracing=True)
    progress.phase("features of the backbone", total=len(places), unit="images")
    for first in range(0, len(places), PART):
        part, rows = places[first : first + PART], []
        for begin in range(0, len(part), BATCH):
            some = arrays.images[part[begin : begin + BATCH]].astype(np.float32) / 255
            padded = np.pad(some, [(0, BATCH - len(some)), (0, 0), (0, 0), (0, 0)])
            rows.append(compute(padded).numpy()[: len(some)])
            progress.advance(first + begin + len(some))
        yield part, np.concatenate(rows)


def folder() -> Path:
    """Where the entries lie; RuntimeError if there is no home."""
    return Path.home() / ".cache" / "ssgan" / "features"


def _kept(name: str, size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Places and rows of every file of an entry that can be read, the largest first."""
    files = []
    with contextlib.suppress(OSError, RuntimeError):
        files = sorted((folder() / name).glob("*.npz"), key=lambda file: -file.stat().st_size)
    for file in files:
        with contextlib.suppress(*DAMAGED):
            with np.load(file, allow_pickle=False) as held:
                places, rows = held["places"], held["rows"]
            whole = (places.dtype, rows.dtype) == (np.int64, np.float32) and len(places) > 0
            if not whole or rows.shape != (len(places), size):
                continue
            with contextlib.suppress(OSError):
                os.utime(file)  # the last ones used are kept
            yield places, rows


def _keep(name: str, places: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
    """Add rows to an entry, if that is possible."""
    made: Path | None = None
    with contextlib.suppress(OSError, RuntimeError):
        entry = folder() / name
        entry.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.NamedTemporaryFile(dir=entry, prefix=UNFINISHED, delete=False) as file:
                made = Path(file.name)
                np.savez(file, places=places, rows=rows)
            made.replace(entry / f"{made.name.removeprefix(UNFINISHED)}.npz")
        finally:
            if made:
                made.unlink(missing_ok=True)
        _keep_the_last()


def _keep_the_last() -> None:
    """Remove the files that were not used for longest, until the others are few enough."""
    found = []
    for file in folder().glob("*/*"):
        with contextlib.suppress(OSError):  # another process has removed it
            status = file.stat()
            found.append((status.st_mtime_ns, status.st_size, file))
    held = 0
    for _, size, file in sorted(found, reverse=True):
        held += size
        if held > BYTES:
            with contextlib.suppress(OSError):
                file.unlink()
                file.parent.rmdir()  # if it was the last one
