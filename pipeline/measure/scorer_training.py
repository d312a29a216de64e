"""Trains the domain classifier in a process of its own: one thread, no GPU, deterministic.

    python -m pipeline.measure.scorer_training <folder>

TensorFlow's threads and switches are set once a process, and those of a run would change the sums.
So nothing of the run reaches this process but the images and labels in `<folder>/images.npy` and
`<folder>/labels.npy`. It writes the network to `<folder>/scorer.keras`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

SEED = 20_260
STEPS, FEWEST_STEPS = 800, 100
BATCH = 64
PASSES = 16  # over the images, after which more steps teach little
FEATURES = 64
CHUNK = 50  # steps of one compiled call


def main(folder: Path) -> None:
    """Train on the images and labels of a folder and leave the network there."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.experimental.enable_op_determinism()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    keras.utils.set_random_seed(SEED)
    model = trained(np.load(folder / "images.npy"), np.load(folder / "labels.npy"))
    model.save(folder / "scorer.keras")


def trained(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> keras.Model:
    """A network for uint8 images [n, h, w, c], trained on their labels int64 [n], 0..K-1.

    It sees the images `PASSES` times, in at least `FEWEST_STEPS` and at most `STEPS` steps.
    """
    import keras
    import tensorflow as tf

    steps = min(STEPS, max(FEWEST_STEPS, PASSES * len(labels) // BATCH)) // CHUNK * CHUNK
    model = network(images.shape[1:], int(labels.max()) + 1)
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps))
    optimizer.build(model.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def descend(images: tf.Tensor, labels: tf.Tensor) -> None:
        for step in tf.range(CHUNK):
            with tf.GradientTape() as tape:
                value = loss(labels[step], model(images[step], training=True))
            gradients = tape.gradient(value, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    random, drawn = np.random.default_rng(SEED), steps * BATCH
    passes = [random.permutation(len(labels)) for _ in range(-(-drawn // len(labels)))]
    for batches in np.concatenate(passes)[:drawn].reshape(-1, CHUNK, BATCH):
        descend(tf.constant(images[batches]), tf.constant(labels[batches]))
    return model


def network(image_shape: tuple[int, ...], n_classes: int) -> keras.Model:
    """Halve the image by strided convolutions until it is at most 4 wide, then two dense layers.

    Batch normalisation keeps the features of every data set on one scale, which KID depends on.
    """
    import keras

    seeds = iter(range(SEED, SEED + 100))

    def weights(kind: type[keras.layers.Layer], *args: object, **kwargs: object) -> object:
        init = keras.initializers.HeNormal(seed=next(seeds))
        # float32 is written into the file: the run that loads it may have another global policy.
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
    while side > 4:
        options = {"strides": 2, "padding": "same", "use_bias": False}
        conv = weights(keras.layers.Conv2D, filters, 3, **options)
        layers += [conv, *normalised_relu(f"conv_{side}")]
        side, filters = -(-side // 2), min(2 * filters, 128)
    layers += [
        keras.layers.Flatten(dtype="float32"),
        weights(keras.layers.Dense, FEATURES, use_bias=False),
        *normalised_relu("features"),
        weights(keras.layers.Dense, n_classes, name="logits"),
    ]
    return keras.Sequential(layers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
