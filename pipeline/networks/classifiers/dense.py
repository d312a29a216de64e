"""The dense classifier of Salimans et al. 2016: weight normalisation, noise on every layer."""

from collections.abc import Sequence
from math import prod

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config.schema import Config
from pipeline.networks.layers import Activations, Classifier, WeightNormalizedDense, add_noise
from pipeline.networks.spec import Spec, dtype_policy
from pipeline.ops.devices import Random


class DenseClassifier(Classifier):
    """Salimans et al. 2016, MNIST: noise 0.3, 1000-500-250-250-250 ReLU with noise 0.5, K.

    Knows nothing of neighbouring pixels (permutation-invariant). Features are the last hidden
    layer, as in the paper's code.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_classes: int,
        *,
        units: Sequence[int],
        input_noise: float,
        layer_noise: float,
        random: Random,
        seed: int,
        policy: str = "float32",
    ) -> None:
        """Build for images of `image_shape` (h, w, c) with hidden layers of `units`.

        `policy` is Keras's dtype policy of the products; all else is float32.
        """
        super().__init__()
        self.image_shape = image_shape
        self.random, self.size = random, prod(image_shape)
        self.input_noise, self.layer_noise = input_noise, layer_noise
        starts = [
            keras.initializers.RandomNormal(stddev=0.1, seed=seed + i)
            for i in range(len(units) + 1)
        ]
        self.hidden = [
            WeightNormalizedDense(n, False, start, policy)
            for n, start in zip(units, starts[:-1], strict=True)
        ]
        self.output_layer = WeightNormalizedDense(n_classes, True, starts[-1])
        for layer, width in zip(
            [*self.hidden, self.output_layer], [self.size, *units], strict=True
        ):
            layer.build((None, width))
        self(tf.zeros([1, *image_shape]))

    def prepare(self) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Every layer's weights and scale; see `Classifier.prepare`."""
        return [layer.prepare() for layer in [*self.hidden, self.output_layer]]

    def forward(
        self,
        images: tf.Tensor,
        training: bool,
        update_statistics: bool,
        prepared: list[tuple[tf.Tensor, tf.Tensor]] | None = None,
        noisy: bool = True,
    ) -> Activations:
        """See `Classifier.forward`; there are no moving statistics."""
        *weights, last = prepared or self.prepare()
        noise = (self.input_noise, self.layer_noise) if training and noisy else (0.0, 0.0)
        h = add_noise(tf.reshape(images, [-1, self.size]), noise[0], self.random)
        hidden = []
        for layer, (direction, scale) in zip(self.hidden, weights, strict=True):
            hidden.append(tf.nn.relu(layer.apply(h, direction, scale)))
            h = add_noise(hidden[-1], noise[1], self.random)
        logits = self.output_layer.apply(h, *last)
        return Activations(logits, (hidden[-1],), tuple(hidden[-3:-1] or hidden))

    def initialise(self, images: NDArray[np.floating]) -> None:
        """Data-dependent initialisation from images [n, h, w, c] in [0, 1].

        With noise, as in the paper's code: hidden gains stay what they are made here, so they
        decide how much of an activation is signal.
        """
        h = tf.reshape(tf.constant(images), [-1, self.size])
        h = add_noise(h, self.input_noise, self.random)
        for layer in self.hidden:
            h = add_noise(tf.nn.relu(layer.initialise(h)), self.layer_noise, self.random)
        self.output_layer.initialise(h)


def build(config: Config, spec: Spec, random: Random, seed: int) -> DenseClassifier:
    """The network for images of `spec`, initialised from some of them."""
    network = DenseClassifier(
        spec.image_shape,
        spec.n_classes,
        units=config.dense_units,
        input_noise=config.input_noise,
        layer_noise=config.layer_noise,
        random=random,
        seed=seed,
        policy=dtype_policy(config),
    )
    network.initialise(spec.first_images / np.float32(255))
    return network
