"""Whether images without labels have another mix of classes than the labels, and which.

Black-box shift estimation (Lipton et al. 2018, arXiv 1802.03916): how often a classifier answers
each class on all images is a mixture, in the shares that are asked for, of how often it answers so
on each class's own. The second is counted on labelled images that the classifier has not seen.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

SHARE = "pool_share/"  # and a class's number: the name under which a share is handed on
FOLDS = 3
FEWEST = 5  # labels of each class, below which nothing is said
MOST_LABELS = 3000  # labelled rows that are looked at
MOST = 5000  # other rows
INVERSE_PENALTY = 0.01  # of the logistic regression on standardised features, scikit-learn's C
HALF = 5  # labels of a class that count as much as the shares assumed before
TURNS = 20  # of expectation and maximisation: more would follow the noise of few labels


class ClassShift(NamedTuple):
    """What `of_pool` returns."""

    shares: NDArray[np.float32]  # estimated share of each class in the pool, [K], sum 1
    p_value: float  # of the answers, if the pool's shares were those of the labels


def of_pool(
    labelled: NDArray[np.floating],
    labels: NDArray[np.int64],
    pool: NDArray[np.floating],
    balance: NDArray[np.floating],
    seed: int,
) -> ClassShift | None:
    """Estimate the pool's class shares; None if a class has fewer than `FEWEST` labels.

    Args:
        labelled: features [n, d] of labelled images.
        labels: int64 [n] in 0..K-1.
        pool: features [m, d] of images of the pool.
        balance: share of each class that is assumed, [K].
        seed: draws the folds, and the rows that are looked at if there are many.

    Returns:
        Shares of the greatest likelihood, and the p-value of a chi-square test of `balance`.
    """
    n_classes = len(balance)
    random = np.random.default_rng(seed)
    some = random.permutation(len(labels))[:MOST_LABELS]
    labelled, labels = labelled[some], labels[some]
    pool = pool[random.permutation(len(pool))[:MOST]]
    of_class = np.bincount(labels, minlength=n_classes)
    if n_classes < 2 or of_class.min() < FEWEST or not len(pool):
        return None
    # counts[k, j]: labelled rows of class k that are answered j; answers[j]: of the pool, mean
    counts, answers = np.zeros((n_classes, n_classes)), np.zeros(n_classes)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with threadpool_limits(limits=1, user_api="blas"):  # sums depend on the number of threads
        for known, left_out in folds.split(labelled, labels):
            classifier = make_pipeline(
                StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=300)
            ).fit(labelled[known], labels[known])
            np.add.at(counts, (labels[left_out], classifier.predict(labelled[left_out])), 1)
            answers += np.bincount(classifier.predict(pool), minlength=n_classes) / FOLDS
    confusion = _rows(counts + 0.5 * np.eye(n_classes) + 0.5 / n_classes)
    p_value = _p_value(confusion, counts, answers, np.asarray(balance, float))
    return ClassShift(_mixture(confusion, answers / answers.sum(), of_class, balance), p_value)


def _p_value(
    confusion: NDArray[np.float64],
    counts: NDArray[np.float64],
    answers: NDArray[np.float64],
    balance: NDArray[np.float64],
) -> float:
    """Of a chi-square test that `answers` are the mixture of `confusion` in the given shares.

    What varies is which images happen to be labelled, and which of the pool are looked at. An
    answer that few labelled images have not shown may still come: the variance counts half of one.
    """
    expected = balance @ confusion
    spread = np.diag(expected) - np.outer(expected, expected)
    covariance = spread / answers.sum()
    for share, row, n in zip(balance, _rows(counts + 0.5), counts.sum(axis=1), strict=True):
        covariance += share**2 * (np.diag(row) - np.outer(row, row)) / n
    difference = answers / answers.sum() - expected
    statistic = float(difference @ np.linalg.pinv(covariance, rcond=1e-9) @ difference)
    return float(stats.chi2.sf(statistic, len(balance) - 1))


def _rows(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts as shares of their row."""
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def _mixture(
    confusion: NDArray[np.float64],
    answers: NDArray[np.float64],
    of_class: NDArray[np.int64],
    balance: NDArray[np.floating],
) -> NDArray[np.float32]:
    """Shares [K] whose mixture of `confusion` is likeliest to give `answers`, by EM.

    They are drawn towards `balance`, the more the fewer labels there are of a class.
    """
    shares = np.full(len(answers), 1 / len(answers))
    weight = 1 / (1 + np.median(of_class) / HALF)
    for _ in range(TURNS):
        given = shares[:, None] * confusion
        given /= given.sum(axis=0, keepdims=True)
        found = given @ answers
        shares = found / found.sum()
    return np.asarray((1 - weight) * shares + weight * balance, np.float32)
