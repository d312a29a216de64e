"""Views that change colours: brightness, contrast, saturation, hue, and a hole of grey."""

import math

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.ops.devices import Random

CHANGED = 0.8  # share of the images whose colours change
HUE = 0.1  # largest turn of the hues, turns
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
LUMA = YIQ[:1].T.astype(np.float32)


def _parts() -> NDArray[np.float32]:
    """What a change of colour is the sum of, float32 [3, 9]: 3 × 3 matrices, input × output.

    The grey of a pixel, its colour, and its colour a quarter turn on; saturation and hue weigh
    the last two.
    """
    back = np.linalg.inv(YIQ)
    turns = np.array([np.diag([1, 0, 0]), np.diag([0, 1, 1]), [[0, 0, 0], [0, 0, -1], [0, 1, 0]]])
    return np.array([(back @ turn @ YIQ).T.ravel() for turn in turns], np.float32)


PARTS = _parts()


def colour(images: tf.Tensor, amount: float, grey: float, random: Random) -> tf.Tensor:
    """Change each image's colours at random: one 3 × 3 matrix, then contrast about its mean grey.

    Brightness, contrast and saturation are multiplied by up to 1 ± `amount`, hues turn by up to
    `HUE`, a share `grey` of the images loses its colours; all but the last on a share `CHANGED`.
    Images of one channel change in brightness and contrast alone.

    Args:
        images: float32 [n, h, w, 1 or 3], in [0, 1].
        amount: largest change, in [0, 1); 0 = none.
        grey: share of the images that become grey.
        random: source of the random numbers.

    Returns:
        float32 [n, h, w, c], in [0, 1]; the images themselves if `amount` is 0.
    """
    if not amount:
        return images
    n, height, width, channels = images.shape
    draws = random.uniform([n, 6], -1.0, 1.0)
    changed = tf.cast(draws[:, :1] < 2 * CHANGED - 1, tf.float32)
    changes = draws[:, 1:5] * changed * [amount, amount, amount, 2 * math.pi * HUE]
    brightness, contrast, saturation, turn = tf.unstack(changes, axis=1)
    gain = (1 + brightness) * (1 + contrast)
    flat = tf.reshape(images, [n, height * width, channels])
    mean = tf.reduce_mean(flat, axis=1)
    if channels == 1:
        seen = flat * gain[:, None, None]
    else:
        mean = mean @ LUMA
        saturation = tf.where(draws[:, 5] < 2 * grey - 1, 0.0, 1 + saturation)
        shares = tf.stack(
            [gain, gain * saturation * tf.cos(turn), gain * saturation * tf.sin(turn)], 1
        )
        seen = flat @ tf.reshape(shares @ PARTS, [n, 3, 3])
    # Contrast about the mean grey after brightness, m: (v - m) (1 + contrast) + m.
    seen -= ((1 + brightness) * contrast)[:, None, None] * mean[:, None]
    return tf.reshape(tf.clip_by_value(seen, 0.0, 1.0), images.shape)


def cutout(images: tf.Tensor, share: float, random: Random) -> tf.Tensor:
    """Cover a square of each image with mid grey (DeVries and Taylor 2017).

    Its middle lies anywhere in the image, so that a part of it may lie outside.

    Args:
        images: float32 [n, h, w, c], in [0, 1].
        share: its side, share of the image's shorter side; 0 = none.
        random: source of the random numbers.

    Returns:
        float32 [n, h, w, c]; the images themselves if the square has no pixel.
    """
    n, height, width, _ = images.shape
    side = round(share * min(height, width))
    if not side:
        return images
    first = tf.floor(random.uniform([n, 2]) * [height, width]) - side // 2
    rows, columns = (
        tf.cast((places >= start) & (places < start + side), tf.float32)
        for start, places in (
            (first[:, :1], np.arange(height, dtype=np.float32)),
            (first[:, 1:], np.arange(width, dtype=np.float32)),
        )
    )
    hole = (rows[:, :, None] * columns[:, None, :])[..., None]
    # Three times as fast as tf.where, and as exact: a factor is 0 or 1.
    return images * (1 - hole) + 0.5 * hole
