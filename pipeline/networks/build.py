"""From configuration to networks, and from trained networks to models that stand alone."""

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config.schema import Config
from pipeline.methods import Latents
from pipeline.networks.conv import ConvClassifier
from pipeline.networks.dense import DenseClassifier
from pipeline.networks.layers import Classifier
from pipeline.ops.devices import Random


def _unchanged() -> NDArray[np.uint8]:
    return np.arange(256, dtype=np.uint8)


@dataclass(frozen=True)
class Spec:
    """What a method must know of the data before it builds its networks."""

    image_shape: tuple[int, int, int]  # (h, w, c)
    n_classes: int
    class_balance: NDArray[np.float32]  # share of each class among the labelled images, [K]
    pixel_scale: float  # 1 / standard deviation of the training pixels in [0, 1]
    first_images: NDArray[np.uint8]  # some training images, for data-dependent initialisation
    # Training images are stretched to fill 0..255, which noise, views and generators are made for.
    stretching: NDArray[np.uint8] = field(default_factory=_unchanged)  # stored pixel → stretched
    shrinking: NDArray[np.uint8] = field(default_factory=_unchanged)  # and back, both [256]


def dtype_policy(config: Config) -> str:
    """Keras's dtype policy that `precision` names: weights and sums stay float32."""
    return {"float32": "float32", "bfloat16": "mixed_bfloat16"}[config.precision]


def classifier(config: Config, spec: Spec, random: Random, seed: int) -> Classifier:
    """The classifier that `network` names: the same for every method and for the baseline."""
    shared: dict[str, Any] = {"random": random, "seed": seed}
    shared |= {"policy": dtype_policy(config)}
    shared |= {"input_noise": config.input_noise, "layer_noise": config.layer_noise}
    if config.network == "conv":
        return ConvClassifier(
            spec.image_shape, spec.n_classes, pixel_scale=spec.pixel_scale, **shared
        )
    network = DenseClassifier(spec.image_shape, spec.n_classes, units=config.dense_units, **shared)
    network.initialise(spec.first_images / np.float32(255))
    return network


def averaged_copy(network: Classifier, config: Config, spec: Spec) -> Classifier:
    """A second network with the same weights, to hold their moving average."""
    copy = classifier(config, spec, network.random, 0)
    copy.set_weights(network.get_weights())
    return copy


class PixelTable(keras.layers.Layer):
    """Looks each pixel 0..255 up in a table; a weight, for a program serves other data too."""

    def __init__(self) -> None:
        """Hold a table, whole numbers in 0..255 [256], that changes nothing yet."""
        super().__init__()
        self.table = self.add_weight(shape=(256,), initializer="zeros", trainable=False)
        self.table.assign(_unchanged())

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Whole numbers in 0..255 of any type → float32, the same."""
        # What a diverged generator gives is no number, and would end the run before it is told.
        return tf.gather(self.table.value, tf.clip_by_value(tf.cast(images, tf.int32), 0, 255))


def exported_classifier(
    network: Classifier, image_shape: tuple[int, int, int], stretching: PixelTable
) -> keras.Model:
    """uint8 images [n, h, w, c] as stored → float32 class probabilities [n, K]."""
    images = keras.Input(image_shape, dtype="uint8", name="images")
    logits = network(keras.layers.Rescaling(1 / 255)(stretching(images)), training=False)
    return keras.Model(images, keras.layers.Softmax(name="probabilities")(logits))


class ExportedGenerator(keras.Model):
    """What `Latents.draw` gives, float32 [n, size (+ K)] → uint8 images [n, h, w, c] as stored."""

    def __init__(self, network: keras.Model, latents: Latents, shrinking: PixelTable) -> None:
        """Wrap a generator; a conditional one is called with (latents, one-hot labels)."""
        super().__init__()
        self.network, self.size, self.conditional = network, latents.size, latents.n_classes > 0
        self.shrinking = shrinking

    def call(self, latents: tf.Tensor) -> tf.Tensor:
        """Generate images from latents, a one-hot label behind each if conditional."""
        inputs = (latents[:, : self.size], latents[:, self.size :]) if self.conditional else latents
        images = self.network(inputs, training=False)
        levels = tf.round(tf.clip_by_value(images, 0.0, 1.0) * 255)
        return tf.cast(self.shrinking(levels), tf.uint8)
