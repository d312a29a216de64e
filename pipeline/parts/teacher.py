"""Pseudo-labels from a network's own predictions, and the loss that follows them."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config.schema import Config
from pipeline.networks.layers import Classifier
from pipeline.ops import devices, losses
from pipeline.parts import Part

ALIGNMENT_DECAY = 0.98  # of the running mean of predictions that alignment divides by


def predict(network: Classifier, images: tf.Tensor) -> tf.Tensor:
    """Class probabilities [n, K] of images [n, h, w, c], without noise, by moving statistics."""
    return tf.nn.softmax(network.forward(images, False, False).logits)


def consistency_weight(config: Config, progress: tf.Tensor) -> tf.Tensor:
    """Weight of the consistency loss, which rises over the share `consistency_ramp` of a phase."""
    ramp = max(1e-9, config.own["consistency_ramp"])
    return config.own["consistency_weight"] * tf.minimum(1.0, progress / ramp)


def sure_first(
    count: int | None, images: tf.Tensor, classes: tf.Tensor, confident: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The first `count` of images [n, …], classes [n] and their confidence [n], sure ones first.

    A pseudo-label that is not sure teaches nothing, so its image need not be looked at: that saves
    most of a step. None keeps all. In the order given, among equally sure ones. Several
    devices share the count: each takes the surest of its own images.
    """
    if count is None:
        return images, classes, confident
    here = -(-count // devices.count())
    first = tf.argsort(confident, direction="DESCENDING", stable=True)[:here]
    return tf.gather(images, first), tf.gather(classes, first), tf.gather(confident, first)


class AlignedTeacher(Part):
    """A mean teacher (Tarvainen & Valpola 2017) whose predictions are aligned to a class balance.

    Distribution alignment: Berthelot et al. 2020 (ReMixMatch, section 3.1).
    """

    def __init__(self, average: Classifier, class_balance: NDArray[np.float32]) -> None:
        """`average` predicts; class_balance is the share of each class, [K]."""
        self.average = average
        self.class_balance = tf.Variable(class_balance, trainable=False)
        self.predicted_balance = tf.Variable(class_balance, trainable=False)

    @property
    def balances(self) -> tuple[tf.Variable, tf.Variable]:
        """The class balance, and the running mean, which begins as it: alignment changes nothing.

        A balance that is corrected before the first step is so in both.
        """
        return self.class_balance, self.predicted_balance

    def pseudo_labels(self, images: tf.Tensor, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
        """Classes of clean images [n, h, w, c], int32 [n], and whether they pass `threshold`."""
        probabilities = predict(self.average, images)
        running = devices.local(self.predicted_balance)
        seen = devices.mean(tf.reduce_mean(probabilities, axis=0))
        running.assign(ALIGNMENT_DECAY * running + (1 - ALIGNMENT_DECAY) * seen)
        aligned = probabilities * (self.class_balance / running)
        aligned /= tf.reduce_sum(aligned, axis=1, keepdims=True)
        return losses.pseudo_labels(aligned, threshold)
