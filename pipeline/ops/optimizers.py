"""Adam by TensorFlow's fused kernel: one operation a variable, where Keras makes a dozen."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from pipeline.ops import devices


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) for some variables, with decoupled weight decay.

    AdamW (Loshchilov & Hutter 2019): a step takes rate × `weight_decay` of the weights themselves
    off, beside Adam's own step. Only weights of products decay (kernels and matrices, of two or
    more dimensions), not biases, scales and offsets.
    """

    def __init__(
        self,
        variables: Sequence[keras.Variable],
        beta_1: float,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        """Start at zero moments; the loop sets `learning_rate` at each step.

        beta_1, beta_2: decay of the running means of gradients and squared gradients, in [0, 1).
        epsilon: added to the root of the mean squared gradient, bias-corrected. A parameter whose
            gradients are smaller moves by less than the rate.
        weight_decay: ≥ 0, a share of the weights per unit of rate; 0 adds no operation.
        """
        self.trained = list(variables)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.weight_decay = weight_decay
        self.learning_rate = tf.Variable(0.001, trainable=False)
        self.iterations = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.means, self.squares = (
            [tf.Variable(tf.zeros(v.shape), trainable=False) for v in self.trained]
            for _ in range(2)
        )

    @property
    def variables(self) -> list[tf.Variable]:
        """Everything that it remembers."""
        return [self.learning_rate, self.iterations, *self.means, *self.squares]

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """Take one step; one gradient a variable, already the mean over all devices."""
        taken = tf.cast(devices.local(self.iterations).assign_add(1), tf.float32)
        shared = {
            "beta1_power": tf.pow(self.beta_1, taken),
            "beta2_power": tf.pow(self.beta_2, taken),
            "lr": devices.local(self.learning_rate).read_value(),
            "beta1": self.beta_1,
            "beta2": self.beta_2,
            # The kernel corrects the rate alone; uncorrected, a large epsilon would hold back the
            # first thousand steps (a generator's most: its gradients are smaller).
            "epsilon": self.epsilon * tf.sqrt(1.0 - tf.pow(self.beta_2, taken)),
        }
        state = zip(self.trained, self.means, self.squares, gradients, strict=True)
        for variable, mean, square, gradient in state:
            if self.weight_decay and len(variable.shape) > 1:
                weights, decay = devices.local(variable), shared["lr"] * self.weight_decay
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=weights.handle, alpha=decay, delta=weights.read_value()
                )
            tf.raw_ops.ResourceApplyAdam(
                var=devices.local(variable).handle,
                m=devices.local(mean).handle,
                v=devices.local(square).handle,
                grad=gradient,
                **shared,
            )


def adam(
    network: keras.Model, beta_1: float, epsilon: float = 1e-7, weight_decay: float = 0.0
) -> Adam:
    """Adam for the trainable variables of a network; see `Adam`."""
    return Adam(network.trainable_variables, beta_1, epsilon=epsilon, weight_decay=weight_decay)


def descend(optimizer: Adam, tape: tf.GradientTape, loss: tf.Tensor, network: keras.Model) -> None:
    """One step down the gradient of `loss`, recorded by `tape`; the mean over all devices."""
    variables = [variable.value for variable in network.trainable_variables]
    optimizer.apply(devices.mean(tape.gradient(loss, variables)))
