"""The dense generator of Salimans et al. 2016: softplus, weight-normalised output."""

from collections.abc import Sequence
from math import prod

import keras

from pipeline.networks.layers import BatchNormalization, WeightNormalizedDense


def build(
    latent_size: int,
    units: Sequence[int],
    image_shape: tuple[int, int, int],
    seed: int,
    policy: str = "float32",
) -> keras.Model:
    """Salimans et al. 2016, MNIST: uniform latents, 500-500 softplus with batch norm, sigmoid.

    Batch norm has no gain; the output layer has unit-norm weights (their `nn.l2normalize`) and a
    trained one.
    """
    layers: list[keras.layers.Layer] = [keras.Input([latent_size])]
    starts = [keras.initializers.GlorotUniform(seed + i) for i in range(len(units) + 1)]
    for n, start in zip(units, starts[:-1], strict=True):
        layers += [
            keras.layers.Dense(n, use_bias=False, kernel_initializer=start, dtype=policy),
            BatchNormalization(momentum=0.9, epsilon=1e-6, train_scale=False),
            keras.layers.Activation("softplus"),
        ]
    layers += [
        WeightNormalizedDense(prod(image_shape), True, starts[-1], policy),
        keras.layers.Activation("sigmoid"),
        keras.layers.Reshape(image_shape),
    ]
    return keras.Sequential(layers)
