"""How good generated images are, measured in the features of a classifier of the same data.

In: real and generated uint8 images [n, h, w, c]. Out: a few numbers. Inception features know
photographs, not digits or scans, so the features come from `scorer.domain_scorer`. Numbers of
different scorers (another data digest or `scorer.VERSION`) do not compare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_chunked
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

KID_SUBSETS = 100  # as in Bińkowski et al. 2018
KID_SUBSET_SIZE = 500
CAS_SAMPLES = 5000  # the cost of an SVC grows with the square of its samples


@dataclass(frozen=True)
class SampleQuality:
    """One set of samples against one set of real images.

    `metrics`: kid (0 = same distribution, can be negative), kid_se (its standard error),
    density (about 1 = as dense as the real images, can exceed 1), coverage [0, 1], cas_error
    [0, 1], n (samples measured).
    """

    metrics: dict[str, float]


def measure(
    real_images: NDArray[np.uint8],
    fake_images: NDArray[np.uint8],
    fake_labels: NDArray[np.int64],
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.int64],
    features: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    seed: int,
) -> SampleQuality:
    """Measure images [m, h, w, c] and their labels [m] against real images [n, h, w, c].

    `features` comes from `scorer.domain_scorer`. KID uses subsets of at most half of the smaller
    set, so that they differ. Raises ValueError with fewer than 6 real or 4 generated images.
    """
    real, fake = features(real_images), features(fake_images)
    subset_size = min(KID_SUBSET_SIZE, len(real) // 2, len(fake) // 2)
    kid_mean, kid_se = kid(real, fake, KID_SUBSETS, subset_size, np.random.default_rng(seed))
    density, coverage = density_coverage(real, fake)
    cas_error = classification_accuracy_score(
        fake_images, fake_labels, test_images, test_labels, seed
    )
    return SampleQuality(
        {
            "kid": kid_mean,
            "kid_se": kid_se,
            "density": density,
            "coverage": coverage,
            "cas_error": cas_error,
            "n": float(len(fake_images)),
        }
    )


def kid(
    real: NDArray[np.float32],
    fake: NDArray[np.float32],
    subsets: int,
    subset_size: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Kernel inception distance of features [n, d] and [m, d]: mean and standard error.

    The unbiased MMD² with the kernel (x·y/d + 1)³, averaged over random subsets drawn without
    replacement (Bińkowski et al. 2018, arXiv 1801.01401). Negative values are chance. The standard
    error treats the subsets as independent; it is too small when they overlap much.
    Raises ValueError when fewer than 2 subsets are asked for or a subset holds fewer than 2 rows
    or more than there are.
    """
    if subsets < 2 or not 2 <= subset_size <= min(len(real), len(fake)):
        raise ValueError(
            f"kid needs subsets >= 2 and 2 <= subset_size <= rows, got subsets={subsets}, "
            f"subset_size={subset_size}, rows {len(real)} and {len(fake)}"
        )
    # Hundreds of small products: BLAS threads that wait for each other on a busy machine, as in a
    # search with several workers, make this twenty times slower than one thread.
    with threadpool_limits(limits=1, user_api="blas"):
        values = [
            _squared_mmd(
                rng.choice(real, subset_size, replace=False),
                rng.choice(fake, subset_size, replace=False),
            )
            for _ in range(subsets)
        ]
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(subsets))


def _squared_mmd(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Unbiased squared maximum mean discrepancy of two [m, d] samples of equal size."""
    kernel = partial(polynomial_kernel, degree=3, gamma=1 / x.shape[1], coef0=1)
    # float64: the result is a small difference of large sums.
    x64, y64, m = x.astype(np.float64), y.astype(np.float64), len(x)
    k_xx, k_yy = kernel(x64), kernel(y64)
    within = k_xx.sum() - k_xx.trace() + k_yy.sum() - k_yy.trace()
    return float(within / (m * (m - 1)) - 2 * kernel(x64, y64).mean())


def density_coverage(
    real: NDArray[np.float32], fake: NDArray[np.float32], k: int = 5
) -> tuple[float, float]:
    """Density and coverage of features [n, d] and [m, d] (Naeem et al. 2020, arXiv 2002.09797).

    Each real row has a ball that reaches to its k-th nearest other real row. Density: balls a fake
    row lies in, divided by k, on average. Coverage: share of balls that hold a fake row.
    Raises ValueError when there are no more than k real rows or no fake row.
    """
    if len(real) <= k or len(fake) == 0:
        raise ValueError(
            f"need more than k={k} real rows and a fake one, got {len(real)}, {len(fake)}"
        )
    neighbours = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(real)
    radii = neighbours.kneighbors()[0][:, -1]  # without an argument a row is not its own neighbour

    def count(distances: NDArray[np.float32], start: int) -> NDArray[np.int64]:
        inside = distances < radii[start : start + len(distances), None]
        return np.asarray(inside.sum(axis=1))

    # In chunks, because n · m distances of 10,000 images each would take 0.8 GB.
    fakes_in_ball = np.concatenate(list(pairwise_distances_chunked(real, fake, reduce_func=count)))
    return float(fakes_in_ball.sum() / (k * len(fake))), float((fakes_in_ball > 0).mean())


def classification_accuracy_score(
    fake_images: NDArray[np.uint8],
    fake_labels: NDArray[np.int64],
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.int64],
    seed: int,
) -> float:
    """Error rate on real test images of a classifier that has seen samples only.

    1 − the classification accuracy score (Ravuri & Vinyals 2019, arXiv 1905.10887), with an
    RBF-SVM (C = 10, gamma = 1 / (pixels · variance), scikit-learn's "scale") on pixels in [0, 1].
    Images are uint8 [m, h, w, c], labels int64 [m]. More than CAS_SAMPLES samples are thinned at
    random by `seed`. Raises ValueError when there is no sample or no test image.
    """
    if len(fake_images) == 0 or len(test_images) == 0:
        raise ValueError(f"need images, got {len(fake_images)} samples, {len(test_images)} test")
    if len(fake_images) > CAS_SAMPLES:
        kept = np.random.default_rng(seed).choice(len(fake_images), CAS_SAMPLES, replace=False)
        fake_images, fake_labels = fake_images[kept], fake_labels[kept]
    if len(np.unique(fake_labels)) == 1:  # a collapsed generator; an SVC would refuse one class
        return float((test_labels != fake_labels[0]).mean())
    fake, test = _pixels(fake_images), _pixels(test_images)
    # The kernel by matrix product instead of libsvm's loop: the same model, five times faster.
    gamma = 1 / (fake.shape[1] * max(float(fake.var()), 1e-12))
    classifier = SVC(C=10, kernel=partial(rbf_kernel, gamma=gamma)).fit(fake, fake_labels)
    blocks = np.array_split(test, -(-len(test) // 2000))  # bounds the kernel matrix to 80 MB
    predicted = np.concatenate([classifier.predict(block) for block in blocks])
    return float((predicted != test_labels).mean())


def _pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images [n, h, w, c] as rows [n, h·w·c] in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
