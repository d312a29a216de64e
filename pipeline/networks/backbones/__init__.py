"""Networks whose weights somebody has trained already, for photographs with few labels (transfer).

A file here that does not begin with an underscore is one, its name the value of `backbone`; so is
every network of `keras.applications`. Importing this package imports no TensorFlow.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from pipeline.errors import UserError
from pipeline.networks.backbones._backbone import IMAGENET, Backbone

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
    return next((name for name in own() if _module(name).found()), NONE)


def digest(name: str, weights: Path | None) -> str:
    """What identifies the weights of a backbone: 16 hex digits of their file's SHA-256.

    "" where Keras fetches them, or where there are none. Loads no TensorFlow.

    Raises:
        UserError: the file that a user has given cannot be read.
    """
    file = weights or (_module(name).found() if name in own() else None)
    if file is None or name in (NONE, AUTO):
        return ""
    try:
        status = file.stat()
        return _digest(file, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise UserError(f"backbone_weights = {file}: {error.strerror or error}.") from None


def other_weights(name: str, weights: Path | None) -> str:
    """`digest` of weights that are not the published ones; "" where the name says it all.

    Raises:
        UserError: as `digest`.
    """
    found = digest(name, weights)
    return "" if name in own() and found == _module(name).PUBLISHED else found


def described(name: str, weights: Path | None) -> str:
    """Which weights a backbone has, for people; the last word is their `digest`, if there is one.

    Raises:
        UserError: as `digest`.
    """
    found = digest(name, weights)
    if not found:
        return f"{name}, trained on {IMAGENET}, fetched by Keras"
    known = not other_weights(name, weights)
    seen = f"trained on {IMAGENET}" if known else f"weights of a user's file, {weights}"
    return f"{name}, {seen}, SHA-256 {found}"


@functools.lru_cache
def _digest(file: Path, size: int, time: int) -> str:
    """Of a file of this size that was changed at this time, so that it is read once."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def load(name: str, weights: Path | None, side: int) -> Backbone:
    """The backbone called `name` for images of `side` pixels, its weights from the file `weights`.

    Without a file: from the package that holds them, or from Keras's cache, into which Keras
    downloads them once.

    Raises:
        UserError: no such network, or its weights cannot be had or read.
    """
    loaded: Backbone
    if name in own():
        loaded = _module(name).load(weights, side)
    else:
        loaded = _module("_applications").load(name, weights, side, own())
    return loaded
