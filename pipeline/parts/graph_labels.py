"""Labels spread over a graph of the images' neighbours, as pseudo-labels of a training."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from pipeline.config.schema import Config
from pipeline.measure.two_sample import unlabelled_compared
from pipeline.networks.layers import Classifier
from pipeline.networks.spec import some_of
from pipeline.ops import devices
from pipeline.ops.label_graph import LabelGraph, most_confident, principal_components
from pipeline.parts import Part, pool_balance

COMPONENTS_FROM = 10000  # images that the principal components of the features are fitted to
CALL_PIXELS = 2**22  # of images that are brought and looked at at a time
MAPS_BYTES = 2**28  # of maps held at a time; of larger images fewer are


class GraphLabels(Part):
    """Classes that the graph gives to images, by their position among the training images."""

    def __init__(self, network: Classifier) -> None:
        """Neighbours are looked for in the maps of `network`."""
        self.network = network
        self.labels = tf.Variable([-1], shape=[None], trainable=False)

    def of(self, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Classes int32 [n] of images by position int32 [n], and whether they have one, float."""
        spread = tf.gather(devices.local(self.labels), positions)
        return tf.maximum(spread, 0), tf.cast(spread >= 0, tf.float32)

    def spread(
        self,
        images: NDArray[np.uint8],
        pool: NDArray[np.int64],
        labelled: NDArray[np.int64],
        labels: NDArray[np.int64],
        unknown: NDArray[np.int64],
        class_balances: Sequence[tf.Variable],
        config: Config,
    ) -> Mapping[str, float]:
        """Spread the labels over the graph; keep the surest share of each class.

        images [n, h, w, c], read part by part; pool and labelled are positions in them, labels
        those of labelled; unknown are the positions of images whose label nobody knows;
        class_balances [K] hold the share of each class, corrected here if it is wrong.
        """
        kept = np.full(len(images), -1, np.int32)
        compared: Mapping[str, float] = {}
        kept[labelled] = labels
        others = np.setdiff1d(pool, labelled)
        if len(others):
            order = np.random.default_rng(config.seed).permutation(len(others))
            places = np.concatenate([labelled, others[order]])
            features = self._components(images, places)
            compared = unlabelled_compared(features, np.isin(places, unknown), config.seed)
            parts = features[: len(labelled)], labels, features[len(labelled) :]
            compared = {**compared, **pool_balance.follow(class_balances, *parts, config.seed)}
            balance = class_balances[0].numpy()
            graph = LabelGraph(features, largest=max(config.own["graph_images"], len(labelled)))
            known = np.concatenate([labels, np.full(len(others), -1)])
            error = graph.left_out_error(known, balance)
            compared = {**compared, **({} if error is None else {"graph_error": error})}
            probabilities = graph.spread(known, balance)
            found = most_confident(probabilities, config.own["graph_confident_share"])
            kept[others] = found[len(labelled) :][np.argsort(order)]
        self.labels.assign(kept)
        return compared

    def _components(
        self, images: NDArray[np.uint8], places: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """What neighbours are looked for in, float32 [n, d]: components of the network's maps.

        Not the last hidden layer, where contrastive learning has torn the kinds of a class apart:
        MNIST's sevens with a bar lie no nearer to other sevens there than to twos, on the maps
        below three times nearer. Two maps, because the longer a warm-up, the fewer such ties the
        last one keeps.
        """
        a_row = sum(part.nbytes for part in self._maps(images, places[:1]))
        rows = max(1, min(COMPONENTS_FROM, MAPS_BYTES // a_row))
        sample = self._maps(images, some_of(places, rows))
        to_components = [principal_components(part) for part in sample]
        del sample
        parts = []
        for some in np.array_split(places, -(-len(places) // rows)):
            pairs = zip(to_components, self._maps(images, some), strict=True)
            parts.append(np.hstack([normalize(reduce(part)) for reduce, part in pairs]))
        return np.concatenate(parts)

    def _maps(
        self, images: NDArray[np.uint8], places: NDArray[np.int64]
    ) -> list[NDArray[np.float32]]:
        """The network's maps of the clean images at places, each float32 [n, d]."""
        at_once = max(1, min(1000, CALL_PIXELS // self.network.pixels))
        parts = [
            self.network.forward(images[some] / np.float32(255), False, False).maps
            for some in np.array_split(places, -(-len(places) // at_once))
        ]
        return [
            np.concatenate([np.reshape(one, [len(one), -1]) for one in layer])
            for layer in zip(*parts, strict=True)
        ]
