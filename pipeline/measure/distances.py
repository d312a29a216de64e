"""How far two sets of feature vectors are apart: KID, density and coverage, signs of copies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

GROUPS = 10  # that the jackknife leaves out one by one
NEIGHBOURS = 5  # k of density and coverage, as in Naeem et al. 2020
ROWS = 1000  # at once
TIE = 1e-5


def kid(
    real: NDArray[np.float32],
    fake: NDArray[np.float32],
    classes: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
    groups: int = GROUPS,
) -> tuple[float, float]:
    """Kernel inception distance of features [n, d] and [m, d]: value and standard error.

    The unbiased MMD² with the kernel (x·y/d + 1)³ (Bińkowski et al. 2018, arXiv 1801.01401) of all
    rows, so n and m need not be equal. Negative values are chance.

    `classes`, int64 [n] and [m], are given where fake rows were drawn in the shares of the real
    ones: such sets are more alike than two independent draws. The estimate is then that of
    stratified samples; without it, KID would be about −0.01 for a perfect generator of digits. It
    needs two rows of a class: classes with one are taken to be like the others, and where most rows
    are such, the value is NaN.

    The standard error is that of a jackknife: group g, every `groups`-th row of both sets from the
    g-th on, by class if there are `classes`, is left out. It covers the choice of both sets; it is
    somewhat too large rather than too small. Rows of each set must be in an order that makes the
    groups alike. Costs (n + m)·d³. Raises ValueError with fewer than 4 rows in a set.
    """
    groups = min(groups, len(real) // 2, len(fake) // 2)
    if groups < 2:
        raise ValueError(f"kid needs 4 rows of each set, got {len(real)} and {len(fake)}")
    if classes is not None:
        orders = [np.argsort(labels, kind="stable") for labels in classes]
        real, fake = real[orders[0]], fake[orders[1]]
        classes = classes[0][orders[0]], classes[1][orders[1]]
    # Small products: BLAS threads that wait for each other on a busy machine, as in a search with
    # several workers, make this twenty times slower than one thread.
    with threadpool_limits(limits=1, user_api="blas"):
        sets = [[_Embedded.of(rows[g::groups]) for g in range(groups)] for rows in (real, fake)]
        totals = [_Embedded.total(parts) for parts in sets]
        without = [
            _squared_mmd(*(whole - parts[g] for whole, parts in zip(totals, sets, strict=True)))
            for g in range(groups)
        ]
        value = _squared_mmd(*totals)
        for whole, rows, labels in zip(totals, (real, fake), classes or (), strict=False):
            value += (_within_classes(rows, labels) - whole.within) / whole.n
    return value, float(np.sqrt((groups - 1) * np.var(without)))


def _within_classes(rows: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean kernel of two different rows of one class, over the classes by their shares.

    NaN if for most rows there is no other of their class.
    """
    total, seen = 0.0, 0
    for label in np.unique(labels):
        every = rows[labels == label]
        some = every[:: -(-len(every) // ROWS)]  # a mean of a million pairs is exact enough
        if len(some) > 1:
            total += len(every) * _Embedded.of(some).within
            seen += len(every)
    return total / seen if 2 * seen >= len(rows) else float("nan")


class _Embedded:
    """Rows in the kernel's own feature space, summed up: products of sums are sums of kernels."""

    def __init__(self, n: int, vector: NDArray[np.float64], diagonal: float) -> None:
        self.n, self.vector, self.diagonal = n, vector, diagonal  # diagonal: Σ k(x, x)

    @classmethod
    def of(cls, rows: NDArray[np.float32]) -> _Embedded:
        """(x·y/d + 1)³ = 1 + 3 x·y/d + 3 (x·y)²/d² + (x·y)³/d³, each power an inner product."""
        n, d = rows.shape
        first, second, third = np.zeros(d), np.zeros((d, d)), np.zeros((d * d, d))
        diagonal = 0.0
        for begin in range(0, n, ROWS):
            # float64: the result is a small difference of large sums.
            x = rows[begin : begin + ROWS].astype(np.float64) / np.sqrt(d)
            first += x.sum(axis=0)
            second += x.T @ x
            third += (x[:, :, None] * x[:, None, :]).reshape(len(x), -1).T @ x
            diagonal += float(((np.square(x).sum(axis=1) + 1) ** 3).sum())
        powers = (np.sqrt(3) * first, np.sqrt(3) * second.ravel(), third.ravel())
        return cls(n, np.concatenate([[float(n)], *powers]), diagonal)

    @classmethod
    def total(cls, parts: Sequence[_Embedded]) -> _Embedded:
        return cls(
            sum(part.n for part in parts),
            np.sum([part.vector for part in parts], axis=0),
            sum(part.diagonal for part in parts),
        )

    def __sub__(self, other: _Embedded) -> _Embedded:
        return _Embedded(
            self.n - other.n, self.vector - other.vector, self.diagonal - other.diagonal
        )

    @property
    def within(self) -> float:
        """Mean kernel of two different rows."""
        return float(self.vector @ self.vector - self.diagonal) / (self.n * (self.n - 1))


def _squared_mmd(x: _Embedded, y: _Embedded) -> float:
    """Unbiased squared maximum mean discrepancy."""
    return x.within + y.within - 2 * float(x.vector @ y.vector) / (x.n * y.n)


def radii(real: NDArray[np.float32], k: int = NEIGHBOURS) -> NDArray[np.float32]:
    """Of each row [n, d] the distance to its k-th nearest other row, [n].

    Raises ValueError when there are no more than k rows.
    """
    if len(real) <= k:
        raise ValueError(f"need more than k={k} real rows, got {len(real)}")
    neighbours = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(real)
    # Without an argument a row is not its own neighbour.
    return np.asarray(neighbours.kneighbors()[0][:, -1], np.float32)


def rows_in_balls(
    real: NDArray[np.float32], radii: NDArray[np.float32], fake: NDArray[np.float32]
) -> NDArray[np.int64]:
    """How many rows of [m, d] lie in the ball about each row of [n, d], int64 [n]."""

    # |x − y|² < r² as a product of matrices, in blocks: n · m distances of 10,000 images each would
    # take 0.4 GB. A float32 product is exact to about 1e-6, so that ties are kept outside.
    centre = real.mean(axis=0)
    real, fake = real - centre, fake - centre
    limits = np.square(radii) * np.float32(1 - TIE) - np.square(real).sum(axis=1)
    lengths, counts = np.square(fake).sum(axis=1), np.empty(len(real), np.int64)
    for begin in range(0, len(real), ROWS):
        block = slice(begin, begin + ROWS)
        squares = real[block] @ (-2 * fake.T)
        squares += lengths
        counts[block] = (squares < limits[block, None]).sum(axis=1)
    return counts


def density_coverage(
    real: NDArray[np.float32],
    radii: NDArray[np.float32],
    sets: Sequence[NDArray[np.float32]],
    k: int = NEIGHBOURS,
) -> dict[str, float]:
    """Density and coverage of features [n, d] by sets [m, d] (Naeem et al. 2020, arXiv 2002.09797).

    Each real row has a ball of its `radii`. Density: balls a fake row lies in, divided by k, on
    average. Coverage: share of balls that hold a fake row of a set; with m = n it is 1 − 2⁻ᵏ =
    0.97 for sets of one source, with fewer rows it is lower. Both are means over the sets;
    `…_se` are their standard errors over the choice of sets and of real rows, as of crossed
    random effects. Raises ValueError without a set or a row.
    """
    if not sets or min(map(len, sets)) == 0:
        raise ValueError("density and coverage need at least one set with at least one row")
    counts = np.stack([rows_in_balls(real, radii, fake) for fake in sets])  # [sets, n]
    sizes = np.array([len(fake) for fake in sets])[:, None]
    found = {"density": counts * len(real) / (k * sizes), "coverage": (counts > 0).astype(float)}
    metrics = {}
    for name, values in found.items():
        metrics[name] = float(values.mean())
        squares = np.var(values.mean(axis=0)) / len(real)
        if len(sets) > 1:
            squares += np.var(values.mean(axis=1), ddof=1) / len(sets)
        metrics[f"{name}_se"] = float(np.sqrt(squares))
    return metrics


def nearest(
    features: NDArray[np.float32], training: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Of each row [n, d] the nearest row of [m, d]: its place [n], and how far it is [n]."""
    places, distances = pairwise_distances_argmin_min(features, training)
    return places.astype(np.int64), distances.astype(np.float32)


def nearer(distances: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """How often one of [n] is smaller than one of [m], equal ones counted half: 0 to 1."""
    statistic = mannwhitneyu(others, distances).statistic
    return float(statistic / (len(distances) * len(others)))
