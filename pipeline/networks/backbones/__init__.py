"""Networks whose weights somebody has trained already, for photographs with few labels (transfer).

A file here that does not begin with an underscore is one, its name the value of `backbone`; so is
every network of `keras.applications`. Importing this package imports no TensorFlow.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from pipeline.networks.backbones._backbone import Backbone

NONE, AUTO = "none", "auto"


def own() -> list[str]:
    """The backbones that need no download, a file each."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name[0] != "_")


def at_hand(weights: Path | None = None) -> str:
    """The backbone that can be had here without a download; `NONE` if there is none.

    weights: the file that a user has given, if they did.
    """
    if weights:
        return own()[0]
    modules = (importlib.import_module(f"{__name__}.{name}") for name in own())
    return next((m.__name__.rpartition(".")[2] for m in modules if m.found()), NONE)


def load(name: str, weights: Path | None, side: int) -> Backbone:
    """The backbone called `name` for images of `side` pixels, its weights from the file `weights`.

    Without a file: from the package that holds them, or from Keras's cache, into which Keras
    downloads them once.

    Raises:
        UserError: no such network, or its weights cannot be had or read.
    """
    loaded: Backbone
    if name in own():
        loaded = importlib.import_module(f"{__name__}.{name}").load(weights, side)
    else:
        others = importlib.import_module(f"{__name__}._applications")
        loaded = others.load(name, weights, side, own())
    return loaded
