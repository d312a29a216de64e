"""Views that move pixels: one affine resampling, an elastic bend, thicker or thinner strokes."""

import math

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config.schema import Config
from pipeline.ops.devices import Random

ASPECT = math.log(4 / 3)  # largest change of a crop's width to height, natural logarithm
ELASTIC_GRID = 5  # points along each side at which displacements are drawn


def affine(images: tf.Tensor, config: Config, random: Random) -> tf.Tensor:
    """Crop, mirror, rotate, scale, shear and shift each image at random, in one resampling.

    Args:
        images: float32 [n, h, w, c].
        config: `augment_rotation` (radians), `augment_scale` (natural logarithm),
            `augment_shear`, `augment_shift` (share of the side): the largest of each, uniform;
            `augment_crop` (smallest share of the area, uniform up to 1), `augment_flip`;
            `augment_border`: what comes in from outside the image, 0 or its mirror image.
        random: source of the random numbers.

    Returns:
        float32 [n, h, w, c], bilinear between pixels; the images themselves if there is nothing
        to do.
    """
    height, width = images.shape[1:3]
    amounts = [
        config.augment_rotation,
        config.augment_scale,
        config.augment_scale,
        config.augment_shear,
        config.augment_shift * width,
        config.augment_shift * height,
    ]
    cuts = config.augment_crop < 1 or config.augment_flip
    if not any(amounts) and not cuts:
        return images
    amounts += [1.0] * 5 if cuts else []
    draws = random.uniform([images.shape[0], len(amounts)], -1.0, 1.0) * tf.constant(amounts)
    angle, log_width, log_height, shear, right, down, *cut = tf.unstack(draws, axis=1)
    scale_x, scale_y = tf.exp(log_width), tf.exp(log_height)
    cos, sin = tf.cos(angle), tf.sin(angle)
    # Output pixel (x, y) is read at (xx x + xy y + x0, yx x + yy y + y0), about the centre.
    xx, xy = cos * scale_x, (cos * shear - sin) * scale_y
    yx, yy = sin * scale_x, (sin * shear + cos) * scale_y
    if cuts:
        wide, high, across, along, side = _crop(config.augment_crop, *cut)
        side = side if config.augment_flip else 1.0
        xx, xy, right = xx * wide * side, xy * wide, right + across * (width / 2)
        yx, yy, down = yx * high * side, yy * high, down + along * (height / 2)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    x0 = centre_x - xx * centre_x - xy * centre_y + right
    y0 = centre_y - yx * centre_x - yy * centre_y + down
    mirror = config.augment_border == "mirror"
    if config.jit_compile:
        return gathered(images, [xx, xy, x0], [yx, yy, y0], mirror)
    zero = tf.zeros_like(xx)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([xx, xy, x0, yx, yy, y0, zero, zero], axis=1),
        output_shape=[height, width],
        interpolation="BILINEAR",
        fill_mode="REFLECT" if mirror else "CONSTANT",
        fill_value=0.0,
    )


