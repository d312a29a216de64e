import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from pipeline.measure.classification import measure, paired_difference, wilson

NAMES = ("cat", "dog", "owl")


def rows(*probabilities):
    return np.array(probabilities, np.float32)


def labels(*values):
    return np.array(values, np.int64)


def test_a_sure_and_right_classifier_has_no_error_of_any_kind():
    metrics = measure(np.eye(3, dtype=np.float32), labels(0, 1, 2), NAMES).metrics
    assert metrics["error"] == metrics["ece"] == metrics["error_low"] == 0
    assert metrics["accuracy"] == metrics["macro_f1"] == 1
    assert metrics["nll"] == pytest.approx(0, abs=1e-12)
    assert 0.5 < metrics["error_high"] < 0.6  # three images say little


def test_a_case_computed_by_hand():
    probs = rows([0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8])
    result = measure(probs, labels(0, 1, 1, 2), NAMES)
    assert result.metrics["error"] == 0.25
    # Confidences 0.7 (right) and 0.7 (right), 0.6 (wrong), 0.8 (right): bins 11, 9 and 12.
    assert result.metrics["ece"] == pytest.approx((2 * 0.3 + 0.6 + 0.2) / 4, abs=1e-6)
    assert result.metrics["nll"] == pytest.approx(-np.log([0.7, 0.3, 0.7, 0.8]).mean(), abs=1e-6)
    assert result.metrics["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert result.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    dog = result.per_class.set_index("class").loc["dog"]
    assert (dog["n"], dog["error"], dog["precision"], dog["recall"]) == (2, 0.5, 1, 0.5)
    mistake = result.predictions.loc[1]
    assert (mistake["index"], mistake["label"], mistake["predicted"]) == (1, 1, 0)
    assert (mistake["confidence"], mistake["p_label"]) == pytest.approx((0.6, 0.3))
    assert result.reliability["n"].tolist() == [0] * 9 + [1, 2, 1, 0, 0, 0]


@pytest.mark.filterwarnings("error")
def test_a_class_without_test_images_is_reported_as_unknown():
    result = measure(rows([0.9, 0.1, 0], [0.2, 0.8, 0]), labels(0, 1), NAMES)
    owl = result.per_class.set_index("class").loc["owl"]
    assert owl["n"] == 0
    assert owl[["error", "precision", "recall", "f1"]].isna().all()
    assert (owl["error_low"], owl["error_high"]) == (0, 1)
    assert result.metrics["macro_f1"] == 1
    assert result.confusion.shape == (3, 3)


def test_one_mistake_taken_for_an_untested_class_weighs_as_any_other():
    y = np.repeat(np.arange(9), 100)
    within, beyond = y.copy(), y.copy()
    within[0], beyond[0] = 8, 9
    names = [str(k) for k in range(10)]
    found = [
        measure(np.eye(10, dtype=np.float32)[predicted], y, names).metrics["macro_f1"]
        for predicted in (within, beyond)
    ]
    assert abs(found[0] - found[1]) < 0.01
    assert min(found) > 0.99


@pytest.mark.filterwarnings("error")
def test_the_parts_agree_with_each_other_on_real_digits():
    images, y = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(images[:150] / 16, y[:150])
    probs = model.predict_proba(images[150:] / 16).astype(np.float32)
    result = measure(probs, y[150:], [str(k) for k in range(10)])
    metrics, per_class = result.metrics, result.per_class
    n = len(probs)
    assert metrics["error_low"] < metrics["error"] < metrics["error_high"]
    assert np.trace(result.confusion) / n == pytest.approx(metrics["accuracy"])
    assert (per_class["error"] * per_class["n"]).sum() / n == pytest.approx(metrics["error"])
    assert result.reliability["n"].sum() == n
    right = result.predictions["label"] == result.predictions["predicted"]
    assert right.mean() == pytest.approx(metrics["accuracy"])
    # A linear model of 150 digits is right more often than it thinks: the ECE is that gap.
    gap = abs(right.mean() - result.predictions["confidence"].mean())
    assert gap - 1e-9 <= metrics["ece"] < gap + 0.05


def test_wilson_is_the_interval_of_the_score_test_and_knows_nothing_without_images():
    low, high = wilson(1, 10)
    for bound in (low, high):  # where the score statistic reaches the 97.5 % normal quantile
        assert abs(0.1 - bound) / np.sqrt(bound * (1 - bound) / 10) == pytest.approx(1.96, abs=1e-3)
    assert low < 0.1 < high
    assert wilson(0, 0) == (0, 1)
    assert wilson(5, 100, level=0.5)[0] > wilson(5, 100)[0]
    with pytest.raises(ValueError, match="errors=11"):
        wilson(11, 10)


@pytest.mark.parametrize(
    ("probs", "y", "message"),
    [
        (rows([2.0, -1.0, 0.0]), labels(0), "logits"),
        (rows([0.5, 0.1, 0.1]), labels(0), "sum to 1"),
        (rows([np.nan, 0.5, 0.5]), labels(0), "finite"),
        (rows([0.5, 0.5]), labels(0), "shape"),
        (rows([1, 0, 0]), labels(0, 1), "shape"),
        (rows([1, 0, 0]), labels(-1), "labels"),
        (rows([1, 0, 0]), labels(3), "labels"),
        (np.zeros((0, 3), np.float32), labels(), "nothing"),
    ],
)
def test_inputs_that_would_give_a_wrong_number_are_refused(probs, y, message):
    with pytest.raises(ValueError, match=message):
        measure(probs, y, NAMES)


def test_the_paired_interval_of_a_difference():
    wrong = np.zeros((2, 100), bool)
    wrong[0, :12] = True  # ten images that only the first gets wrong, two that both do
    wrong[1, 10:15] = True  # three that only the second does
    low, high = paired_difference(*wrong)
    # By hand: (10.5 − 3.5) / 102 ± 1.96 · sqrt(14 / 102 − (7 / 102)²) / sqrt(102)
    assert (low, high) == pytest.approx((-0.002026, 0.139281), abs=1e-5)
    assert paired_difference(*wrong[::-1]) == pytest.approx((-high, -low))
    same = paired_difference(wrong[0], wrong[0])
    assert same[0] < 0 < same[1]


def test_the_paired_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    shares = [0.9, 0.06, 0.03, 0.01]  # both right, only the first wrong, only the second, both
    covered = 0
    for _ in range(400):
        outcome = random.choice(4, 300, p=shares)
        low, high = paired_difference((outcome == 1) | (outcome == 3), outcome >= 2)
        covered += low <= 0.03 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_a_sure_mistake_costs_what_it_says():
    probs = rows([1e-30, 1.0, 0.0], [0.0, 1.0, 0.0])
    costs = -np.log([1e-30, np.finfo(np.float32).tiny])
    assert measure(probs, labels(0, 0), NAMES).metrics["nll"] == pytest.approx(costs.mean())
