"""What a backbone is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

IMAGENET = "ImageNet-1k (1.28 million photographs of 1,000 kinds of things)"


@dataclass(frozen=True)
class Backbone:
    """A network without its head, and where its weights come from."""

    name: str
    trained_on: str  # what the weights have seen, as people say it
    digest: str  # of the weights, hexadecimal
    side: int  # pixels of the images that it was trained on
    network: keras.Model  # float32 [n, side, side, 3] in 0..255 → its maps, shallow ones first