def _crop(
    smallest: float, area: tf.Tensor, aspect: tf.Tensor, x: tf.Tensor, y: tf.Tensor, side: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    """Random crops of numbers uniform in [-1, 1), each float32 [n].

    Returns:
        Width and height, shares of the sides; how far the centre moves, in half sides; 1 or -1.
    """
    log_area = tf.math.log(1 - (1 - smallest) / 2 * (area + 1))
    # No side may be longer than the image's: a large crop has nearly the image's aspect.
    log_aspect = aspect * tf.minimum(ASPECT, -log_area)
    wide, high = tf.exp((log_area + log_aspect) / 2), tf.exp((log_area - log_aspect) / 2)
    return wide, high, x * (1 - wide), y * (1 - high), tf.where(side < 0, -1.0, 1.0)


def gathered(
    images: tf.Tensor, across: list[tf.Tensor], along: list[tf.Tensor], mirror: bool
) -> tf.Tensor:
    """Read each image at an affine map of its pixels' places: in operations that XLA has.

    Args:
        images: float32 [n, h, w, c].
        across: a, b, c, each float32 [n]; output pixel (x, y) is read at column a x + b y + c.
        along: the same of the row.
        mirror: beyond the edge comes the mirror image, without end; else 0.

    Returns:
        float32 [n, h, w, c], bilinear between pixels.
    """
    height, width = images.shape[1:3]
    y, x = np.indices((height, width), np.float32)
    columns, rows = (
        a[:, None, None] * x + b[:, None, None] * y + c[:, None, None]
        for a, b, c in (across, along)
    )
    if mirror:
        return _bilinear(images, _mirrored(rows, height), _mirrored(columns, width))
    framed = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return _bilinear(framed, rows + 1, columns + 1)


def _mirrored(places: tf.Tensor, length: int) -> tf.Tensor:
    """Places on a line of pixels that goes on as its mirror image: …1 0 | 0 1 2 | 2 1…"""
    turn = tf.math.floormod(places + 0.5, 2.0 * length)
    return tf.minimum(turn, 2.0 * length - turn) - 0.5


def elastic(images: tf.Tensor, amount: float, random: Random, compiled: bool = False) -> tf.Tensor:
    """Bend each image by a smooth random field of displacements (Simard et al. 2003).

    The field is drawn uniformly on a coarse grid and filled in bicubically.

    Args:
        images: float32 [n, h, w, c]; beyond the edge the edge's pixels go on.
        amount: largest displacement at the grid's points, share of the side; 0 = none.
        random: source of the random numbers.
        compiled: by operations that XLA has; equal but for rounding.

    Returns:
        float32 [n, h, w, c], bilinear between pixels, so within the images' range.
    """
    if not amount:
        return images
    n, height, width, _ = images.shape
    coarse = random.uniform([n, ELASTIC_GRID, ELASTIC_GRID, 2], -amount, amount)
    coarse *= [height, width]
    if compiled:
        down, right = bicubic(ELASTIC_GRID, height), bicubic(ELASTIC_GRID, width)
        moved = tf.einsum("yi,nijd,xj->nyxd", down, coarse, right)
    else:
        moved = tf.image.resize(coarse, [height, width], method="bicubic")
    rows = tf.range(height, dtype=tf.float32)[:, None] + moved[..., 0]
    columns = tf.range(width, dtype=tf.float32) + moved[..., 1]
    return _bilinear(images, rows, columns)


def bicubic(coarse: int, fine: int) -> NDArray[np.float32]:
    """What `tf.image.resize` does along a side, for which XLA has no kernel: [fine, coarse].

    Keys' cubic (a = -0.5) at 1,024 steps between two points; points outside do not count.
    """
    places = (np.arange(fine) + 0.5) * coarse / fine - 0.5
    left = np.floor(places)
    between = np.rint((places - left) * 1024) / 1024
    matrix = np.zeros([fine, coarse])
    for offset in (-1, 0, 1, 2):
        far = np.abs(between - offset)
        near = (1.5 * far - 2.5) * far**2 + 1
        beyond = ((-0.5 * far + 2.5) * far - 4) * far + 2
        point = left.astype(int) + offset
        inside = (point >= 0) & (point < coarse)
        matrix[inside, point[inside]] += np.where(far <= 1, near, beyond)[inside]
    return np.array(matrix / matrix.sum(axis=1, keepdims=True), np.float32)


def _bilinear(images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """The images [n, h, w, c] at places float32 [n, y, x]; beyond the edge its pixels go on."""
    _, height, width, channels = images.shape
    rows = tf.clip_by_value(rows, 0.0, height - 1.0)
    columns = tf.clip_by_value(columns, 0.0, width - 1.0)
    top = tf.clip_by_value(tf.floor(rows), 0.0, max(height - 2.0, 0.0))
    left = tf.clip_by_value(tf.floor(columns), 0.0, max(width - 2.0, 0.0))
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    first = tf.cast(top * width + left, tf.int32)
    flat = tf.reshape(images, [-1, height * width, channels])
    below, beside = (width if height > 1 else 0), (1 if width > 1 else 0)
    # The four pixels around a point side by side: one gather instead of four.
    corners = [tf.roll(flat, -offset, axis=1) for offset in (0, beside, below, below + beside)]
    found = tf.gather(tf.concat(corners, axis=2), first, batch_dims=1)
    here, east, south, south_east = tf.split(found, 4, axis=3)
    upper = here * (1 - right) + east * right
    lower = south * (1 - right) + south_east * right
    return upper * (1 - down) + lower * down


def thickness(images: tf.Tensor, amount: float, random: Random) -> tf.Tensor:
    """Thicken or thin what is bright: blend each image with its dilation or its erosion.

    The window is odd and at most a tenth of the shorter side wider than one pixel (28: 3 pixels),
    so images smaller than 20 pixels stay as they are.

    Args:
        images: float32 [n, h, w, c].
        amount: largest share of the dilation or erosion, in [0, 1]; 0 = none.
        random: source of the random numbers.

    Returns:
        float32 [n, h, w, c], within the images' range.
    """
    window = 2 * (min(images.shape[1:3]) // 20) + 1
    if not amount or window == 1:
        return images
    share = random.uniform([images.shape[0], 1, 1, 1], -amount, amount)
    dilated = tf.nn.max_pool2d(images, window, 1, "SAME")
    eroded = -tf.nn.max_pool2d(-images, window, 1, "SAME")
    return (
        images
        + tf.maximum(share, 0.0) * (dilated - images)
        + tf.maximum(-share, 0.0) * (eroded - images)
    )
