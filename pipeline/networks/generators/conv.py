"""A convolutional generator, sized by the image: its weights do not grow with the pixels."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from pipeline.networks.layers import BatchNormalization

SMALLEST = 4  # pixels, at least, of the shorter side where it begins


class PixelShuffle(keras.layers.Layer):
    """Four feature maps become one of twice the height and width (Shi et al. 2016)."""

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        """[n, h, w, 4c] → [n, 2h, 2w, c]."""
        return tf.nn.depth_to_space(maps, 2)


def build(
    latent_size: int,
    units: Sequence[int],
    image_shape: tuple[int, int, int],
    seed: int,
    policy: str = "float32",
) -> keras.Model:
    """Latents [n, latent_size] → a few small maps, doubled until they are images in [0, 1].

    `units` are the numbers of feature maps, from the smallest size on; the last one holds for all
    larger sizes. 3×3 convolutions with batch normalisation and ReLU on maps that are doubled by
    their nearest neighbour; the last doubling is a pixel shuffle, which costs a quarter.
    """
    height, width, channels = image_shape
    seeds = iter(range(seed, seed + 100))
    doublings = max(1, (min(height, width) // SMALLEST).bit_length() - 1)
    rows, columns = -(-height // 2**doublings), -(-width // 2**doublings)

    def start() -> keras.initializers.Initializer:
        return keras.initializers.HeNormal(seed=next(seeds))

    layers: list[keras.layers.Layer] = [
        keras.Input([latent_size]),
        keras.layers.Dense(
            rows * columns * units[0], use_bias=False, kernel_initializer=start(), dtype=policy
        ),
        keras.layers.Reshape([rows, columns, units[0]], dtype=policy),
        BatchNormalization(momentum=0.95),
        keras.layers.ReLU(dtype=policy),
    ]
    for number in range(1, doublings):
        layers += [
            keras.layers.UpSampling2D(2, dtype=policy),
            keras.layers.Conv2D(
                units[min(number, len(units) - 1)],
                3,
                padding="same",
                use_bias=False,
                kernel_initializer=start(),
                dtype=policy,
            ),
            BatchNormalization(momentum=0.95),
            keras.layers.ReLU(dtype=policy),
        ]
    last = keras.initializers.LecunNormal(seed=next(seeds))
    layers += [
        keras.layers.Conv2D(4 * channels, 3, padding="same", kernel_initializer=last),
        PixelShuffle(),
        keras.layers.Activation("sigmoid"),
    ]
    over = rows * 2**doublings - height, columns * 2**doublings - width
    if any(over):
        layers.append(keras.layers.Cropping2D(((0, over[0]), (0, over[1]))))
    return keras.Sequential(layers)
