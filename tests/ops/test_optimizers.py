"""Adam by the fused kernel."""

import keras
import numpy as np
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
