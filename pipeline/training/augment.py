"""Label-preserving image transforms, in graph."""

import tensorflow as tf

from pipeline.schema import Config
from pipeline.training.devices import Random


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
