"""Convolutions in forms that are fast on a CPU, and a start from the images themselves."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from pipeline.ops import runtime

EPSILON = 5e-4  # added to the variance of each direction of a patch, pixels of unit spread


@tf.custom_gradient
def same_convolution(
    x: tf.Tensor, kernel: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """A convolution of odd kernel and stride 1 that keeps the map's size, its borders zero.

    x [n, h, w, c], kernel [k, k, c, d] of one type → [n, h, w, d]. The gradient of x is such a
    convolution too. As one it is 1.3 to 4 times faster on a CPU than the kernel that TensorFlow
    takes for it, and so are the gradients of a penalty on it (of the second order).
    """

    def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        turned = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
        of_kernel = tf.raw_ops.Conv2DBackpropFilter(
            input=x,
            filter_sizes=kernel.shape,
            out_backprop=upstream,
            strides=[1, 1, 1, 1],
            padding="SAME",
        )
        return same_convolution(upstream, turned), of_kernel

    return tf.nn.conv2d(x, kernel, 1, "SAME"), backward


WIDEST = 3  # columns of a depthwise kernel whose gradient a CPU takes by its fast program


def depthwise_convolution(x: tf.Tensor, kernel: tf.Tensor, stride: int) -> tf.Tensor:
    """A convolution of each channel with its own kernel, borders zero.

    x float32 [n, h, w, c], kernel float32 [k, k, c, 1] → [n, ⌈h / stride⌉, ⌈w / stride⌉, c]. On a
    CPU the gradient of a kernel of more than `WIDEST` columns is put together from those of narrow
    ones: 3 to 6 times faster at 5 × 5 and stride 1.
    """
    strides = [1, stride, stride, 1]

    @tf.custom_gradient
    def convolved(
        x: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            of_x = tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
                input_sizes=tf.shape(x),
                filter=kernel,
                out_backprop=upstream,
                strides=strides,
                padding="SAME",
            )
            return of_x, _gradient_of_kernel(x, kernel.shape, upstream, stride)

        return tf.nn.depthwise_conv2d(x, kernel, strides, "SAME"), backward

    return convolved(x, kernel)


def _gradient_of_kernel(
    x: tf.Tensor, shape: tf.TensorShape, upstream: tf.Tensor, stride: int
) -> tf.Tensor:
    size, strides = shape[0], [1, stride, stride, 1]
    if size <= WIDEST or runtime.has_gpu():
        return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=x, filter_sizes=shape, out_backprop=upstream, strides=strides, padding="SAME"
        )
    (rows, columns), (high, wide) = x.shape[1:3], upstream.shape[1:3]
    needed = max((high - 1) * stride + size - rows, 0)
    above = (needed // 2, needed - needed // 2)
    before = max((wide - 1) * stride + size - columns, 0) // 2
    parts: list[tf.Tensor] = []
    for first in [*range(0, size - WIDEST, WIDEST), size - WIDEST]:
        # The columns that this part of the kernel sees; those beyond the image's are zeros.
        begin, end = first - before, first - before + (wide - 1) * stride + WIDEST
        seen = x[:, :, max(begin, 0) : end] if begin > 0 or end < columns else x
        beside = (max(-begin, 0), max(end - columns, 0))
        part = tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=tf.pad(seen, [[0, 0], above, beside, [0, 0]]),
            filter_sizes=[size, WIDEST, *shape[2:]],
            out_backprop=upstream,
            strides=strides,
            padding="VALID",
        )
        parts.append(part[:, WIDEST * len(parts) - first :])
    return tf.concat(parts, axis=1)


class DepthwiseConvolution(keras.layers.DepthwiseConv2D):
    """Keras's layer by `depthwise_convolution`: a square kernel, one stride, borders zero."""

    def __init__(self, size: int, stride: int) -> None:
        """A kernel of `size` × `size` for each channel, and a bias."""
        super().__init__(size, stride, "same")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Map float32 [n, h, w, c] to [n, ⌈h / stride⌉, ⌈w / stride⌉, c]."""
        convolved = depthwise_convolution(inputs, self.kernel.value, self.strides[0])
        return tf.nn.bias_add(convolved, self.bias.value)


class Convolution(keras.layers.Layer):
    """A 3×3 convolution without bias, its border padded with zeros (He et al. 2015 start)."""

    padding = "SAME"

    def __init__(self, channels: int, stride: int, seed: int, policy: str = "float32") -> None:
        """`channels` outputs at every `stride`-th place; `policy` gives the type of the product."""
        super().__init__(autocast=False)
        self.channels, self.stride, self.seed = channels, stride, seed
        self.product_dtype = keras.DTypePolicy(policy).compute_dtype

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Draw the kernel."""
        start = keras.initializers.HeNormal(seed=self.seed)
        size = (3, 3, shape[-1], self.channels)
        self.kernel = self.add_weight(shape=size, initializer=start, name="kernel")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Map [n, h, w, c] to [n, ⌈h / stride⌉, ⌈w / stride⌉, channels] of the product's type."""
        x, kernel = (tf.cast(part, self.product_dtype) for part in (x, self.kernel.value))
        if self.stride == 1:
            return same_convolution(x, kernel)
        return tf.nn.conv2d(x, kernel, self.stride, self.padding)

    def arranged(self, x: tf.Tensor) -> tf.Tensor:
        """What the kernel slides over: x itself."""
        return x


