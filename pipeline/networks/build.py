"""From configuration to networks, and from trained networks to models that stand alone."""

import importlib
from collections.abc import Sequence

import keras
import tensorflow as tf

from pipeline.config.named import is_pretrained
from pipeline.config.schema import Config
from pipeline.networks import pretrained
from pipeline.networks.layers import Classifier
from pipeline.networks.spec import Latents, Spec, dtype_policy, unchanged
from pipeline.ops.devices import Random


def classifier(config: Config, spec: Spec, random: Random, seed: int) -> Classifier:
    """The classifier that `backbone` or `network` names: the same for method and baseline."""
    if is_pretrained(config.backbone):
        return pretrained.build(config, spec, random)
    module = importlib.import_module(f"pipeline.networks.classifiers.{config.network}")
    network: Classifier = module.build(config, spec, random, seed)
    return network


def averaged_copy(network: Classifier, config: Config, spec: Spec) -> Classifier:
    """A second network with the same weights, to hold their moving average."""
    copy = classifier(config, spec, network.random, 0)
    copy.set_weights(network.get_weights())
    return copy


def generator(config: Config, spec: Spec, units: Sequence[int], seed: int) -> keras.Model:
    """The generator that `generator_network` names: latents [n, latent_size] → images in [0, 1]."""
    own = config.own
    module = importlib.import_module(f"pipeline.networks.generators.{own['generator_network']}")
    network: keras.Model = module.build(
        own["latent_size"], units, spec.image_shape, seed, dtype_policy(config)
    )
    return network


class PixelTable(keras.layers.Layer):
    """Looks each pixel 0..255 up in a table; a weight, for a program serves other data too."""

    def __init__(self) -> None:
        """Hold a table, whole numbers in 0..255 [256], that changes nothing yet."""
        super().__init__()
        self.table = self.add_weight(shape=(256,), initializer="zeros", trainable=False)
        self.table.assign(unchanged())

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
