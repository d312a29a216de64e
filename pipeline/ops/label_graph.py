"""Labels spread over a graph of near neighbours, from a few labelled images to all.

Zhou et al. 2004, "Learning with local and global consistency", on features that were learned
without labels. scikit-learn's LabelSpreading has the same equation, but its neighbour graph is
directed and unweighted: on MNIST it errs twice as often on the same features.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse
import tensorflow as tf
from numpy.typing import NDArray
from scipy.sparse.linalg import cg
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from pipeline.ops import runtime

COMPONENTS = 256  # principal components kept
WHITENING = 0.25  # components are divided by this power of their variance; 0.5 = fully whitened
CLAMPING = 0.999  # alpha: share of a label that comes from the neighbours
SHARPNESS = 20  # the edges' weight is the cosine to this power (3 in Iscen et al. 2019)
TOLERANCE = 1e-4  # of the solution, relative
ROUGH = 1e-2  # the same where only the likeliest class counts
FOLDS = 3  # in which labels are left out
ITERATIONS = 1000  # at most, eight times what MNIST takes
BLOCK = 2000  # rows whose neighbours are looked for at once


def principal_components(
    sample: NDArray[np.float32],
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A function that maps features [n, d] to partly whitened components, float32 [n, ≤ 256].

    Partly, because full whitening makes noise as loud as signal, none lets the few strongest
    components decide alone. `sample` is float32 [m, d]: what the components are fitted to.
    """
    fitted = PCA(min(COMPONENTS, *sample.shape), svd_solver="randomized", random_state=0)
    with _one_order():
        fitted.fit(sample)
    scale = np.maximum(fitted.explained_variance_, 1e-12) ** WHITENING

    def components(features: NDArray[np.float32]) -> NDArray[np.float32]:
        with _one_order():
            return np.asarray(fitted.transform(features) / scale, np.float32)

    return components


def _one_order() -> threadpool_limits:
    """Keep BLAS to one thread: its sums depend on their number, and other settings decide it."""
    return threadpool_limits(limits=1, user_api="blas")


