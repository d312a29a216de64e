"""How good a classifier is, and how sure we are of it.

In: class probabilities and true labels of one test set. Out: metrics, a per-class table, the
confusion matrix, the reliability table and one row per image. TensorFlow-free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sk

RELIABILITY_BINS = 15  # Guo et al. 2017, section 5
ROW_SUM_TOLERANCE = 1e-3  # a softmax in float16 still passes, logits do not


@dataclass(frozen=True)
class Classification:
    """One classifier on one test set. All shares lie in [0, 1].

    `metrics`: error, accuracy, macro_f1, nll (nats), ece, error_low, error_high (the 95 % Wilson
    interval of the error).
    `per_class`: class, n, error, error_low, error_high, precision, recall, f1; one row per class,
    NaN where a value is undefined (no image of the class, class never predicted).
    `confusion`: int64 [K, K], rows = true class, columns = predicted class.
    `reliability`: low, high, n, confidence, accuracy of 15 equal-width bins of confidence; NaN in
    an empty bin.
    `predictions`: index (position in the test set), file (if the images have one each), label,
    predicted, class and predicted_class (their names), confidence (largest probability), p_label
    (probability given to the true class).
    """

    metrics: dict[str, float]
    per_class: pd.DataFrame
    confusion: NDArray[np.int64]
    reliability: pd.DataFrame
    predictions: pd.DataFrame


def measure(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    files: Sequence[str] = (),
) -> Classification:
    """Measure class probabilities [n, K] against the true labels [n] in [0, K).

    files: names of the images' files, [n], if they have any.

    Macro-F1 is the mean over the classes that have test images.
    Raises ValueError when shapes disagree, a probability is not finite or not in [0, 1], a row
    does not sum to 1, a label is out of range, or n is 0.
    """
    probs = _checked(probabilities, labels, class_names)
    predicted = probs.argmax(axis=1)
    # scikit-learn's log_loss would take every probability below 2e-16 for that.
    right = probs[np.arange(len(labels)), labels]
    confidence = probs.max(axis=1)
    errors = int((predicted != labels).sum())
    low, high = wilson(errors, len(labels))
    reliability = _reliability(confidence, predicted == labels)
    return Classification(
        metrics={
            "error": errors / len(labels),
            "accuracy": 1 - errors / len(labels),
            "macro_f1": _macro_f1(labels, predicted),
            "nll": float(-np.log(np.maximum(right, np.finfo(np.float32).tiny)).mean()),
            "ece": _expected_calibration_error(reliability),
            "error_low": low,
            "error_high": high,
        },
        per_class=_per_class(labels, predicted, class_names),
        confusion=sk.confusion_matrix(labels, predicted, labels=range(len(class_names))),
        reliability=reliability,
        predictions=pd.DataFrame(
            {
                "index": np.arange(len(labels)),
                **({"file": list(files)} if len(files) else {}),
                "label": labels,
                "predicted": predicted,
                "class": np.asarray(class_names, object)[labels],
                "predicted_class": np.asarray(class_names, object)[predicted],
                "confidence": confidence,
                "p_label": right,
            }
        ),
    )


def wilson(errors: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) of an error rate; (0, 1) when n is 0: nothing is known.

    Raises ValueError unless 0 <= errors <= n and 0 < level < 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    if not 0 <= errors <= n:
        raise ValueError(f"errors must lie in [0, n], got errors={errors}, n={n}")
    if n == 0:
        return 0.0, 1.0
    interval = stats.binomtest(errors, n).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], level: float = 0.95
) -> tuple[float, float]:
    """Interval of the difference of two error rates on the same images.

    first, second: bool [n], n ≥ 1, where each of two classifiers is wrong. The interval of error
    of the first minus error of the second is Wald's after half an image is added to each of the
    four outcomes (Agresti & Min 2005, Statistics in Medicine 24, section 3).
    """
    n = len(first) + 2
    alone = [(first & ~second).sum() + 0.5, (second & ~first).sum() + 0.5]
    centre = (alone[0] - alone[1]) / n
    spread = np.sqrt((alone[0] + alone[1]) / n - centre**2) / np.sqrt(n)
    z = stats.norm.ppf(0.5 + level / 2)
    return max(-1.0, float(centre - z * spread)), min(1.0, float(centre + z * spread))


def _checked(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], class_names: Sequence[str]
) -> NDArray[np.float64]:
    """Refuse inputs that would give a wrong number; return the rows normalised in float64."""
    n, K = len(labels), len(class_names)
    if np.shape(labels) != (n,) or np.shape(probabilities) != (n, K):
        raise ValueError(
            f"probabilities must have shape [n, K] and labels [n] with K = {K} class names, got "
            f"{np.shape(probabilities)} and {np.shape(labels)}"
        )
    if n == 0 or K < 2:
        raise ValueError(f"nothing to measure: {n} images, {K} classes")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= K:
        raise ValueError(f"labels must be integers in [0, {K}), got {np.unique(labels)}")
    probs = probabilities.astype(np.float64)
    if not np.isfinite(probs).all():
        raise ValueError(f"{int((~np.isfinite(probs)).sum())} probabilities are not finite")
    sums = probs.sum(axis=1)
    if probs.min() < 0 or np.abs(sums - 1).max() > ROW_SUM_TOLERANCE:
        raise ValueError(
            f"rows must be probabilities that sum to 1, got values from {probs.min():g} and sums "
            f"from {sums.min():g} to {sums.max():g} (logits instead of probabilities?)"
        )
    return np.asarray(probs / sums[:, None])


def _macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Mean F1 of the classes that occur among the labels."""
    tested = np.unique(labels)
    return float(sk.f1_score(labels, predicted, labels=tested, average="macro", zero_division=0.0))


def _per_class(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], class_names: Sequence[str]
) -> pd.DataFrame:
    """One row per class; its error is the share of its images given to another class."""
    K = len(class_names)
    precision, recall, f1, n = sk.precision_recall_fscore_support(
        labels, predicted, labels=range(K), zero_division=np.nan
    )
    errors = np.bincount(labels[labels != predicted], minlength=K)
    intervals = [wilson(int(e), int(m)) for e, m in zip(errors, n, strict=True)]
    low, high = zip(*intervals, strict=True)
    return pd.DataFrame(
        {
            "class": list(class_names),
            "n": n,
            "error": 1 - recall,
            "error_low": low,
            "error_high": high,
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    )


def _reliability(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> pd.DataFrame:
    """Mean confidence and accuracy in equal-width bins ((m-1)/M, m/M] (Guo et al. 2017)."""
    edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
    bins = np.digitize(confidence, edges[1:-1], right=True)
    n = np.bincount(bins, minlength=RELIABILITY_BINS)
    filled = np.where(n > 0, n, np.nan)  # an empty bin has no mean
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "n": n,
            "confidence": np.bincount(bins, confidence, RELIABILITY_BINS) / filled,
            "accuracy": np.bincount(bins, correct, RELIABILITY_BINS) / filled,
        }
    )


def _expected_calibration_error(reliability: pd.DataFrame) -> float:
    """Sum over bins of n_b / n · |accuracy_b − confidence_b| (Guo et al. 2017, equation 3)."""
    gap = (reliability["accuracy"] - reliability["confidence"]).abs()
    return float((gap * reliability["n"]).sum() / reliability["n"].sum())  # skips empty bins
