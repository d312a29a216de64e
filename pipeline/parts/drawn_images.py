"""Images with a class for a classifier to learn from: drawn by a generator, or real ones.

The loop of DPT (You et al. 2023): a generator that has learned from pseudo-labels draws images of
wanted classes, and the classifier learns from those as if they were labelled. Real images with
their pseudo-labels are the comparison: whatever they bring too, the generator has not brought.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from pipeline.networks.layers import Classifier
from pipeline.networks.spec import Latents
from pipeline.ops.devices import Random
from pipeline.parts.teacher import predict


class More(NamedTuple):
    """Images float32 [n, h, w, c] in [0, 1], their classes int32 [n], and where they are taken."""

    images: tf.Tensor
    classes: tf.Tensor
    taken: tf.Tensor  # float [n] of 0 and 1


def drawn(
    generator: Any, latents: Latents, balance: tf.Tensor, count: int, random: Random
) -> tuple[tf.Tensor, tf.Tensor]:
    """`count` images [n, h, w, c] in [0, 1]; their classes, int32 [n], drawn by `balance` [K].

    As the pool's own, so that images and samples differ in nothing but who has made them.
    """
    ends = tf.cumsum(balance) / tf.reduce_sum(balance)
    classes = tf.searchsorted(ends, random.uniform([count]), side="right")
    classes = tf.minimum(classes, latents.n_classes - 1)
    given = random.normal([count, latents.size]), tf.one_hot(classes, latents.n_classes)
    return generator(given, training=False), classes


def accepted(
    teacher: Classifier, images: tf.Tensor, classes: tf.Tensor, threshold: float
) -> tf.Tensor:
    """Where `teacher` reads the wanted class, surer than `threshold`: float [n] of 0 and 1."""
    probabilities = predict(teacher, images)
    read = tf.argmax(probabilities, axis=1, output_type=tf.int32) == classes
    return tf.cast(read & (tf.reduce_max(probabilities, axis=1) > threshold), tf.float32)