class LabelGraph:
    """The graph of neighbours among features; labels spread over it, as often as one likes."""

    def __init__(
        self, features: NDArray[np.float32], *, largest: int, n_neighbors: int = 8
    ) -> None:
        """Join each row to its neighbours.

        Args:
            features: float32 [n, d]; compared by the cosine after their mean is taken off, in
                place: the array is overwritten, for it may be the largest there is.
            largest: rows in the graph, the first ones; the others take the mean of their
                neighbours among them, because the graph's cost grows with the square of its rows.
            n_neighbors: edges of a row, fewer if there are not as many rows.
        """
        units = _unit(features)
        inside, outside = units[:largest], units[largest:]
        self.n = len(inside)
        self.system = scipy.sparse.identity(self.n, np.float32, format="csr")
        self.system -= np.float32(CLAMPING) * _graph(inside, min(n_neighbors, self.n - 1))
        self.nearest = np.empty((0, 1), np.int64)
        if len(outside):
            self.nearest = _nearest(outside, inside, min(n_neighbors, self.n))

    def spread(
        self, labels: NDArray[np.int64], class_balance: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Class probabilities of every row, float32 [n, K]; all 0 where no label reaches.

        labels: int64 [n] in 0..K-1, -1 = unknown; known ones come first.
        class_balance: share of each class, [K]; each class gets as much mass in all (class mass
            normalisation, Zhu et al. 2003).
        """
        probabilities = self._inside(labels[: self.n], class_balance, TOLERANCE)
        if not len(self.nearest):
            return probabilities
        return np.concatenate([probabilities, probabilities[self.nearest].mean(axis=1)])

    def left_out_error(
        self, labels: NDArray[np.int64], class_balance: NDArray[np.float32]
    ) -> float | None:
        """Error on labelled rows, each left out in one of `FOLDS` spreadings, in [0, 1].

        What the spread labels' error is like, from the known labels alone; somewhat higher, for
        fewer labels are spread, and a row that no label reaches counts as wrong. A class's only
        label stays; None if no class has two. labels and class_balance as in `spread`.
        """
        known = np.flatnonzero(labels[: self.n] >= 0)
        classes = [known[labels[known] == label] for label in np.unique(labels[known])]
        several = [places for places in classes if len(places) > 1]
        if not several:
            return None
        wrong = 0
        for fold in range(FOLDS):
            left_out = np.concatenate([places[fold::FOLDS] for places in several])
            others = labels[: self.n].copy()
            others[left_out] = -1
            found = self._inside(others, class_balance, ROUGH)[left_out]
            right = (found.argmax(axis=1) == labels[left_out]) & (found.max(axis=1) > 0)
            wrong += int(np.sum(~right))
        return wrong / sum(map(len, several))

    def _inside(
        self, labels: NDArray[np.int64], class_balance: NDArray[np.float32], tolerance: float
    ) -> NDArray[np.float32]:
        known = np.flatnonzero(labels >= 0)
        seeds = np.zeros((self.n, len(class_balance)), np.float32)
        seeds[known, labels[known]] = 1.0
        # One class after the other: 60,000 rows take about a second in all.
        solve = partial(cg, self.system, rtol=tolerance, maxiter=ITERATIONS)
        mass = np.column_stack([solve(column)[0] for column in seeds.T])
        mass = np.maximum(mass, 0.0)
        mass = mass * (class_balance / np.maximum(mass.sum(axis=0), 1e-12))
        total = mass.sum(axis=1, keepdims=True)
        return np.asarray(mass / np.where(total > 0, total, 1.0), np.float32)


def _nearest(
    rows: NDArray[np.float32], units: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """Of each row, the `count` nearest of `units`, [len(rows), count].

    By faiss on a CPU: half the time of `_neighbors`, and exact. Its approximate indexes lose too
    many neighbours of photographs (docs/experiments-log.md).
    """
    if runtime.has_gpu():
        return _neighbors(rows, units, count)[0].astype(np.int64)
    import faiss

    index = faiss.IndexFlatIP(units.shape[1])
    index.add(units)
    with threadpool_limits(runtime.threads(), "openmp"):
        found: NDArray[np.int64] = index.search(rows, count)[1]
    return found


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1, their mean taken off; in place."""
    features -= features.mean(axis=0)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return features


def _graph(units: NDArray[np.float32], n_neighbors: int) -> scipy.sparse.csr_matrix:
    """The symmetric, normalised adjacency D^(-1/2) W D^(-1/2) of the neighbour graph."""
    n = len(units)
    nearest, cosines = _neighbors(units, units, n_neighbors + 1)  # a row is its own nearest
    weights = scipy.sparse.csr_matrix(
        (
            np.maximum(cosines, 0).ravel() ** SHARPNESS,
            nearest.ravel(),
            np.arange(0, nearest.size + 1, n_neighbors + 1),
        ),
        shape=(n, n),
    )
    weights -= scipy.sparse.diags(weights.diagonal())
    weights = weights.maximum(weights.T)
    scale = 1 / np.sqrt(np.maximum(np.asarray(weights.sum(axis=1)).ravel(), 1e-12))
    diagonal = scipy.sparse.diags(scale)
    return scipy.sparse.csr_matrix(diagonal @ weights @ diagonal)


def _neighbors(
    rows: NDArray[np.float32], units: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Of each row, the `count` nearest of `units` and their cosines, both [len(rows), count].

    By TensorFlow, on its threads or GPU: a third of the time of scikit-learn's brute force.
    """
    every = tf.constant(units)

    def search(part: NDArray[np.float32]) -> Any:
        return tf.math.top_k(tf.matmul(part, every, transpose_b=True), count)

    with ThreadPoolExecutor(runtime.at_once()) as pool:
        found = list(pool.map(search, np.array_split(rows, -(-len(rows) // BLOCK))))
    cosines = np.concatenate([part.values.numpy() for part in found])
    return np.concatenate([part.indices.numpy() for part in found]), cosines


def most_confident(probabilities: NDArray[np.float32], share: float) -> NDArray[np.int32]:
    """Predicted classes int32 [n] of the given share of each class's surest rows, -1 elsewhere.

    Rows of zeros have no class.
    """
    classes, sureness = probabilities.argmax(axis=1), probabilities.max(axis=1)
    kept = np.full(len(classes), -1, np.int32)
    for number in np.unique(classes):
        members = np.flatnonzero((classes == number) & (sureness > 0))
        surest = members[np.argsort(-sureness[members], kind="stable")]
        kept[surest[: int(np.ceil(share * len(members)))]] = number
    return kept
