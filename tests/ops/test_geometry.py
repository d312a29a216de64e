"""Augmentation moves pixels as it says: about the centre, and no further than asked."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates

from pipeline import data
from pipeline.config import layers as configuration
from pipeline.ops import runtime
from pipeline.ops.devices import Random
from pipeline.ops.geometry import affine, bicubic, elastic, gathered, thickness

NONE = {f"augment_{what}": "0" for what in ("rotation", "scale", "shear", "shift")}
EVERYTHING = {"rotation": 0.4, "scale": 0.3, "shear": 0.3, "shift": 0.2, "crop": 0.4, "flip": True}
N = 300


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def augment(images, seed=0, compiled=False, **amounts):
    flags = {f"augment_{k}": str(v) for k, v in amounts.items()} | {"jit_compile": str(compiled)}
    config, random = configuration.load(NONE | flags), Random(seed)
    move = tf.function(lambda given: affine(given, config, random), jit_compile=compiled)
    return move(tf.constant(images, tf.float32)).numpy()


def with_dot(height, width, x, y, channels=1):
    """N equal images with one bright pixel at (x, y)."""
    images = np.zeros((N, height, width, channels), np.float32)
    images[:, y, x] = 1
    return images


def centroids(images):
    """Mean position (x, y) of each image's light, relative to the image's centre."""
    _, height, width, _ = images.shape
    light = images.sum(axis=(1, 2, 3))
    x = (images.sum(axis=(1, 3)) @ np.arange(width)) / light - (width - 1) / 2
    y = (images.sum(axis=(2, 3)) @ np.arange(height)) / light - (height - 1) / 2
    return x, y


def test_zero_amounts_change_nothing():
    images = data.load("digits", None).train_images[:5] / np.float32(255)
    np.testing.assert_array_equal(augment(images), images)
    np.testing.assert_array_equal(augment(images, crop=1, border="mirror"), images)


def test_a_shift_moves_every_pixel_alike_by_a_share_of_the_side():
    height, width = 41, 21
    one = augment(with_dot(height, width, 10, 20), shift=0.2)
    x, y = centroids(one)
    np.testing.assert_allclose(one.sum(axis=(1, 2, 3)), 1, atol=1e-3)  # nothing is lost
    for moved, side in ((x, width), (y, height)):
        assert 0.19 * side < moved.max() <= 0.2 * side + 1e-3
        assert -0.19 * side > moved.min() >= -0.2 * side - 1e-3
        assert abs(moved.mean()) < 0.02 * side
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.2  # drawn apart
    other_x, other_y = centroids(augment(with_dot(height, width, 8, 25), shift=0.2))
    np.testing.assert_allclose(other_x - x, -2, atol=1e-3)
    np.testing.assert_allclose(other_y - y, 5, atol=1e-3)


def test_a_flip_mirrors_half_of_the_images_and_does_nothing_else():
    image = np.random.default_rng(0).random((9, 13, 3), np.float32)
    seen = augment(np.repeat(image[None], N, axis=0), flip=True)
    mirrored = np.abs(seen - image[:, ::-1]).max(axis=(1, 2, 3)) < 1e-5
    same = np.abs(seen - image).max(axis=(1, 2, 3)) < 1e-5
    assert (mirrored ^ same).all()
    assert 0.4 < mirrored.mean() < 0.6


def windows(height, width, **amounts):
    """Left, right, top and bottom of what each of N views shows, in pixels of the image."""
    y, x = np.indices((height, width), np.float32)
    places = np.repeat(np.stack([x, y], axis=-1)[None] / 100, N, axis=0)
    # Between pixels 0 and -1 lies nothing but the first pixel: look at the middle, go on in a line.
    seen = augment(places, border="mirror", **amounts) * 100
    middle = seen[:, height // 2, width // 2]
    across = (seen[:, height // 2, width // 2 + 1] - middle)[:, 0] * width
    along = (seen[:, height // 2 + 1, width // 2] - middle)[:, 1] * height
    x, y = middle.T + 0.5  # the middle of the view, for odd sides, from the image's corner
    return x - abs(across) / 2, x + abs(across) / 2, y - abs(along) / 2, y + abs(along) / 2


@pytest.mark.parametrize("flip", [False, True])
def test_a_crop_lies_within_the_image_and_keeps_the_area_and_aspect_that_it_says(flip):
    height, width = 41, 21
    left, right, top, bottom = windows(height, width, crop=0.25, flip=flip)
    for low, high, side in ((left, right, width), (top, bottom, height)):
        assert low.min() > -1e-3 * side
        assert high.max() < side * (1 + 1e-3)
        assert low.min() < 0.05 * side  # anywhere
        assert high.max() > 0.95 * side
    wide, high = (right - left) / width, (bottom - top) / height
    area, aspect = wide * high, wide / high
    np.testing.assert_allclose(np.quantile(area, [0, 0.5, 1]), [0.25, 0.625, 1], atol=0.06)
    assert area.min() > 0.249
    assert 0.749 < aspect.min() < 0.78
    assert 1.29 < aspect.max() < 1.335
    assert abs(np.corrcoef(left, top)[0, 1]) < 0.5


@pytest.mark.parametrize("compiled", [False, True])
def test_a_mirror_lets_no_black_in(compiled):
    ones = np.ones((N, 12, 9, 1), np.float32)
    for border, darkest in (("mirror", 0.999), ("black", 0)):
        seen = augment(ones, **EVERYTHING, border=border, compiled=compiled)
        assert darkest <= seen.min() <= darkest + 0.001


@pytest.mark.parametrize(("mirror", "mode"), [(True, "reflect"), (False, "grid-constant")])
@pytest.mark.parametrize("shape", [(9, 7), (1, 5), (2, 1)])
def test_points_outside_are_the_mirror_image_or_black_however_far_away(shape, mirror, mode):
    values = np.random.default_rng(0)
    image = values.random(shape, np.float32)
    maps = values.uniform(-3, 3, (2, 3, 40)).astype(np.float32)
    maps[:, 2] *= 10  # several images away
    y, x = np.indices(shape, np.float32)
    columns, rows = (
        a[:, None, None] * x + b[:, None, None] * y + c[:, None, None] for a, b, c in maps
    )
    wanted = map_coordinates(image, [rows, columns], order=1, mode=mode)
    images = tf.repeat(image[None, ..., None], 40, axis=0)
    found = gathered(images, *map(list, maps), mirror)[..., 0]
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("border", ["black", "mirror"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 13, 3), (64, 64, 3)])
def test_what_xla_compiles_moves_pixels_to_the_same_places(shape, border):
    images = np.random.default_rng(0).random((20, *shape), np.float32)
    amounts = EVERYTHING | {"scale": 1.2, "shift": 1, "border": border}  # beyond the next image
    plain, compiled = (augment(images, **amounts, compiled=jit) for jit in (False, True))
    np.testing.assert_allclose(compiled, plain, atol=1e-4)
    assert plain.std() > 0.1


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 13, 3)])
def test_what_xla_compiles_bends_alike(shape):
    images = tf.constant(np.random.default_rng(0).random((20, *shape), np.float32))
    plain, compiled = (elastic(images, 0.2, Random(3), jit) for jit in (False, True))
    np.testing.assert_allclose(compiled, plain, atol=1e-5)


@pytest.mark.parametrize("fine", [1, 3, 5, 8, 28, 33])
def test_bicubic_is_what_tensorflow_does(fine):
    points = np.random.default_rng(0).random((1, 5, 1, 1), np.float32)
    wanted = tf.image.resize(points, [fine, 1], method="bicubic")[0, :, 0, 0]
    np.testing.assert_allclose(bicubic(5, fine) @ points[0, :, 0, 0], wanted, atol=1e-6)


def test_a_rotation_turns_about_the_centre_in_pixels():
    height, width = 31, 21
    still = augment(with_dot(height, width, 10, 15), rotation=0.5)
    np.testing.assert_allclose(still[:, 15, 10], 1, atol=1e-3)
    x, y = centroids(augment(with_dot(height, width, 10, 25), rotation=0.5))
    np.testing.assert_allclose(np.hypot(x, y), 10, atol=0.3)
    angle = np.arctan2(x, y)
    assert 0.45 < angle.max() < 0.53
    assert -0.45 > angle.min() > -0.53
    # A dot on the other axis turns the same way by the same angle: no mirror, no stretch.
    x, y = centroids(augment(with_dot(height, width, 18, 15), rotation=0.5))
    np.testing.assert_allclose(np.arctan2(-y, x), angle, atol=0.05)


def test_scale_and_shear_leave_the_centre_and_act_along_the_axes():
    height, width = 31, 31
    for amounts in ({"scale": 0.3}, {"shear": 0.3}):
        x, y = centroids(augment(with_dot(height, width, 15, 15), **amounts))
        np.testing.assert_allclose([x, y], 0, atol=0.02)
    x, y = centroids(augment(with_dot(height, width, 23, 15), scale=0.3))
    np.testing.assert_allclose(y, 0, atol=0.02)
    assert np.log(x.max() / 8) == pytest.approx(0.3, abs=0.04)
    assert np.log(x.min() / 8) == pytest.approx(-0.3, abs=0.04)
    x, y = centroids(augment(with_dot(height, width, 15, 23), shear=0.3))
    np.testing.assert_allclose(y, 8, atol=0.1)
    assert x.max() == pytest.approx(2.4, abs=0.1)
    assert x.min() == pytest.approx(-2.4, abs=0.1)


@pytest.mark.parametrize("shape", [(8, 8), (9, 13), (1, 2)])
def test_every_channel_moves_alike_whatever_the_shape(shape):
    grey = np.random.default_rng(0).random((6, *shape, 1), np.float32)
    amounts = {"rotation": 0.3, "scale": 0.2, "shear": 0.3, "shift": 0.1}
    moved = augment(grey, **amounts)
    assert moved.shape == grey.shape
    assert moved.min() >= 0
    assert moved.max() <= 1
    np.testing.assert_array_equal(
        augment(grey * [1, 0.5, 0], **amounts), moved * np.float32([1, 0.5, 0])
    )


def test_the_seed_decides_and_each_image_has_its_own_draw():
    images = np.repeat(data.load("digits", None).train_images[:1], 20, axis=0) / np.float32(255)
    once, again, other = (augment(images, seed, rotation=0.3) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert not np.allclose(once, other)
    assert len(np.unique(once.reshape(20, -1), axis=0)) == 20


def test_an_elastic_bend_moves_neighbours_alike_and_no_further_than_asked():
    height, width = 41, 21
    near, beside, far = (
        elastic(tf.constant(with_dot(height, width, *at)), 0.1, Random(3)).numpy()
        for at in ((10, 20), (10, 21), (3, 5))
    )
    kept = [image.sum(axis=(1, 2, 3)) > 0.2 for image in (near, beside, far)]
    both = kept[0] & kept[1] & kept[2]
    assert both.mean() > 0.9
    (x, y), (x1, y1), (x2, y2) = (centroids(image[both]) for image in (near, beside, far))
    # The field is read where the pixel lands, hence the room beyond a tenth of the side.
    assert 0.06 * width < np.abs(x).max() < 0.14 * width
    assert 0.06 * height < np.abs(y).max() < 0.14 * height
    assert np.corrcoef(x, x1)[0, 1] > 0.9
    assert np.corrcoef(y, y1)[0, 1] > 0.9
    assert abs(np.corrcoef(x, x2)[0, 1]) < 0.3  # a bend, not a shift
    assert abs(np.corrcoef(y, y2)[0, 1]) < 0.3


@pytest.mark.parametrize("shape", [(9, 12), (1, 5), (5, 1), (1, 1)])
def test_an_elastic_bend_is_bilinear_between_pixels(shape):
    def bent(image):
        return elastic(tf.constant(image[None, ..., None], tf.float32), 0.3, Random(5)).numpy()[
            0, ..., 0
        ]

    # A ramp tells where each pixel is read from.
    places = [bent(ramp / 20) * 20 for ramp in np.indices(shape)]
    image = np.random.default_rng(0).random(shape)
    wanted = map_coordinates(image, places, order=1, mode="nearest")
    np.testing.assert_allclose(bent(image), wanted, atol=1e-4)


def test_thickness_follows_the_size_of_the_image_and_both_ways():
    stroke = np.zeros((N, 40, 40, 1), np.float32)
    stroke[:, 5:35, 16:24] = 1
    changed = thickness(tf.constant(stroke), 0.5, Random(0)).numpy()
    light = changed.sum(axis=(1, 2, 3)) / stroke.sum(axis=(1, 2, 3))
    wider, narrower = 34 * 12 / (30 * 8), 26 * 4 / (30 * 8)  # a window of 5 pixels
    assert 1 + 0.45 * (wider - 1) < light.max() <= 1 + 0.5 * (wider - 1) + 1e-4
    assert 1 - 0.45 * (1 - narrower) > light.min() >= 1 - 0.5 * (1 - narrower) - 1e-4
    small = np.random.default_rng(0).random((4, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(thickness(tf.constant(small), 0.5, Random(0)), small)


@pytest.mark.parametrize("change", [elastic, thickness])
def test_stronger_views_keep_range_shape_and_channels_and_obey_the_seed(change):
    for shape in ((8, 8), (1, 2), (33, 25)):
        grey = tf.constant(np.random.default_rng(0).random((6, *shape, 1), np.float32))
        np.testing.assert_array_equal(change(grey, 0.0, Random(0)), grey)
        moved = change(grey, 0.3, Random(1)).numpy()
        assert moved.shape == grey.shape
        assert moved.min() >= 0
        assert moved.max() <= 1
        colour = change(grey * tf.constant([1, 0.5, 0]), 0.3, Random(1))
        np.testing.assert_allclose(colour, moved * np.float32([1, 0.5, 0]), atol=1e-6)
    np.testing.assert_array_equal(change(grey, 0.3, Random(1)), moved)
    assert not np.allclose(change(grey, 0.3, Random(2)), moved)
