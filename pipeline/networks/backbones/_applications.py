"""The networks of `keras.applications` as backbones; Keras fetches their weights once."""

import difflib
import hashlib
import importlib
import inspect
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pipeline.errors import UserError, cause
from pipeline.networks.backbones._backbone import IMAGENET, Backbone

SIDE = 224
SMALLEST = 75  # pixels of a side that every one of them takes


def names() -> list[str]:
    """What `keras.applications` has."""
    return sorted(
        name
        for name, found in vars(keras.applications).items()
        if inspect.isfunction(found) and "include_top" in inspect.signature(found).parameters
    )


def load(name: str, weights: Path | None, side: int, others: Sequence[str]) -> Backbone:
    """See `pipeline.networks.backbones.load`: one map. `others` are other known names."""
    if name not in names():
        known = [*others, *names()]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"backbone = {name!r}: no such network; {hint}known: {', '.join(known)}.")
    if weights and not weights.is_file():
        raise UserError(f"backbone_weights = {weights}: no such file.")
    make = getattr(keras.applications, name)
    shape = (max(side, SMALLEST), max(side, SMALLEST), 3)
    try:
        with warnings.catch_warnings(action="ignore"):  # of sizes, and what else an error says
            network = make(include_top=False, weights=str(weights or "imagenet"), input_shape=shape)
    except Exception as error:  # a bare one is what Keras raises where nothing can be fetched
        if not isinstance(error, OSError | ValueError | KeyError) and type(error) is not Exception:
            raise
        if weights:
            raise UserError(
                f"backbone = {name}: weights {weights} cannot be read ({cause(error)})."
            ) from None
        raise UserError(
            f"backbone = {name}: its weights cannot be fetched ({cause(error)}); go online "
            "once, give the file as backbone_weights, or leave backbone at none."
        ) from None
    digest = hashlib.sha256()
    for weight in network.get_weights():
        digest.update(weight.tobytes())
    images = keras.Input(shape)
    prepare = importlib.import_module(make.__module__).preprocess_input
    maps = network(Prepared(prepare)(images))
    found = keras.Model(images, maps, name=f"{name}_features")
    return Backbone(name, IMAGENET, digest.hexdigest()[:16], SIDE, found)


class Prepared(keras.layers.Layer):
    """Pixels as a network wants them: what its own module does with images in 0..255."""

    def __init__(self, prepare: Callable[[Any], Any]) -> None:
        """Hold the function."""
        super().__init__()
        self.prepare = prepare

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """float32 [n, h, w, 3] in 0..255 → as the network was trained."""
        return self.prepare(images)
