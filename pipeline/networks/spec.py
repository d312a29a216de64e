"""What networks are built for: shapes of the data, some of its images, a generator's random input.

No TensorFlow.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import Config

SHOWN_CLASSES = 20  # whose samples are shown, at most: a class a row


def unchanged() -> NDArray[np.uint8]:
    """The table uint8 [256] that leaves every pixel as it is."""
    return np.arange(256, dtype=np.uint8)


def reduced_shape(image_shape: tuple[int, int, int], largest: int) -> tuple[int, int, int]:
    """The shape [h, w, c] whose longer side is `largest` pixels at most, the shorter 8 at least."""
    height, width, channels = image_shape
    factor = min(1.0, largest / max(height, width))
    height, width = (max(min(8, side), round(side * factor)) for side in (height, width))
    return height, width, channels


@dataclass(frozen=True)
class Spec:
    """What a method must know of the data before it builds its networks."""

    image_shape: tuple[int, int, int]  # (h, w, c)
    n_classes: int
    class_balance: NDArray[np.float32]  # share of each class among the labelled images, [K]
    pixel_scale: float  # 1 / standard deviation of the training pixels in [0, 1]
    first_images: NDArray[np.uint8]  # some training images, for data-dependent initialisation
    # Training images are stretched to fill 0..255, which noise, views and generators are made for.
    stretching: NDArray[np.uint8] = field(default_factory=unchanged)  # stored pixel → stretched
    shrinking: NDArray[np.uint8] = field(default_factory=unchanged)  # and back, both [256]


@dataclass(frozen=True)
class Latents:
    """The random input of a generator."""

    size: int
    distribution: Literal["normal", "uniform"]  # standard normal, or uniform in [0, 1)
    n_classes: int = 0  # > 0: conditional, a one-hot label of this length behind each latent

    def draw(
        self, n: int, random: np.random.Generator, labels: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Latents [n, size], or [n, size + n_classes] with `labels` int [n] if conditional."""
        draw = random.standard_normal if self.distribution == "normal" else random.random
        latents = draw((n, self.size), dtype=np.float32)
        if not self.n_classes:
            return latents
        return np.hstack([latents, np.eye(self.n_classes, dtype=np.float32)[labels]])

    def grid_labels(self, n: int) -> NDArray[np.int64] | None:
        """Labels of n samples in equal runs by class, or None if not conditional.

        Of many classes the first `SHOWN_CLASSES`.
        """
        return np.arange(n) * min(self.n_classes, SHOWN_CLASSES) // n if self.n_classes else None


def some_of(places: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """`places` [n], or `most` of them where there are more, in their order; the same at every call.

    Drawn, not every k-th: the classes of data may take turns.
    """
    if len(places) <= most:
        return places
    return places[np.sort(np.random.default_rng(0).choice(len(places), most, replace=False))]


def dtype_policy(config: Config) -> str:
    """Keras's dtype policy that `precision` names; "auto" that is not settled is float32."""
    return "mixed_bfloat16" if config.precision == "bfloat16" else "float32"
