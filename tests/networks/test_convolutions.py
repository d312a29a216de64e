"""Convolutions in forms that are fast on a CPU compute what TensorFlow's own do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.networks.convolutions import DepthwiseConvolution, depthwise_convolution
from pipeline.ops import runtime


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [1, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 8), (12, 9)])
def test_the_depthwise_convolution_has_tensorflows_values_and_gradients(shape, size, stride):
    x = tf.random.stateless_normal([3, *shape, 4], [0, 1])
    kernel = tf.random.stateless_normal([size, size, 4, 1], [0, 2])
    found = []
    for convolution in (
        lambda x, k: depthwise_convolution(x, k, stride),
        lambda x, k: tf.nn.depthwise_conv2d(x, k, [1, stride, stride, 1], "SAME"),
    ):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = tf.function(convolution)(x, kernel)
            loss = tf.reduce_sum(tf.sin(3 * y))
        found.append([y, *tape.gradient(loss, [x, kernel])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_layer_is_keras_layer_with_its_weights():
    ours, keras_own = DepthwiseConvolution(5, 2), keras.layers.DepthwiseConv2D(5, 2, "same")
    x = tf.random.stateless_normal([2, 9, 7, 3], [0, 1])
    shape = keras_own(x).shape
    assert ours(x).shape == shape == ours.compute_output_shape(x.shape)
    weights = [np.random.default_rng(0).normal(size=w.shape) for w in ours.get_weights()]
    for layer in (ours, keras_own):
        layer.set_weights(weights)
    np.testing.assert_allclose(ours(x), keras_own(x), atol=1e-5)
