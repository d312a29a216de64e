"""Views: an image changed at random in ways that leave its class; the one door to augmentation.

Images are float32 [n, h, w, c] in [0, 1], and so are their views. With every amount at 0 a view
is the images themselves.
"""

from collections.abc import Callable

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.ops import differentiable
from pipeline.ops.colour import colour, cutout
from pipeline.ops.devices import Random
from pipeline.ops.geometry import affine, elastic, thickness

STILL = dict.fromkeys(("augment_rotation", "augment_scale", "augment_shear"), 0.0)
GREY = 0.1  # share of the images that become grey where colours change


def strong(images: tf.Tensor, config: Config, random: Random) -> tf.Tensor:
    """The view that classifiers learn from: moved, its colours changed, with a hole."""
    seen = affine(images, config, random)
    seen = colour(seen, config.augment_colour, GREY, random)
    return cutout(seen, config.augment_cutout, random)


def labelled_and_strong(
    labelled: tf.Tensor, unlabelled: tf.Tensor, config: Config, random: Random
) -> tf.Tensor:
    """The views that a step learns from: of the labelled images [n, …], then of the others [m, …].

    The labelled ones' are weak if `labelled_view` says so, as in FixMatch: the network is soon
    sure of them, and so of others. All others are strong.
    """
    if config.own["labelled_view"] == "weak":
        views = weak(labelled, config, random), strong(unlabelled, config, random)
        return tf.concat(views, axis=0)
    return strong(tf.concat([labelled, unlabelled], axis=0), config, random)


def weak(images: tf.Tensor, config: Config, random: Random) -> tf.Tensor:
    """The view that changes least: shifted by `weak_shift_share`, perhaps mirrored."""
    shift = {"augment_shift": config.own["weak_shift_share"], "augment_crop": 1.0}
    return affine(images, config.model_copy(update={**STILL, **shift}), random)


def contrastive(images: tf.Tensor, config: Config, random: Random) -> tf.Tensor:
    """The view of a contrastive warm-up: moved, coloured, bent and thickened or thinned.

    Stronger than `strong`: there it would teach the classifier what is not in the data, here it
    brings the kinds of a class together. It has no hole, and more images become grey.
    """
    own = config.own
    amounts = {"augment_crop": own["warm_up_crop"]}
    if own["warm_up_rotation"] is not None:
        amounts["augment_rotation"] = own["warm_up_rotation"]
    seen = affine(images, config.model_copy(update=amounts), random)
    seen = colour(seen, own["warm_up_colour"], 2 * GREY, random)
    seen = elastic(seen, own["warm_up_elastic"], random, bool(config.jit_compile))
    return thickness(seen, own["warm_up_thickness"], random)


def shared(
    n: int,
    image_shape: tuple[int, int, int],
    amount: tf.Tensor,
    random: Random,
    *,
    coloured: bool,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """The view that a GAN's real and generated images have in common (Zhao et al. 2020).

    Returns:
        What makes it of images float32 [n, h, w, c], the i-th always alike: moved, with a hole, and
        if `coloured` of other colours, `amount` (0 to 1) times as much. It has a gradient.
    """
    return differentiable.drawn(n, image_shape, amount, random, coloured=coloured)
