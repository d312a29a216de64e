"""Random numbers are those of their seed and draw, compiled by XLA or not."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.ops.devices import Random


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (-0.09, 0.09), (3.0, 7.5)])
def test_uniform_numbers_are_tensorflows_and_xlas_are_the_same(low, high):
    plain, compiled = Random(5), Random(5)
    draw = tf.function(lambda: compiled.uniform([50, 7], low, high), jit_compile=True)
    for turn in (1, 2):
        numbers = plain.uniform([50, 7], low, high).numpy()
        wanted = tf.random.stateless_uniform([50, 7], [5, turn], low, high)
        np.testing.assert_array_equal(numbers, wanted)
        np.testing.assert_allclose(draw(), numbers, rtol=1e-6, atol=1e-7)


def test_noise_is_the_same_under_xla():
    plain, compiled = Random(5), Random(5)
    draw = tf.function(lambda: compiled.noise([9, 7], 0.3), jit_compile=True)
    np.testing.assert_allclose(draw(), plain.noise([9, 7], 0.3), atol=1e-7)
