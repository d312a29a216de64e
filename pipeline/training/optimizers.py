"""Adam, built before the step is compiled so that the step creates no variables."""

import keras
import tensorflow as tf


def adam(network: keras.Model, beta_1: float) -> keras.optimizers.Adam:
    """Adam (Kingma & Ba 2015) for a network; the loop sets the learning rate at each step."""
    optimizer = keras.optimizers.Adam(beta_1=beta_1)
    optimizer.build(network.trainable_variables)
    return optimizer


def descend(
    optimizer: keras.optimizers.Optimizer,
    tape: tf.GradientTape,
    loss: tf.Tensor,
    network: keras.Model,
) -> None:
    """One step down the gradient of `loss`, recorded by `tape`."""
    variables = [variable.value for variable in network.trainable_variables]
    optimizer.apply(tape.gradient(loss, variables), network.trainable_variables)
