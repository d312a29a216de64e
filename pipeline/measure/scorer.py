"""The domain scorer: a small convnet, trained on ALL training labels, gives features of images.

It serves evaluation only; no method, no choice of a model and no prediction may use it, because it
has read more labels than the run was given.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline import progress

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

VERSION = 3  # raise it with any change to the scorer's network, training or images
SEED = 20_260
STEPS, FEWEST_STEPS = 400, 100
BATCH = 128
PASSES = 40  # over the labelled images, after which more steps teach nothing
SIDE = 32  # pixels that larger images are brought to, so that measuring does not outlast training
FEATURES = 64
CALL = 500  # images a call when it gives features


def domain_scorer(
    train_images: NDArray[np.uint8],
    train_labels: NDArray[np.int64],
    digest: str,
    cache_dir: Path,
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Features of a convnet trained on ALL training labels; for evaluation only.

    Takes images [n, h, w, c] and labels [n] (-1 = unlabelled, ignored). Returns a function from
    uint8 images of the same [h, w, c] to float32 features [n, FEATURES], >= 0. The network
    is kept in `cache_dir` under `digest` (of the training data) and trained only when there is no
    sound copy. Neither Python's, NumPy's nor TensorFlow's global random state is read or changed.
    Raises ValueError when fewer than two classes are labelled.
    """
    import keras

    # os.path's version leaves "~" as it is where there is no home folder.
    folder = Path(os.path.expanduser(cache_dir))  # noqa: PTH111
    path = folder / f"scorer-{VERSION}-{digest}.keras"
    model = _load(path, train_images.shape[1:])
    if model is None:
        model = _train(train_images, train_labels)
        _save(model, path)
    extractor = keras.Model(model.inputs[0], model.get_layer("features").output)

    def features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches = np.array_split(images, max(1, -(-len(images) // CALL)))
        # Called layer by layer: `predict` would trace anew for each scorer and size of batch.
        return np.concatenate([np.asarray(extractor(batch, training=False)) for batch in batches])

    return features


def _network(image_shape: tuple[int, ...], n_classes: int) -> keras.Model:
    """Halve the image by strided convolutions until it is at most 4 wide, then two dense layers.

    Batch normalisation keeps the features of every data set on one scale, which KID depends on.
    """
    import keras

    seeds = iter(range(SEED, SEED + 100))

    def weights(kind: type[keras.layers.Layer], *args: object, **kwargs: object) -> object:
        # Own seeds leave the global ones alone; float32 whatever the run's global precision is.
        init = keras.initializers.HeNormal(seed=next(seeds))
        return kind(*args, kernel_initializer=init, dtype="float32", **kwargs)

    def normalised_relu(name: str) -> list[object]:
        # 0.9: the default momentum of 0.99 would not settle within the few steps.
        norm = keras.layers.BatchNormalization(momentum=0.9, dtype="float32")
        return [norm, keras.layers.ReLU(dtype="float32", name=name)]

    layers: list[object] = [
        keras.Input(image_shape, dtype="uint8"),
        keras.layers.Rescaling(1 / 255, dtype="float32"),
    ]
    side, filters = max(image_shape[:2]), 32
    if side > SIDE:
        size = [max(1, round(length * SIDE / side)) for length in image_shape[:2]]
        layers.append(keras.layers.Resizing(*size, antialias=True, dtype="float32"))
        side = SIDE
    while side > 4:
        conv = weights(
            keras.layers.Conv2D,
            filters,
            3,
            strides=2,
            padding="same",
            use_bias=False,
        )
        layers += [conv, *normalised_relu(f"conv_{side}")]
        side, filters = -(-side // 2), min(2 * filters, 128)
    layers += [
        keras.layers.Flatten(dtype="float32"),
        weights(keras.layers.Dense, FEATURES, use_bias=False),
        *normalised_relu("features"),
        weights(keras.layers.Dense, n_classes),
    ]
    return keras.Sequential(layers)


def _train(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> keras.Model:
    """Train on the labelled images for `STEPS` steps, fewer if these are more than `PASSES`."""
    import keras

    labelled = np.flatnonzero(labels >= 0)
    if len(np.unique(labels[labelled])) < 2:
        raise ValueError("the domain scorer needs labels of at least two classes")
    progress.phase("training the domain classifier, once per data set")
    steps = min(STEPS, max(FEWEST_STEPS, -(-PASSES * len(labelled) // BATCH)))
    model = _network(images.shape[1:], int(labels.max()) + 1)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,  # XLA would take longer to compile than the training takes
    )
    # Whole passes in random order, one after the other. Our own order: Keras' shuffle would draw
    # from TensorFlow's global generator.
    rng = np.random.default_rng(SEED)
    drawn = steps * BATCH
    passes = [rng.permutation(labelled) for _ in range(-(-drawn // len(labelled)))]
    for batch in np.concatenate(passes)[:drawn].reshape(steps, BATCH):
        model.train_on_batch(images[batch], labels[batch])
    return model


def _load(path: Path, image_shape: tuple[int, ...]) -> keras.Model | None:
    """The cached network, or None when there is none that can be used."""
    import keras

    try:
        if not path.exists():
            return None
        model = keras.models.load_model(path, compile=False, safe_mode=True)
        if model.input_shape[1:] != image_shape:
            raise ValueError(f"made for images {model.input_shape[1:]}, not {image_shape}")
    except Exception as error:  # a damaged file fails in many ways: zip, JSON, HDF5, Keras
        logger.warning("domain scorer %s cannot be used, training it again: %s", path, error)
        return None
    return model


def _save(model: keras.Model, path: Path) -> None:
    """Write under another name, then rename: no reader ever meets half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            model.save(Path(scratch) / path.name)
            (Path(scratch) / path.name).replace(path)
    except OSError as error:  # the cache saves time; a full or read-only disk costs only that
        logger.warning("domain scorer not kept in %s: %s", path, error)
