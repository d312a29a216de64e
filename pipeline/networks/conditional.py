"""Networks that know the class: a conditional generator, a projection discriminator."""

from collections.abc import Sequence
from math import prod

import keras
import tensorflow as tf

from pipeline.networks.layers import BatchNormalization


class ConditionalGenerator(keras.Model):
    """A generator whose latents are shifted by a learned vector of the wanted class.

    The sum keeps the network's own layers as they are: latent 100 → 128 → 128 → pixels.
    """

    def __init__(self, network: keras.Model, latent_size: int, n_classes: int, seed: int) -> None:
        """Condition `network`, which maps latents [n, latent_size] to images."""
        super().__init__()
        self.network = network
        start = keras.initializers.RandomNormal(stddev=1.0, seed=seed)
        self.shift = keras.layers.Dense(latent_size, use_bias=False, kernel_initializer=start)
        self((tf.zeros([1, latent_size]), tf.zeros([1, n_classes])))

    def call(
        self, latents_and_labels: tuple[tf.Tensor, tf.Tensor], training: bool = False
    ) -> tf.Tensor:
        """Latents [n, latent_size] and one-hot labels [n, K] → images [n, h, w, c] in [0, 1]."""
        latents, labels = latents_and_labels
        return self.network(latents + self.shift(labels), training=training)


class ProjectionDiscriminator(keras.Model):
    """The text's discriminator: pixels → 128 → 128 → 1 logit, ReLU, batch norm between.

    The class enters by projection: logit = w · h + ⟨V c, h⟩, h the last hidden layer (Miyato &
    Koyama 2018). Real and generated images alike are normalised by the moving statistics of the
    real ones, one reference for all as in virtual batch normalisation (Salimans et al. 2016,
    section 3.4): each normalised by their own batch, the samples of a class become all alike.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        units: Sequence[int],
        n_classes: int,
        seed: int,
    ) -> None:
        """Build for images of `image_shape` (h, w, c) in [0, 1], hidden layers of `units`."""
        super().__init__()
        self.size = prod(image_shape)
        starts = [keras.initializers.LecunNormal(seed=seed + i) for i in range(len(units) + 2)]
        self.hidden = [
            keras.layers.Dense(n, use_bias=False, kernel_initializer=start)
            for n, start in zip(units, starts[:-2], strict=True)
        ]
        self.norms = [BatchNormalization() for _ in self.hidden]
        self.output_layer = keras.layers.Dense(1, kernel_initializer=starts[-2])
        self.projection = keras.layers.Dense(
            units[-1], use_bias=False, kernel_initializer=starts[-1]
        )
        self((tf.zeros([1, *image_shape]), tf.zeros([1, n_classes])))

    def call(self, images_and_classes: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Logits of "real", [n, 1]; takes images [n, h, w, c], class probabilities [n, K]."""
        images, classes = images_and_classes
        h = self._hidden(images, False)
        return self.output_layer(h) + tf.reduce_sum(
            self.projection(classes) * h, axis=1, keepdims=True
        )

    def observe(self, images: tf.Tensor) -> None:
        """Let real images [n, h, w, c] count in the moving statistics."""
        self._hidden(images, True)

    def _hidden(self, images: tf.Tensor, observe: bool) -> tf.Tensor:
        h = tf.reshape(images, [-1, self.size])
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            h = tf.nn.relu(norm(layer(h), training=observe))
        return h
