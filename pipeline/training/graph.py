"""Labels spread over a graph of near neighbours, from a few labelled images to all.

Zhou et al. 2004, "Learning with local and global consistency", on features that were learned
without labels. scikit-learn's LabelSpreading has the same equation, but its neighbour graph is
directed and unweighted: on MNIST it errs twice as often on the same features.
"""

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

CLAMPING = 0.99  # alpha: share of a label that comes from the neighbours at each turn
TURNS = 50
SHARPNESS = 3  # the edges' weight is the cosine to this power, as in Iscen et al. 2019


def spread_labels(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_balance: NDArray[np.float32],
    *,
    largest: int,
    n_neighbors: int = 10,
) -> NDArray[np.float32]:
    """Class probabilities of every row of features, float32 [n, K].

    Args:
        features: float32 [n, d]; compared by the cosine after their mean is taken off.
        labels: int64 [n] in 0..K-1, -1 = unknown; known ones come first.
        class_balance: share of each class, [K]; each class gets as much mass in all (class mass
            normalisation, Zhu et al. 2003).
        largest: rows in the graph, the first ones; the others take the mean of their neighbours
            among them, because the graph's cost grows with the square of its rows.
        n_neighbors: edges of a row, fewer if there are not as many rows.
    """
    units = _unit(features)
    inside, outside = units[:largest], units[largest:]
    probabilities = _spread(inside, labels[:largest], class_balance, n_neighbors)
    if not len(outside):
        return probabilities
    search = NearestNeighbors(n_neighbors=min(n_neighbors, len(inside)), algorithm="brute")
    nearest = search.fit(inside).kneighbors(outside, return_distance=False)
    return np.concatenate([probabilities, probabilities[nearest].mean(axis=1)])


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length 1, their mean taken off: their Euclidean distances order as cosines do."""
    centred = features - features.mean(axis=0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1e-12), np.float32)


def _spread(
    units: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_balance: NDArray[np.float32],
    n_neighbors: int,
) -> NDArray[np.float32]:
    n, n_classes = len(units), len(class_balance)
    known = np.flatnonzero(labels >= 0)
    seeds = np.zeros((n, n_classes), np.float32)
    seeds[known, labels[known]] = 1.0
    graph = _graph(units, min(n_neighbors, n - 1))
    mass = seeds
    for _ in range(TURNS):
        mass = CLAMPING * (graph @ mass) + (1 - CLAMPING) * seeds
    mass = mass * (class_balance / np.maximum(mass.sum(axis=0), 1e-12))
    total = mass.sum(axis=1, keepdims=True)
    return np.where(total > 0, mass / np.maximum(total, 1e-12), class_balance).astype(np.float32)


def _graph(units: NDArray[np.float32], n_neighbors: int) -> scipy.sparse.csr_matrix:
    """The symmetric, normalised adjacency D^(-1/2) W D^(-1/2) of the neighbour graph."""
    search = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(units)
    weights = search.kneighbors_graph(mode="distance").astype(np.float32)
    weights.data = np.maximum(1 - weights.data**2 / 2, 0) ** SHARPNESS
    weights = weights.maximum(weights.T)
    scale = 1 / np.sqrt(np.maximum(np.asarray(weights.sum(axis=1)).ravel(), 1e-12))
    diagonal = scipy.sparse.diags(scale)
    return scipy.sparse.csr_matrix(diagonal @ weights @ diagonal)


def most_confident(probabilities: NDArray[np.float32], share: float) -> NDArray[np.int32]:
    """Predicted classes int32 [n] of the given share of each class's surest rows, -1 elsewhere."""
    classes, sureness = probabilities.argmax(axis=1), probabilities.max(axis=1)
    kept = np.full(len(classes), -1, np.int32)
    for number in np.unique(classes):
        members = np.flatnonzero(classes == number)
        surest = members[np.argsort(-sureness[members], kind="stable")]
        kept[surest[: int(np.ceil(share * len(members)))]] = number
    return kept
