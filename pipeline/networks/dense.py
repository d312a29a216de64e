"""Dense networks: Salimans' weight-normalised classifier, the generators, the seed's two nets."""

from collections.abc import Callable, Sequence
from math import prod

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.networks.layers import Activations, BatchNormalization, Classifier, add_noise
from pipeline.ops.devices import Random


@tf.custom_gradient
def _squares(matrix: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Sum of squares of each column.

    TensorFlow's own gradient takes three operations of the matrix's size, this takes one.
    """

    def backward(upstream: tf.Tensor) -> tf.Tensor:
        return matrix * (2.0 * upstream)

    return tf.reduce_sum(tf.square(matrix), axis=0), backward


class WeightNormalizedDense(keras.layers.Layer):
    """A dense layer y = g · (x v / ‖v‖) + b (Salimans & Kingma 2016); ‖·‖ by output unit.

    The data-dependent initialisation sets g and b once; g is then fixed unless `train_gain`
    (as in the code of Salimans et al. 2016: hidden gains fixed, the output's trained).
    """

    def __init__(
        self,
        units: int,
        train_gain: bool,
        start: keras.initializers.Initializer,
        policy: str = "float32",
    ) -> None:
        """A layer of `units` outputs; `start` initialises v.

        `policy` is Keras's dtype policy of the product alone.
        """
        super().__init__()
        self.units, self.train_gain, self.start = units, train_gain, start
        self.product_dtype = keras.DTypePolicy(policy).compute_dtype

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create direction v, gain g and bias b."""
        self.direction = self.add_weight(shape=(shape[-1], self.units), initializer=self.start)
        self.gain = self.add_weight(
            shape=(self.units,), initializer="ones", trainable=self.train_gain
        )
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Map [n, d] to [n, units]."""
        return self.apply(x, *self.prepare())

    def prepare(self) -> tuple[tf.Tensor, tf.Tensor]:
        """v, float32 [d, units], and g / ‖v‖, float32 [units]."""
        direction = tf.convert_to_tensor(self.direction.value)
        scale = self.gain.value * tf.math.rsqrt(_squares(direction))
        return direction, scale

    def apply(self, x: tf.Tensor, direction: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """Map [n, d] to [n, units]; the scale is applied after the product, n × units work."""
        product = tf.matmul(tf.cast(x, self.product_dtype), tf.cast(direction, self.product_dtype))
        return tf.cast(product, tf.float32) * scale + self.bias.value

    def initialise(self, x: tf.Tensor) -> tf.Tensor:
        """Set g and b so that the outputs for x, [n, d], have mean 0 and variance 1."""
        y = self(x)
        mean, variance = tf.nn.moments(y, axes=[0])
        scale = tf.math.rsqrt(variance + 1e-8)
        self.gain.assign(self.gain.value * scale)
        self.bias.assign(-mean * scale)
        return self(x)


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


def generator(
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


def salimans_generator(
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


class SeedDiscriminator(keras.Model):
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
