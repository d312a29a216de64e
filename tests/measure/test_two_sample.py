"""Two sets of one source are not told apart, two of different sources are."""

import numpy as np
import pytest

from pipeline.measure.two_sample import told_apart


def features(n, seed, moved=0.0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, 200)).astype(np.float32) + moved * (np.arange(200) < 5)


def test_sets_of_one_source_give_small_p_values_as_often_as_chance():
    values = [told_apart(features(60, 2 * i), features(300, 2 * i + 1), i)[1] for i in range(40)]
    assert np.mean(np.array(values) < 0.05) <= 0.15
    assert min(values) > 1e-4


@pytest.mark.parametrize("n", [40, 2000])
def test_sets_that_differ_are_told_apart(n):
    share, p_value = told_apart(features(n, 0), features(500, 1, moved=1.5), 0)
    assert share > 0.7
    assert p_value < 1e-3


def test_of_too_few_rows_nothing_is_said():
    assert told_apart(features(9, 0), features(500, 1, moved=9), 0) == (0.5, 1.0)
