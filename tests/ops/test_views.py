"""Each view is what its kind of image asks for, in range, and the same under XLA."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import layers as configuration
from pipeline.ops import runtime, views
from pipeline.ops.devices import Random

STROKES = {"dataset": "mnist"}
PHOTOS = {"dataset": "cifar10"}
VIEWS = {"strong": "ssgan", "weak": "fixmatch", "contrastive": "ssgan"}


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def seen(view, images, flags, seed=3, compiled=False):
    given = flags | {"method": VIEWS[view], "jit_compile": str(compiled)}
    config, random = configuration.load(given), Random(seed)
    look = tf.function(lambda x: getattr(views, view)(x, config, random), jit_compile=compiled)
    return look(tf.constant(images, tf.float32)).numpy()


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("flags", "shape"),
    [(STROKES, (28, 28, 1)), (PHOTOS, (32, 32, 3)), (PHOTOS, (9, 12, 1)), (PHOTOS, (1, 2, 3))],
)
def test_every_view_keeps_range_and_shape_and_is_the_same_under_xla(view, flags, shape):
    images = noise(20, *shape)
    plain = seen(view, images, flags)
    assert plain.shape == images.shape
    assert plain.min() >= 0
    assert plain.max() <= 1 + 1e-6
    assert not np.allclose(plain, images)
    np.testing.assert_array_equal(plain, seen(view, images, flags))
    np.testing.assert_allclose(seen(view, images, flags, compiled=True), plain, atol=1e-4)


@pytest.mark.parametrize("view", VIEWS)
def test_amounts_of_nothing_give_the_images_themselves(view):
    none = {f"augment_{what}": "0" for what in ("rotation", "scale", "shear", "shift", "colour")}
    none |= {"augment_crop": "1", "augment_flip": "false", "augment_cutout": "0"}
    if view == "weak":
        none |= {"weak_shift_share": "0"}
    if view == "contrastive":
        own = ("elastic", "thickness", "colour", "rotation")
        none |= {f"warm_up_{what}": "0" for what in own} | {"warm_up_crop": "1"}
    images = noise(4, 32, 32, 3)
    np.testing.assert_array_equal(seen(view, images, PHOTOS | none), images)


def test_a_weak_view_of_photographs_is_shifted_and_mirrored_and_no_more():
    """A ramp tells where each view is read; its colours tell whether they have changed."""
    y, x = np.indices((33, 33), np.float32)
    ramps = np.repeat(np.stack([x, y, 0 * x + 32], axis=-1)[None] / 64, 300, axis=0)
    found = seen("weak", ramps, PHOTOS) * 64
    np.testing.assert_allclose(found[..., 2], 32, atol=1e-3)
    middle = found[:, 16, 16, :2] - 16
    for moved in middle.T:
        assert 0.11 * 33 < moved.max() <= 0.125 * 33 + 1e-3
        assert -0.11 * 33 > moved.min() >= -0.125 * 33 - 1e-3
    step = found[:, 16, 17, 0] - found[:, 16, 16, 0]
    np.testing.assert_allclose(np.abs(step), 1, atol=1e-3)
    assert 0.4 < (step < 0).mean() < 0.6
    never = seen("weak", ramps, PHOTOS | {"augment_flip": "false"}) * 64
    np.testing.assert_allclose(never[:, 16, 17, 0] - never[:, 16, 16, 0], 1, atol=1e-3)


def test_only_the_strong_view_has_a_hole_and_the_warm_up_has_more_grey_images():
    images = noise(600, 16, 16, 3) * 0.2 + 0.1  # nowhere near mid grey
    flags = PHOTOS | {"augment_colour": "0.1", "warm_up_colour": "0.1"}
    covered, grey = {}, {}
    for view in ("strong", "contrastive"):
        found = seen(view, images, flags)
        hole = (found == 0.5).all(axis=3)
        covered[view] = hole.mean()
        grey[view] = (np.ptp(found, axis=3) * ~hole).max(axis=(1, 2)) < 1e-5
    assert 0.1 < covered["strong"] < 0.25
    assert covered["contrastive"] == 0
    assert grey["strong"].mean() == pytest.approx(0.1, abs=0.05)
    assert grey["contrastive"].mean() == pytest.approx(0.2, abs=0.06)


def test_the_warm_up_turns_by_its_own_angle_or_by_the_common_one():
    y, x = np.indices((31, 31), np.float32)
    ramps = np.repeat(np.stack([x, y, x], axis=-1)[None] / 62, 200, axis=0)
    plain = PHOTOS | {"warm_up_colour": "0", "warm_up_crop": "1", "augment_flip": "false"}

    def angles(said):
        found = seen("contrastive", ramps, plain | {"warm_up_rotation": said}) * 62
        step = found[:, 15, 16] - found[:, 15, 15]
        return np.arctan2(step[:, 1], step[:, 0])

    np.testing.assert_allclose(angles("0"), 0, atol=1e-3)
    assert 0.36 < angles("none").max() <= 0.4 + 1e-3
    assert 0.08 < angles("0.1").max() <= 0.1 + 1e-3
