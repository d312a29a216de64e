"""Whether two sets of images come from one distribution, by a classifier that tries to tell."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

MOST = 1000  # rows of each set that are looked at
LEAST = 10  # rows of each set, below which nothing is said


def told_apart(
    first: NDArray[np.floating], second: NDArray[np.floating], seed: int
) -> tuple[float, float]:
    """Classifier two-sample test (Lopez-Paz & Oquab 2017, ICLR, section 3).

    As many rows of features [n, d] and [m, d] are drawn from both sets. A support vector machine
    (RBF) is trained on one half of them and asked about the other, so that its answers are
    independent.

    Returns:
        The share of rows that it gives to their own set, in [0, 1] (0.5 = by chance), and the
        one-sided p-value of it under chance; (0.5, 1.0) if a set has fewer than `LEAST` rows.
    """
    n = min(len(first), len(second), MOST)
    if n < LEAST:
        return 0.5, 1.0
    random = np.random.default_rng(seed)
    rows = np.concatenate([part[random.permutation(len(part))[:n]] for part in (first, second)])
    which = np.repeat([0, 1], n)
    classifier = make_pipeline(StandardScaler(), SVC())
    halves = train_test_split(rows, which, test_size=0.5, random_state=seed, stratify=which)
    trained, asked, answers, truth = halves
    right = int((classifier.fit(trained, answers).predict(asked) == truth).sum())
    test = stats.binomtest(right, len(truth), 0.5, alternative="greater")
    return right / len(truth), float(test.pvalue)


def unlabelled_compared(
    features: NDArray[np.floating], unknown: NDArray[np.bool_], seed: int
) -> dict[str, float]:
    """How well images without a known label are told from those with one.

    Nothing if all have one, or if there are fewer than `LEAST` of either.

    features [n, d] of images; unknown, bool [n], marks those whose label nobody knows.
    """
    if min(unknown.sum(), (~unknown).sum()) < LEAST:
        return {}
    share, p_value = told_apart(features[~unknown], features[unknown], seed)
    return {"unlabelled_told_apart": share, "unlabelled_p_value": p_value}
