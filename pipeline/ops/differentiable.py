"""Augmentation with a gradient, drawn once and then applied to several batches alike.

DiffAugment (Zhao et al. 2020): where images are few a discriminator learns them by heart, unless
it sees them changed. A generator does not learn the changes if its own images are changed alike and
the gradient reaches it through the change.
"""

from collections.abc import Callable

import tensorflow as tf

from pipeline.ops.devices import Random

SHIFT = 0.125  # largest shift, share of each side
HOLE = 0.4  # side of the hole, share of each side
COLOUR = 0.5  # largest change of brightness (added), of saturation and contrast (factors)


def drawn(
    n: int,
    image_shape: tuple[int, int, int],
    amount: tf.Tensor,
    random: Random,
    *,
    coloured: bool,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Draw a shift by whole pixels, a hole of black and a change of colours for each of n images.

    Args:
        n: images.
        image_shape: [h, w, c] of each.
        amount: float32 scalar in [0, 1] times which all is done; 0 leaves every image as it is.
        random: source of the random numbers.
        coloured: whether colours change.

    Returns:
        What does so to images float32 [n, h, w, c].
    """
    sides = image_shape[:2]
    draws = random.uniform([n, 7])
    moves, holes = [], []
    for number, side in enumerate(sides):
        reach = tf.round(amount * max(1, round(SHIFT * side)))
        move = tf.floor(draws[:, number] * (2 * reach + 1)) - reach
        places = tf.range(side, dtype=tf.float32)
        source = places[None, :, None] + move[:, None, None]
        moves.append(tf.cast(tf.equal(source, places), tf.float32))  # [n, to, from]
        length = round(HOLE * side)
        first = tf.floor(draws[:, 2 + number] * side)[:, None] - length // 2
        holes.append(tf.cast((places >= first) & (places < first + length), tf.float32))
    kept = 1 - amount * holes[0][:, :, None, None] * holes[1][:, None, :, None]
    light, saturation, contrast = tf.unstack(
        amount * COLOUR * (2 * draws[:, 4:, None, None, None] - 1), axis=1
    )

    def view(images: tf.Tensor) -> tf.Tensor:
        if coloured:
            images = images + light
            grey = tf.reduce_mean(images, axis=3, keepdims=True)
            images = (images - grey) * (1 + saturation) + grey
            mean = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
            images = (images - mean) * (1 + contrast) + mean
        return tf.einsum("nyh,nhwc,nxw->nyxc", moves[0], images, moves[1]) * kept

    return view
