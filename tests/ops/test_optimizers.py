"""Adam by the fused kernel."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.ops import runtime
from pipeline.ops.optimizers import Adam


def test_adam_is_algorithm_1_of_its_paper_from_the_first_step_on():
    runtime.start(0, None, True)
    start, rate, beta_1, beta_2, epsilon = np.float32([1, -2, 3]), 0.1, 0.5, 0.999, 0.01
    variable = keras.Variable(start)
    adam = Adam([variable], beta_1, beta_2, epsilon)
    adam.learning_rate.assign(rate)
    wanted, mean, square = start.astype(np.float64), np.zeros(3), np.zeros(3)
    for step in range(1, 6):
        gradient = np.float32([1e-3, 0.02, -1]) * step  # below epsilon, about it, above
        adam.apply([tf.constant(gradient)])
        mean = beta_1 * mean + (1 - beta_1) * gradient
        square = beta_2 * square + (1 - beta_2) * gradient.astype(np.float64) ** 2
        root = np.sqrt(square / (1 - beta_2**step))
        wanted -= rate * mean / (1 - beta_1**step) / (root + epsilon)
        np.testing.assert_allclose(variable.numpy(), wanted, rtol=1e-5)


def test_weight_decay_is_adamw_of_weights_of_products_alone():
    """Loshchilov & Hutter 2019, algorithm 2, with the rate as its schedule multiplier."""
    runtime.start(0, None, True)
    draw, decay, beta_1, beta_2 = np.random.default_rng(0), 0.3, 0.9, 0.99
    starts = [draw.normal(size=shape).astype(np.float32) for shape in [(3, 3, 2, 4), (4, 5), (5,)]]
    variables = [keras.Variable(start) for start in starts]
    adam = Adam(variables, beta_1, beta_2, weight_decay=decay)
    wanted = [start.astype(np.float64) for start in starts]
    means, squares = ([np.zeros(start.shape) for start in starts] for _ in range(2))
    for step in range(1, 6):
        rate = 0.1 / step
        adam.learning_rate.assign(rate)
        gradients = [draw.normal(size=start.shape).astype(np.float32) for start in starts]
        tf.function(adam.apply, autograph=False)([tf.constant(one) for one in gradients])
        for i, gradient in enumerate(gradients):
            means[i] = beta_1 * means[i] + (1 - beta_1) * gradient
            squares[i] = beta_2 * squares[i] + (1 - beta_2) * gradient.astype(np.float64) ** 2
            root = np.sqrt(squares[i] / (1 - beta_2**step)) + 1e-7
            decaying = decay if gradient.ndim > 1 else 0.0  # not the bias
            wanted[i] = wanted[i] * (1 - rate * decaying)
            wanted[i] -= rate * means[i] / (1 - beta_1**step) / root
            np.testing.assert_allclose(variables[i].numpy(), wanted[i], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("decay", "more"), [(0.0, 0), (0.1, 2)])
def test_no_weight_decay_adds_no_operation(decay, more):
    runtime.start(0, None, True)
    variables = [keras.Variable(np.ones(shape, np.float32)) for shape in [(4, 5), (2, 4), (5,)]]
    adam = Adam(variables, 0.9, weight_decay=decay)
    gradients = [tf.TensorSpec(variable.shape) for variable in variables]
    traced = tf.function(adam.apply, autograph=False).get_concrete_function(gradients)
    kinds = [operation.type for operation in traced.graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == 3
    assert kinds.count("ResourceApplyGradientDescent") == more
