"""The few layers Keras does not have, or has in a form that is slow on a CPU."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from pipeline.ops import devices


class Activations(NamedTuple):
    """What a forward pass of a classifier gives its losses."""

    logits: tf.Tensor  # float32 [n, K]
    features: tuple[tf.Tensor, ...]  # hidden activations that feature matching compares, [n, …]
    maps: tuple[tf.Tensor, ...] = ()  # of the layers below the last hidden one, two at most, [n, …]


class Classifier(keras.Model):
    """A classifier over images in [0, 1], float32 [n, h, w, c]; also a K+1-class discriminator.

    Subclasses define `forward`; calling the model gives the logits alone.
    """

    image_shape: tuple[int, int, int]  # (h, w, c)
    output_layer: keras.layers.Layer  # last hidden layer → logits

    @property
    def pixels(self) -> int:
        """How many it looks at of an image: more than are stored if it enlarges them."""
        return math.prod(self.image_shape[:2])

    @property
    def body_variables(self) -> list[keras.Variable]:
        """The trainable variables below the output layer."""
        head = {id(variable) for variable in self.output_layer.trainable_variables}
        return [variable for variable in self.trainable_variables if id(variable) not in head]

    @property
    def headless_state(self) -> list[tf.Variable]:
        """Weights below the output layer, and all statistics: what is learned without labels."""
        learned = [*self.body_variables, *self.non_trainable_variables]
        return [variable.value for variable in learned]

    def prepare(self) -> Any:
        """What forward passes of the same weights share, if anything: `forward`'s `prepared`."""
        return None

    def forward(
        self,
        images: tf.Tensor,
        training: bool,
        update_statistics: bool,
        prepared: Any = None,
        noisy: bool = True,
    ) -> Activations:
        """Logits and features.

        Args:
            images: float32 [n, h, w, c] in [0, 1].
            training: add noise if `noisy`, normalise by the batch's own statistics.
            update_statistics: let this batch count in the moving statistics that inference uses.
            prepared: what `prepare` has given, if several passes shall share it.
            noisy: without, training normalises only.
        """
        raise NotImplementedError

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits, float32 [n, K]."""
        return self.forward(images, training, training).logits


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


class BatchNormalization(keras.layers.Layer):
    """Batch normalisation (Ioffe & Szegedy 2015) by TensorFlow's fused kernel.

    Keras 3 computes moments in separate operations, 2–3 times slower on a CPU. Input [n, d] or
    [n, h, w, d], float32 or bfloat16, as is the output; the statistics are float32.
    `update_statistics=False` keeps generated images out of the moving statistics.
    """

    def __init__(
        self, momentum: float = 0.98, epsilon: float = 1e-4, train_scale: bool = True
    ) -> None:
        """Keep `momentum` of the moving statistics at each update."""
        super().__init__(autocast=False)
        self.momentum, self.epsilon, self.train_scale = momentum, epsilon, train_scale

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create scale, offset and moving statistics of size d."""
        size = (shape[-1],)
        self.scale = self.add_weight(
            shape=size, initializer="ones", trainable=self.train_scale, name="scale"
        )
        self.offset = self.add_weight(shape=size, initializer="zeros", name="offset")
        self.mean = self.add_weight(
            shape=size, initializer="zeros", trainable=False, name="moving_mean"
        )
        self.variance = self.add_weight(
            shape=size, initializer="ones", trainable=False, name="moving_variance"
        )

    def call(
        self, x: tf.Tensor, training: bool = False, update_statistics: bool = True
    ) -> tf.Tensor:
        """Normalise by the batch when training, by the moving statistics otherwise."""
        normalize = self._across if training and devices.count() > 1 else self._fused
        y, mean, variance = normalize(x, training)
        if training and update_statistics:
            for moving, batch in ((self.mean, mean), (self.variance, variance)):
                kept = devices.local(moving)
                kept.assign_sub((1.0 - self.momentum) * (kept - batch))
        return y

    def _fused(self, x: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        dense = len(x.shape) == 2
        statistics = {} if training else {"mean": self.mean.value, "variance": self.variance.value}
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x[:, None, None, :] if dense else x,
            self.scale.value,
            self.offset.value,
            epsilon=self.epsilon,
            is_training=training,
            **statistics,
        )
        return (y[:, 0, 0, :] if dense else y), mean, variance

    def _across(self, x: tf.Tensor, training: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """By the statistics of the whole batch, which lies on several devices."""
        axes, given = list(range(len(x.shape) - 1)), x.dtype
        x = tf.cast(x, tf.float32)
        mean = devices.mean(tf.reduce_mean(x, axes))
        variance = devices.mean(tf.reduce_mean(tf.square(x - mean), axes))
        y = tf.nn.batch_normalization(
            x, mean, variance, self.offset.value, self.scale.value, self.epsilon
        )
        n = devices.count() * math.prod(x.shape[:-1])
        # Unbiased, as the fused kernel gives it.
        return tf.cast(y, given), mean, variance * (n / (n - 1))


def add_noise(x: tf.Tensor, deviation: float, random: devices.Random) -> tf.Tensor:
    """Add uniform noise of the given standard deviation, drawn from `random`.

    Uniform, because normal numbers of equal variance cost about three times as much on a CPU.
    """
    if deviation == 0:
        return x
    noise = random.noise(x.shape, deviation * (3.0 * 255 / 257) ** 0.5)
    return x + tf.cast(noise, x.dtype)