class PatchConvolution(keras.layers.Layer):
    """A convolution of square patches without bias, the first layer of large images.

    Each side is cut into cells, whose pixels become channels (space to depth): with three channels
    the convolution itself is half as fast on a CPU. A patch is 2 × 2 cells and overlaps its
    neighbours by half, or one cell if they are larger than `OVERLAPPING` pixels.
    """

    padding = "VALID"  # of what `arranged` gives
    OVERLAPPING = 4

    def __init__(self, channels: int, cell: int, seed: int, policy: str = "float32") -> None:
        """`channels` outputs for every cell of `cell` ≥ 2 pixels; `policy` as in `Convolution`."""
        super().__init__(autocast=False)
        self.channels, self.cell, self.seed = channels, cell, seed
        self.cells = 2 if cell <= self.OVERLAPPING else 1
        self.product_dtype = keras.DTypePolicy(policy).compute_dtype

    def build(self, shape: tuple[int, ...]) -> None:
        """Draw the kernel."""
        start = keras.initializers.HeNormal(seed=self.seed)
        size = (self.cells, self.cells, self.cell**2 * shape[-1], self.channels)
        self.kernel = self.add_weight(shape=size, initializer=start, name="kernel")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Map [n, h, w, c] to [n, ⌈h / cell⌉, ⌈w / cell⌉, channels] of the product's type."""
        x = tf.cast(self.arranged(x), self.product_dtype)
        kernel = tf.cast(self.kernel.value, self.product_dtype)
        return tf.nn.conv2d(x, kernel, 1, self.padding)

    def arranged(self, x: tf.Tensor) -> tf.Tensor:
        """The padded image [n, h, w, c] with a cell's pixels as channels of one place."""
        sizes = [(-(-side // self.cell) + self.cells - 1) * self.cell for side in x.shape[1:3]]
        missing = [size - side for size, side in zip(sizes, x.shape[1:3], strict=True)]
        x = tf.pad(x, [[0, 0], *([part // 2, part - part // 2] for part in missing), [0, 0]])
        return tf.nn.space_to_depth(x, self.cell)


def whiten(layer: Convolution | PatchConvolution, x: tf.Tensor) -> None:
    """Let a built layer start by whitening the patches of x, float32 [n, h, w, c].

    Half of its filters are the patches' first principal components, each over its standard
    deviation; the other half are their opposites (Jordan 2024, arXiv 2404.00498). If there are
    fewer components, the other filters stay as they were drawn.
    """
    size, _, channels, n = layer.kernel.shape
    places = tf.image.extract_patches(
        layer.arranged(x), [1, size, size, 1], [1, 1, 1, 1], [1, 1, 1, 1], layer.padding
    )
    patches = tf.reshape(places, [-1, size * size * channels]).numpy()
    patches -= patches.mean(axis=0)
    variances, directions = np.linalg.eigh(patches.T @ patches / len(patches))
    order = np.argsort(-variances)[: n // 2]
    filters = directions[:, order] / np.sqrt(variances[order] + EPSILON)
    kernel = layer.kernel.numpy().reshape([-1, n])
    kernel[:, : 2 * len(order)] = np.hstack([filters, -filters])
    layer.kernel.assign(kernel.reshape(layer.kernel.shape))
