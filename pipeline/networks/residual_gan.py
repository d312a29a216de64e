"""Generator and discriminator of images of a wanted class: residual blocks without normalisation.

After R3GAN (Huang et al. 2024), small enough for a CPU. Both know the class: the generator by an
embedding beside its latents, the discriminator by projection (Miyato & Koyama 2018). No map is
as large as the image: the last doubling and the first halving exchange places for channels, because
narrow maps of full size are what a CPU is slowest at.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.networks.convolutions import same_convolution

SMALLEST = 4  # pixels, at least, of the shorter side where a generator begins
SLOPE = 0.2  # of leaky ReLU below 0
MEAN_WITHIN = (0.02, 0.98)  # of what a generator begins from, so that it can leave it
HIDDEN = 128  # units of the discriminator before its logit


class BiasedConvolution(keras.layers.Layer):
    """A convolution of odd kernel with bias; starts at 0 if `still`."""

    def __init__(self, size: int, channels: int, seed: int, policy: str, still: bool) -> None:
        """`channels` outputs of patches of `size` × `size`, whose type `policy` gives."""
        super().__init__(autocast=False)
        self.size, self.channels = size, channels
        # A third of LeCun's variance: without normalisation larger weights blow up.
        drawn = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)
        self.start = keras.initializers.Zeros() if still else drawn
        self.product_dtype = keras.DTypePolicy(policy).compute_dtype

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Draw the kernel."""
        size = (self.size, self.size, shape[-1], self.channels)
        self.kernel = self.add_weight(shape=size, initializer=self.start, name="kernel")
        self.bias = self.add_weight(shape=(self.channels,), initializer="zeros", name="bias")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Map [n, h, w, c] to [n, h, w, channels] of the type of the policy."""
        x, kernel, bias = (
            tf.cast(part, self.product_dtype) for part in (x, self.kernel.value, self.bias.value)
        )
        return same_convolution(x, kernel) + bias


class _Seeds:
    """Makes layers, each of its own seed."""

    def __init__(self, seed: int, policy: str) -> None:
        self.seeds, self.policy = iter(range(seed, seed + 1000)), policy

    def convolution(self, size: int, channels: int, still: bool = False) -> BiasedConvolution:
        return BiasedConvolution(size, channels, next(self.seeds), self.policy, still)

    def dense(self, units: int, bias: bool = True) -> keras.layers.Dense:
        start = keras.initializers.VarianceScaling(
            1 / 3, "fan_in", "uniform", seed=next(self.seeds)
        )
        return keras.layers.Dense(units, use_bias=bias, kernel_initializer=start, dtype=self.policy)

    def embedding(self, size: int) -> keras.layers.Dense:
        """A vector of `size` for each class, standard normal; takes one-hot classes."""
        start = keras.initializers.RandomNormal(stddev=1.0, seed=next(self.seeds))
        return keras.layers.Dense(size, use_bias=False, kernel_initializer=start)


class ResidualBlock(keras.layers.Layer):
    """x + f(x) with two 3×3 convolutions in f; at the start it gives x, or its 1×1 convolution."""

    def __init__(self, before: int, channels: int, make: _Seeds) -> None:
        """Take maps of `before` channels."""
        super().__init__(autocast=False)
        self.skip = None if before == channels else make.convolution(1, channels)
        self.first = make.convolution(3, channels)
        self.second = make.convolution(3, channels, still=True)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Map [n, h, w, before] to [n, h, w, channels]."""
        skipped = x if self.skip is None else self.skip(x)
        return skipped + self.second(_leaky(self.first(_leaky(x))))


