"""A classifier on a network that somebody has trained already (transfer)."""

import math

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from pipeline.config.schema import Config
from pipeline.networks import backbones
from pipeline.networks.backbones._backbone import Backbone
from pipeline.networks.layers import Activations, Classifier
from pipeline.networks.spec import Spec, some_of
from pipeline.ops.devices import Random

ENLARGED = 8  # times, at most: what is larger shows no more
LENGTH = 36.0  # of an image's features: what the penalty of the logistic regression was found for
LEAST_SPREAD = 0.05  # of a feature, as a share of the root mean square over its map
INVERSE_PENALTY = 0.003  # of the logistic regression, scikit-learn's C
MOST_LABELS = 10000  # about, that the logistic regression is fitted to


def working_side(side: int, least: int) -> int:
    """Side in pixels of what the backbone sees of images of `side`; `least` where that suffices."""
    return min(max(side, least), ENLARGED * side)


class PretrainedClassifier(Classifier):
    """Means over the places of a backbone's maps, each scaled to unit spread; one linear layer.

    The linear layer starts as a logistic regression on the labelled images (`fit_output`), then
    everything is trained on: first the probe, then the features (Kumar et al. 2022), or else the
    first steps of a random layer would spoil them. Normalisation uses the backbone's own
    statistics throughout. Grey images are shown in three equal channels.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_classes: int,
        backbone: Backbone,
        random: Random,
    ) -> None:
        """Build for images of `image_shape` (h, w, c)."""
        super().__init__()
        self.random = random
        self.image_shape, self.side = image_shape, backbone.network.input_shape[1]
        self.body, self.digest = backbone.network, backbone.digest
        shapes = self.body.output_shape
        self.widths = tuple(s[-1] for s in (shapes if isinstance(shapes, list) else [shapes]))
        # Each map counts as much as any other, however many channels it has.
        share = [LENGTH / math.sqrt(len(self.widths) * width) for width in self.widths]
        self.share = np.repeat(np.array(share, np.float32), self.widths)
        size = sum(self.widths)
        self.centre = self.add_weight(shape=(size,), initializer="zeros", trainable=False)
        self.scale = self.add_weight(shape=(size,), initializer="ones", trainable=False)
        self.output_layer = keras.layers.Dense(n_classes, kernel_initializer="zeros")
        self(tf.zeros([1, *image_shape]))

    @property
    def pixels(self) -> int:
        """See `Classifier.pixels`."""
        return max(super().pixels, int(self.side) ** 2)

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """Means over the places of the backbone's maps, float32 [n, d], of images in [0, 1]."""
        if images.shape[-1] == 1:
            images = tf.repeat(images, 3, axis=-1)
        if images.shape[1:3] != (self.side, self.side):
            images = tf.image.resize(images, [self.side, self.side])
        maps = self.body(images * 255.0, training=False)
        maps = maps if isinstance(maps, list) else [maps]
        return tf.concat([tf.reduce_mean(one, axis=[1, 2]) for one in maps], axis=1)

    def forward(
        self,
        images: tf.Tensor,
        training: bool,
        update_statistics: bool,
        prepared: None = None,
        noisy: bool = True,
    ) -> Activations:
        """See `Classifier.forward`; there is neither noise nor a statistic to update."""
        h = (self.features(images) - self.centre.value) * self.scale.value
        return Activations(self.output_layer(h), (h,), (h,))

    def fit_output(
        self,
        some: NDArray[np.float32],
        labelled: NDArray[np.float32],
        labels: NDArray[np.int64],
    ) -> None:
        """Set the scaling from the features of `some` images, the last layer from labelled ones.

        some [m, d] and labelled [n, d] are what `features` gives; labels int64 [n] in 0..K-1.
        """
        self.centre.assign(some.mean(axis=0))
        self.scale.assign(self.share / self._spread(some))
        scaled = (labelled - self.centre.numpy()) * self.scale.numpy()
        self.output_layer.set_weights(regression(scaled, labels, self.output_layer.units))

    def _spread(self, some: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standard deviation of each feature of `some` [m, d], none far below others of its map.

        One that is 0 in all of them (ReLU) would outshout the others once a view wakes it.
        """
        maps = np.split(some.std(axis=0), np.cumsum(self.widths)[:-1])
        least = [max(LEAST_SPREAD * float(np.sqrt(np.mean(one**2))), 1e-4) for one in maps]
        return np.concatenate([np.maximum(*pair) for pair in zip(maps, least, strict=True)])

    def read(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [n, K] of what `features` gives, [n, d]."""
        scaled = (features - self.centre.numpy()) * self.scale.numpy()
        kernel, bias = self.output_layer.get_weights()
        return np.asarray(scaled @ kernel + bias, np.float32)


def regression(
    features: NDArray[np.float32], labels: NDArray[np.int64], n_classes: int
) -> list[NDArray[np.float32]]:
    """Kernel [d, K] and bias [K] of a logistic regression on features [n, d], labels int64 [n]."""
    seen = np.unique(labels)
    if len(seen) == 1:  # nothing to tell apart
        return [
            np.zeros((features.shape[1], n_classes), np.float32),
            (np.arange(n_classes) == seen[0]).astype(np.float32),
        ]
    some = _thinned(labels)
    with threadpool_limits(limits=1, user_api="blas"):  # sums depend on the number of threads
        found = LogisticRegression(C=INVERSE_PENALTY, max_iter=300).fit(
            features[some], labels[some]
        )
    kernel, bias = found.coef_.T, found.intercept_
    if len(seen) == 2:  # one column: the difference of two
        kernel, bias = np.hstack([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
    # A class that no label shows begins as less likely than every other.
    all_of = [np.zeros((len(kernel), n_classes)), np.full(n_classes, bias.min() - 1.0)]
    all_of[0][:, seen], all_of[1][seen] = kernel, bias
    return [part.astype(np.float32) for part in all_of]


def _thinned(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of about `MOST_LABELS` labels, ascending, of each class in its share; or of all."""
    share = MOST_LABELS / len(labels)
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.sort(np.concatenate([some_of(at, math.ceil(share * len(at))) for at in classes]))


def build(config: Config, spec: Spec, random: Random) -> PretrainedClassifier:
    """The classifier on the backbone that the configuration names, for images of `spec`."""
    side = working_side(min(spec.image_shape[:2]), config.backbone_side)
    backbone = backbones.load(config.backbone, config.backbone_weights, side)
    return PretrainedClassifier(spec.image_shape, spec.n_classes, backbone, random)
