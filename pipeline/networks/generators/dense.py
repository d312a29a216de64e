"""A dense generator with batch normalisation; the text's, made wider or not by its units."""

from collections.abc import Sequence
from math import prod

import keras

from pipeline.networks.layers import BatchNormalization


def build(
    latent_size: int,
    units: Sequence[int],
    image_shape: tuple[int, int, int],
    seed: int,
    policy: str = "float32",
) -> keras.Model:
    """Latents [n, latent_size] → ReLU layers with batch normalisation → images in [0, 1].

    The text's generator with units (128, 128), latent 100; ours is wider. Every layer normalises
    by the batch when training and by moving statistics otherwise.
    """
    layers: list[keras.layers.Layer] = [keras.Input([latent_size])]
    for i, n in enumerate(units):
        start = keras.initializers.LecunNormal(seed=seed + i)
        layers += [
            keras.layers.Dense(n, use_bias=False, kernel_initializer=start, dtype=policy),
            BatchNormalization(momentum=0.95),
            keras.layers.ReLU(),
        ]
    start = keras.initializers.LecunNormal(seed=seed + len(units))
    layers += [
        keras.layers.Dense(
            prod(image_shape),
            activation="sigmoid",
            kernel_initializer=start,
            # Most pixels of most images are dark: start there instead of at grey.
            bias_initializer=keras.initializers.Constant(-2.0),
        ),
        keras.layers.Reshape(image_shape),
    ]
    return keras.Sequential(layers)
