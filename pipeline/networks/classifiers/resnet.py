"""A residual classifier for photographs, sized by the image and by `width`."""

import keras
import numpy as np
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.networks.convolutions import Convolution, PatchConvolution, whiten
from pipeline.networks.layers import Activations, BatchNormalization, Classifier, add_noise
from pipeline.networks.spec import Spec, dtype_policy
from pipeline.ops.devices import Random

LEAK = 0.1  # slope of the leaky ReLU below zero; GELU and SiLU take eight times and twice as long
CELLS = 16  # about so many places a side are left by the first layer
LARGE = 96  # pixels of the shorter side from which it leaves twice as many to one more layer
SMALL = 12  # places a side under which one halving less is made
GREY = 0.5  # subtracted from the pixels: what is padded with 0 is grey


class Normalized(keras.layers.Layer):
    """A convolution, batch normalisation, leaky ReLU."""

    def __init__(self, convolution: keras.layers.Layer) -> None:
        """Normalise and activate what `convolution` gives, in its type."""
        super().__init__(autocast=False)
        self.convolution, self.norm = convolution, BatchNormalization()

    def call(self, x: tf.Tensor, training: bool, update_statistics: bool) -> tf.Tensor:
        """Map [n, h, w, c] to [n, h', w', d]."""
        h = self.convolution(x)
        h = self.norm(h, training=training, update_statistics=update_statistics)
        return tf.nn.leaky_relu(h, LEAK)


class Stage(keras.layers.Layer):
    """A convolution that widens, maybe halves; a pair whose result is added to its input."""

    def __init__(self, channels: int, stride: int, seed: int, policy: str) -> None:
        """Three 3×3 convolutions to `channels`, the first with `stride`; `policy` of the maps."""
        super().__init__(autocast=False)
        self.entry, self.first, self.second = (
            Normalized(Convolution(channels, step, seed + i, policy))
            for i, step in enumerate([stride, 1, 1])
        )

    def call(self, x: tf.Tensor, training: bool, update_statistics: bool) -> tf.Tensor:
        """Map [n, h, w, c] to [n, h / stride, w / stride, channels]."""
        mode = {"training": training, "update_statistics": update_statistics}
        h = self.entry(x, **mode)
        return h + self.second(self.first(h, **mode), **mode)


class ResidualClassifier(Classifier):
    """Patches, two stages of 3×3 convolutions with a residual pair each, mean over places.

    32×32, width 32: 4×4/2-32, 3×3/2-64, pair-64, 3×3/2-128, pair-128, mean, K: 12.2 million
    multiplications an image, 0.46 million weights; both grow with the square of the width. Batch
    normalisation (Ioffe & Szegedy 2015) and leaky ReLU follow every convolution; pairs as in
    He et al. 2016, each convolution with its activation.

    The first layer's stride follows the image, and the last map is 3 to 6 places a side (of images
    under 5 pixels less). Compared with 32 pixels, images of 8 to 95 take 0.5 to 2.2 times the
    multiplications, of 128, 256 and 512 pixels 1.7, 1.7 and 3.2 times.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_classes: int,
        *,
        width: int,
        pixel_scale: float,
        input_noise: float,
        layer_noise: float,
        random: Random,
        seed: int,
        policy: str = "float32",
    ) -> None:
        """Build for images of `image_shape` (h, w, c); `pixel_scale` brings them to unit spread.

        `width` is the number of channels of the first layer. `layer_noise` goes on what the first
        layer and each stage hand on, not into pairs. `policy` is Keras's dtype policy of the
        products and maps; weights, statistics and what leaves the network are float32.
        """
        super().__init__()
        self.image_shape = image_shape
        self.random, self.input_noise, self.layer_noise = random, input_noise, layer_noise
        # A weight, not a constant: a compiled step serves data of another scale too.
        self.pixel_scale = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(pixel_scale), trainable=False
        )
        side = min(image_shape[:2])
        cell = max(1, round(side / (CELLS if side < LARGE else 2 * CELLS)))
        first = (
            PatchConvolution(width, cell, seed, policy)
            if cell > 1
            else Convolution(width, 1, seed, policy)
        )
        self.blocks = [Normalized(first)]
        if side >= LARGE:
            self.blocks.append(Normalized(Convolution(width, 2, seed + 1, policy)))
        stride = 1 if -(-side // cell) < SMALL else 2
        self.blocks.append(Stage(2 * width, stride, seed + 2, policy))
        self.blocks.append(Stage(4 * width, 2, seed + 5, policy))
        self.output_layer = keras.layers.Dense(
            n_classes, kernel_initializer=keras.initializers.LecunNormal(seed=seed + 8)
        )
        self(tf.zeros([1, *image_shape]))

    def forward(
        self,
        images: tf.Tensor,
        training: bool,
        update_statistics: bool,
        prepared: None = None,
        noisy: bool = True,
    ) -> Activations:
        """See `Classifier.forward`; features are the last map's mean over places, and the map.

        The maps that neighbours are looked for in are means over places too.
        """
        noise = (self.input_noise, self.layer_noise) if training and noisy else (0.0, 0.0)
        h = self._scaled(add_noise(images, noise[0], self.random))
        for block in self.blocks:
            h = block(h, training=training, update_statistics=update_statistics)
            h = add_noise(h, noise[1], self.random)
        h = tf.cast(h, tf.float32)
        pooled = tf.reduce_mean(h, axis=[1, 2])
        return Activations(self.output_layer(pooled), (pooled, h), (pooled,))

    def whiten(self, images: tf.Tensor) -> None:
        """Start the first layer from images [n, h, w, c] in [0, 1]; see `convolutions.whiten`."""
        whiten(self.blocks[0].convolution, self._scaled(images))

    def _scaled(self, images: tf.Tensor) -> tf.Tensor:
        return (images - GREY) * self.pixel_scale.value


def build(config: Config, spec: Spec, random: Random, seed: int) -> ResidualClassifier:
    """The network for images of `spec`, its first layer whitened by some of them."""
    network = ResidualClassifier(
        spec.image_shape,
        spec.n_classes,
        width=config.width,
        pixel_scale=spec.pixel_scale,
        input_noise=config.input_noise,
        layer_noise=config.layer_noise,
        random=random,
        seed=seed,
        policy=dtype_policy(config),
    )
    network.whiten(spec.first_images / np.float32(255))
    return network