def _leaky(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.leaky_relu(x, SLOPE)


def sizes(image_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
    """Rows and columns of the maps, the smallest first; the image has twice those of the last.

    Or somewhat fewer: an image whose sides do not divide so is cropped from a larger one.
    """
    height, width, _ = image_shape
    doublings = max(1, (min(height, width) // SMALLEST).bit_length() - 1)
    return [
        (-(-height // 2**doublings) * 2**number, -(-width // 2**doublings) * 2**number)
        for number in range(doublings)
    ]


def _channels(units: Sequence[int], count: int) -> list[int]:
    return [units[min(number, len(units) - 1)] for number in range(count)]


class ResidualGenerator(keras.Model):
    """Draws images of wanted classes from latents."""

    def __init__(
        self,
        latent_size: int,
        n_classes: int,
        units: Sequence[int],
        image_shape: tuple[int, int, int],
        seed: int,
        policy: str = "float32",
        mean: NDArray[np.floating] | float = 0.5,
    ) -> None:
        """Build for images [h, w, c] of 8 pixels a side or more.

        units: channels of the maps, from the smallest size on; the last one holds for all larger
        sizes. policy: Keras's dtype policy of products and maps. mean: of the images to come, in
        [0, 1], [h, w, c] or one number: where it begins. From grey, on strokes, the discriminator
        would win before the ground is black, and would never be caught up with.
        """
        super().__init__()
        make, self.image_shape = _Seeds(seed, policy), image_shape
        self.map_sizes = sizes(image_shape)
        widths = _channels(units, len(self.map_sizes))
        (rows, columns), self.width = self.map_sizes[0], widths[0]
        self.embedding = make.embedding(latent_size)
        self.start = make.dense(rows * columns * widths[0])
        before = [widths[0], *widths]
        self.blocks = [
            ResidualBlock(b, width, make) for b, width in zip(before, widths, strict=False)
        ]
        self.last = make.convolution(3, 4 * image_shape[2])
        within = np.clip(np.broadcast_to(mean, image_shape), *MEAN_WITHIN)
        self.offset = self.add_weight(shape=image_shape, initializer="zeros", name="offset")
        self.offset.assign(np.log(within / (1 - within)))
        self((tf.zeros([1, latent_size]), tf.zeros([1, n_classes])))

    def call(
        self, latents_and_labels: tuple[tf.Tensor, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """Latents [n, latent_size] and one-hot labels [n, K] → images [n, h, w, c] in [0, 1]."""
        latents, labels = latents_and_labels
        # As long as a vector of 16 standard normal numbers.
        wanted = 4 * tf.math.l2_normalize(self.embedding(labels), axis=1)
        x = self.start(tf.concat([latents, wanted], axis=1))
        x = tf.reshape(x, [-1, *self.map_sizes[0], self.width])
        for number, block in enumerate(self.blocks):
            x = doubled(x) if number else x
            x = block(x)
        x = tf.nn.depth_to_space(self.last(_leaky(x)), 2)
        x = x[:, : self.image_shape[0], : self.image_shape[1]]
        return tf.nn.sigmoid(tf.cast(x, tf.float32) + self.offset.value)


class ResidualDiscriminator(keras.Model):
    """Tells real images of a class from generated ones."""

    def __init__(
        self,
        n_classes: int,
        units: Sequence[int],
        image_shape: tuple[int, int, int],
        seed: int,
        policy: str = "float32",
    ) -> None:
        """Build the generator's mirror image; arguments as there."""
        super().__init__()
        make, maps = _Seeds(seed, policy), sizes(image_shape)
        widths = _channels(units, len(maps))[::-1]
        self.missing = [
            2 * side - given for side, given in zip(maps[-1], image_shape, strict=False)
        ]
        self.first = make.convolution(3, widths[0])
        before = [widths[0], *widths]
        self.blocks = [
            ResidualBlock(b, width, make) for b, width in zip(before, widths, strict=False)
        ]
        self.hidden = make.dense(HIDDEN)
        self.projection = make.embedding(HIDDEN)
        self.output_layer = make.dense(1)
        self((tf.zeros([1, *image_shape]), tf.zeros([1, n_classes])))

    def call(self, images_and_labels: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Logits float32 [n] of "real"; images [n, h, w, c] in [0, 1], one-hot labels [n, K]."""
        images, labels = images_and_labels
        x = 2 * images - 1
        if any(self.missing):
            x = tf.pad(x, [[0, 0], [0, self.missing[0]], [0, self.missing[1]], [0, 0]])
        x = self.first(tf.nn.space_to_depth(x, 2))
        for number, block in enumerate(self.blocks):
            x = halved(x) if number else x
            x = block(x)
        h = tf.cast(self.hidden(tf.reshape(_leaky(x), [tf.shape(x)[0], -1])), tf.float32)
        of_class = tf.reduce_sum(h * self.projection(labels), axis=1) / HIDDEN**0.5
        return tf.cast(self.output_layer(_leaky(h)), tf.float32)[:, 0] + of_class


class SampleGenerator(keras.Model):
    """What samples are drawn with: a trained conditional generator that is kept to likely images.

    Truncation (Brock et al. 2019, BigGAN) costs variety and wins quality. Here normal latents are
    scaled, which is differentiable and takes what any user draws. Images have the data's size.
    """

    def __init__(
        self, network: keras.Model, image_shape: tuple[int, int, int], truncation: float = 1.0
    ) -> None:
        """`network` as it is if it gives images of `image_shape` [h, w, c] already.

        truncation: what latents are multiplied by, in (0, 1]; 1 = drawn as in training.
        """
        super().__init__()
        self.network, self.size, self.truncation = network, image_shape[:2], truncation

    def call(
        self, latents_and_labels: tuple[tf.Tensor, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """Latents and one-hot labels → images float32 [n, h, w, c] in [0, 1], bilinear between."""
        latents, labels = latents_and_labels
        images = self.network((self.truncation * latents, labels), training=training)
        return images if images.shape[1:3] == self.size else tf.image.resize(images, self.size)


def doubled(maps: tf.Tensor) -> tf.Tensor:
    """[n, h, w, c] → [n, 2h, 2w, c], each place four times."""
    # Twice as fast as tf.repeat, and its gradient ten times.
    return tf.nn.depth_to_space(tf.tile(maps, [1, 1, 1, 4]), 2)


def halved(maps: tf.Tensor) -> tf.Tensor:
    """[n, 2h, 2w, c] → [n, h, w, c], the mean of four places."""
    return tf.nn.avg_pool2d(maps, 2, 2, "VALID")
