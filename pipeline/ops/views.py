"""Views: an image changed at random in ways that leave its class; the one door to augmentation."""

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.ops.devices import Random

ELASTIC_GRID = 5  # points along each side at which displacements are drawn
STILL = dict.fromkeys(("augment_rotation", "augment_scale", "augment_shear"), 0.0)


def strong(images: tf.Tensor, config: Config, random: Random) -> tf.Tensor:
    """The view that classifiers learn from: `affine` by the configuration's amounts."""
    return affine(images, config, random)


def weak(images: tf.Tensor, config: Config, random: Random) -> tf.Tensor:
    """The view that pseudo-labels come from: a shift of at most `weak_shift_share`."""
    shift = {"augment_shift": config.own["weak_shift_share"]}
    return affine(images, config.model_copy(update={**STILL, **shift}), random)


def contrastive(images: tf.Tensor, config: Config, random: Random) -> tf.Tensor:
    """The view of a contrastive warm-up: `strong`, bent and thickened or thinned.

    Stronger than `strong`: there it would teach the classifier what is not in the data, here it
    brings the kinds of a class together.
    """
    seen = affine(images, config, random)
    seen = elastic(seen, config.own["warm_up_elastic"], random)
    return thickness(seen, config.own["warm_up_thickness"], random)


def affine(images: tf.Tensor, config: Config, random: Random) -> tf.Tensor:
    """Rotate, scale, shear and shift each image at random, in one projective operation.

    Args:
        images: float32 [n, h, w, c]; what comes in from outside the image is 0.
        config: `augment_rotation` (radians), `augment_scale` (natural logarithm),
            `augment_shear`, `augment_shift` (share of the side): the largest of each, uniform.
        random: source of the random numbers.

    Returns:
        float32 [n, h, w, c]; the images themselves if every amount is 0.
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
    if not any(amounts):
        return images
    draws = random.uniform([images.shape[0], len(amounts)], -1.0, 1.0) * tf.constant(amounts)
    angle, log_width, log_height, shear, right, down = tf.unstack(draws, axis=1)
    scale_x, scale_y = tf.exp(log_width), tf.exp(log_height)
    cos, sin = tf.cos(angle), tf.sin(angle)
    # Output pixel (x, y) is read at (xx x + xy y + x0, yx x + yy y + y0), about the centre.
    xx, xy = cos * scale_x, (cos * shear - sin) * scale_y
    yx, yy = sin * scale_x, (sin * shear + cos) * scale_y
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    x0 = centre_x - xx * centre_x - xy * centre_y + right
    y0 = centre_y - yx * centre_x - yy * centre_y + down
    zero = tf.zeros_like(xx)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([xx, xy, x0, yx, yy, y0, zero, zero], axis=1),
        output_shape=[height, width],
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=0.0,
    )


def elastic(images: tf.Tensor, amount: float, random: Random) -> tf.Tensor:
    """Bend each image by a smooth random field of displacements (Simard et al. 2003).

    The field is drawn uniformly on a coarse grid and filled in bicubically.

    Args:
        images: float32 [n, h, w, c]; beyond the edge the edge's pixels go on.
        amount: largest displacement at the grid's points, share of the side; 0 = none.
        random: source of the random numbers.

    Returns:
        float32 [n, h, w, c], bilinear between pixels, so within the images' range.
    """
    if not amount:
        return images
    n, height, width, channels = images.shape
    coarse = random.uniform([n, ELASTIC_GRID, ELASTIC_GRID, 2], -amount, amount)
    moved = tf.image.resize(coarse * [height, width], [height, width], method="bicubic")
    rows = tf.range(height, dtype=tf.float32)[:, None] + moved[..., 0]
    columns = tf.range(width, dtype=tf.float32) + moved[..., 1]
    rows = tf.clip_by_value(rows, 0.0, height - 1.0)
    columns = tf.clip_by_value(columns, 0.0, width - 1.0)
    top = tf.clip_by_value(tf.floor(rows), 0.0, max(height - 2.0, 0.0))
    left = tf.clip_by_value(tf.floor(columns), 0.0, max(width - 2.0, 0.0))
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    first = tf.cast(top * width + left, tf.int32)
    flat = tf.reshape(images, [n, height * width, channels])
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
