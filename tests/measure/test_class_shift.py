"""The pool's classes are estimated, and an equal mix is not taken for another: on real digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline.measure import class_shift

FEATURES, CLASSES = load_digits(return_X_y=True)
EQUAL = np.full(10, 0.1)
SLOPE = 2.0 ** -np.linspace(0, 3, 10)


def drawn(labels_per_class, weights, seed):
    """Labelled rows of each class alike, and a pool in the given mix of the others."""
    random = np.random.default_rng(seed)
    of_class = [random.permutation(np.flatnonzero(k == CLASSES)) for k in range(10)]
    known = np.concatenate([rows[:labels_per_class] for rows in of_class])
    others = [rows[labels_per_class:] for rows in of_class]
    few = min(map(len, others))
    counts = (weights / weights.max() * few).astype(int)
    pool = np.concatenate([rows[:count] for rows, count in zip(others, counts, strict=True)])
    return known, pool, counts / counts.sum()


def found(labels_per_class, weights, seed):
    known, pool, true = drawn(labels_per_class, weights, seed)
    arguments = FEATURES[known], CLASSES[known], FEATURES[pool], EQUAL, seed
    return class_shift.of_pool(*arguments), true


def test_an_equal_mix_is_seldom_denied():
    values = np.array([found(10, np.ones(10), seed)[0].p_value for seed in range(30)])
    assert np.mean(values < 0.05) <= 0.1
    assert values.min() > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_another_mix_is_noticed_and_estimated(seed):
    shift, true = found(20, SLOPE, seed)
    assert shift.p_value < 1e-3
    assert np.abs(shift.shares - true).sum() / 2 < 0.1 < np.abs(0.1 - true).sum() / 2
    assert shift.shares.sum() == pytest.approx(1, abs=1e-5)
    assert shift.shares.min() > 0


def test_the_labels_own_mix_is_what_is_asked_about():
    """Labels in the pool's own unequal mix are not denied."""
    known, pool, true = drawn(60, SLOPE, 0)
    kept = np.concatenate([known[CLASSES[known] == k][: int(60 * SLOPE[k])] for k in range(10)])
    balance = np.bincount(CLASSES[kept]) / len(kept)
    shift = class_shift.of_pool(FEATURES[kept], CLASSES[kept], FEATURES[pool], balance, 0)
    assert shift.p_value > 0.01
    assert np.abs(shift.shares - true).sum() / 2 < 0.08


def test_the_same_seed_finds_the_same():
    first, second = (found(10, SLOPE, 4)[0] for _ in range(2))
    assert first.p_value == second.p_value
    np.testing.assert_array_equal(first.shares, second.shares)


def test_of_too_few_labels_nothing_is_said():
    assert found(class_shift.FEWEST - 1, SLOPE, 0)[0] is None
