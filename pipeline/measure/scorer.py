"""The domain classifier: a small convnet trained on nearly ALL training labels, of images.

It gives features of images and says which class it sees. It serves evaluation only; no method, no
choice of a model and no prediction may use it, because it has read more labels than the run was
given.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline import progress
from pipeline.errors import RunFailure

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

VERSION = 5  # raise it with any change to its network, training or images, or to what is kept
CALL = 500  # images a call
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Scorer:
    """The domain classifier, trained; what it gives does not depend on the run's settings."""

    model: keras.Model  # uint8 images [n, h, w, c] → logits

    @property
    def digest(self) -> str:
        """Of its weights: the same features come of the same digest."""
        weights = hashlib.sha256()
        for each in self.model.get_weights():
            weights.update(np.ascontiguousarray(each).tobytes())
        return weights.hexdigest()

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features float32 [n, 64], ≥ 0, of uint8 images [n, h, w, c]: its last hidden layer."""
        import keras
        import tensorflow as tf

        extractor = keras.Model(self.model.inputs[0], self.model.get_layer("features").output)
        batches = np.array_split(images, max(1, -(-len(images) // CALL)))
        # Called layer by layer: `predict` would trace anew for each scorer and size of batch. On
        # the CPU: a GPU may round to ten bits.
        with tf.device("CPU:0"):
            found = [np.asarray(extractor(batch, training=False)) for batch in batches]
        return np.concatenate(found)

    def read(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """The class, int64 [n], that it sees in images of these features float32 [n, 64]."""
        kernel, bias = self.model.get_layer("logits").get_weights()
        return np.asarray((features @ kernel + bias).argmax(axis=1), np.int64)


def domain_scorer(
    labelled: Callable[[], tuple[NDArray[np.uint8], NDArray[np.int64]]],
    image_shape: tuple[int, ...],
    name: str,
    cache_dir: Path,
) -> Scorer:
    """A classifier of uint8 images [n, *image_shape]; for evaluation only.

    `labelled` gives images and labels int64 [n], from 0 on, to train on. The classifier is kept in
    `cache_dir` under `name`, which stands for them, and trained only when there is no sound copy:
    in a process of its own, always with one thread and without a GPU, so that it is the same
    whatever the run's settings. No random state of this process is read or changed.

    Raises:
        ValueError: fewer than two classes are labelled.
        RunFailure: the process that trains it has failed.
    """
    path = folder(cache_dir) / f"scorer-{VERSION}-{name}.keras"
    return Scorer(_load(path, image_shape) or _train(*labelled(), path))


def folder(cache_dir: Path) -> Path:
    """The folder with "~" expanded, or as it is where there is no home folder."""
    return Path(os.path.expanduser(cache_dir))  # noqa: PTH111  # Path's version would raise


def _train(images: NDArray[np.uint8], labels: NDArray[np.int64], path: Path) -> keras.Model:
    """Train it in a process of its own and keep it."""
    if len(np.unique(labels)) < 2:
        raise ValueError("the domain classifier needs labels of at least two classes")
    progress.phase("training the domain classifier, once per data set")
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("TF_")},
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    with tempfile.TemporaryDirectory(prefix="ssgan-scorer-") as scratch:
        np.save(Path(scratch) / "images.npy", images)
        np.save(Path(scratch) / "labels.npy", labels)
        command = [sys.executable, "-m", "pipeline.measure.scorer_training", scratch]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        made = Path(scratch) / "scorer.keras"
        if done.returncode or not made.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines()
            reason = said[-1] if said else f"exit code {done.returncode}"
            raise RunFailure(f"the domain classifier could not be trained: {reason}")
        model = _load(made, images.shape[1:])
        _keep(made, path)
    assert model is not None
    return model


def _load(path: Path, image_shape: tuple[int, ...]) -> keras.Model | None:
    """The kept network, or None when there is none that can be used."""
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


def _keep(made: Path, path: Path) -> None:
    """Write under another name, then rename: no reader ever meets half a file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            Path(shutil.copy(made, scratch)).replace(path)
    except OSError as error:  # the cache saves time; a full or read-only disk costs only that
        logger.warning("domain scorer not kept in %s: %s", path, error)
