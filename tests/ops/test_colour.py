"""Changes of colour do what they say of brightness, contrast, saturation and hue; a hole covers."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from pipeline.ops import runtime
from pipeline.ops.colour import CHANGED, HUE, YIQ, colour, cutout
from pipeline.ops.devices import Random

N = 2000


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def changed(image, amount=0.2, grey=0.0, seed=0):
    """N views of an image [h, w, c]."""
    images = tf.repeat(tf.constant(image, tf.float32)[None], N, axis=0)
    return colour(images, amount, grey, Random(seed)).numpy()


def middling(*shape, seed=0):
    """Pixels that no small change takes out of [0, 1]."""
    return np.random.default_rng(seed).uniform(0.4, 0.6, shape).astype(np.float32)


def yiq(images):
    """Grey [..., 1] and colour [..., 2]."""
    seen = images @ YIQ.T
    return seen[..., :1], seen[..., 1:]


def test_no_amount_and_no_side_change_nothing():
    images = tf.constant(middling(5, 8, 8, 3))
    assert colour(images, 0.0, 0.5, Random(0)) is images
    assert cutout(images, 0.0, Random(0)) is images
    assert cutout(images, 0.05, Random(0)) is images  # not a pixel


def test_a_share_of_the_images_keeps_its_colours():
    image = middling(6, 5, 3)
    same = np.abs(changed(image) - image).max(axis=(1, 2, 3)) < 1e-5
    assert same.mean() == pytest.approx(1 - CHANGED, abs=0.03)
    seen = changed(image, grey=0.25)
    lost = np.ptp(seen, axis=3).max(axis=(1, 2)) < 1e-5
    assert lost.mean() == pytest.approx(0.25, abs=0.03)
    assert (lost & (np.abs(yiq(seen)[0] - yiq(image)[0]).max(axis=(1, 2, 3)) < 1e-5)).mean() > 0.02


def test_grey_images_stay_grey_and_change_as_those_of_one_channel():
    grey = middling(6, 5, 1)
    seen = changed(np.repeat(grey, 3, axis=2), amount=0.3, grey=0.2)
    assert np.ptp(seen, axis=3).max() < 1e-5
    np.testing.assert_allclose(seen[..., :1], changed(grey, amount=0.3, grey=0.2), atol=1e-5)


def test_contrast_turns_about_the_mean_grey_which_brightness_alone_moves():
    image = middling(9, 9, 3)
    seen = changed(image, amount=0.3)
    before, after = yiq(image)[0], yiq(seen)[0]
    brightness = after.mean(axis=(1, 2, 3)) / before.mean()
    contrast = after.std(axis=(1, 2, 3)) / before.std() / brightness
    for found in (brightness, contrast):
        assert 0.7 - 1e-3 < found.min() < 0.71
        assert 1.29 < found.max() < 1.3 + 1e-3
        assert found.mean() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(brightness, contrast)[0, 1]) < 0.1


def test_saturation_and_hue_scale_and_turn_every_pixels_colour_alike():
    image = 0.4 + middling(4, 4, 3) * np.float32(0.2)  # nothing leaves [0, 1]
    seen = changed(image, amount=0.3)
    grey, _ = yiq(seen)
    plain_grey, plain = yiq(image)
    scale = grey.std(axis=(1, 2, 3)) / plain_grey.std()  # of brightness and contrast
    ratio = (yiq(seen)[1] @ [1, 1j]) / (plain @ [1, 1j])
    np.testing.assert_allclose(ratio, ratio[:, :1, :1] * np.ones((4, 4)), atol=1e-2)
    turn = np.angle(ratio[:, 0, 0]) / (2 * np.pi)
    assert -HUE - 1e-3 < turn.min() < -HUE + 0.01
    assert HUE - 0.01 < turn.max() < HUE + 1e-3
    saturation = np.abs(ratio[:, 0, 0]) / scale
    assert 0.7 - 1e-2 < saturation.min() < 0.72
    assert 1.28 < saturation.max() < 1.3 + 1e-2


def test_a_hue_turns_the_way_round_the_circle_by_as_much_as_it_says():
    image = np.full((1, 1, 3), 0.5, np.float32) + np.float32([0.1, -0.05, -0.05])
    hues = np.array([colorsys.rgb_to_hsv(*pixel)[0] for pixel in changed(image)[:, 0, 0]])
    hues = (hues + 0.5) % 1 - 0.5
    assert -0.16 < hues.min() < -0.07
    assert 0.07 < hues.max() < 0.16


@pytest.mark.parametrize("channels", [1, 3])
def test_extreme_changes_stay_in_range_and_the_seed_decides(channels):
    image = np.random.default_rng(0).random((7, 5, channels)).round().astype(np.float32)
    seen = changed(image, amount=0.99, grey=0.5)
    assert seen.shape == (N, 7, 5, channels)
    assert seen.min() >= 0
    assert seen.max() <= 1
    np.testing.assert_array_equal(seen, changed(image, amount=0.99, grey=0.5))
    assert not np.allclose(seen, changed(image, amount=0.99, grey=0.5, seed=1))
    assert len(np.unique(seen.reshape(N, -1).round(4), axis=0)) > N / 2


@pytest.mark.parametrize(("height", "width", "share", "side"), [(16, 16, 0.5, 8), (21, 10, 0.3, 3)])
def test_a_hole_is_a_square_of_the_share_that_is_said_and_lies_anywhere(height, width, share, side):
    images = tf.constant(np.random.default_rng(0).random((N, height, width, 2), np.float32))
    seen = cutout(images, share, Random(0)).numpy()
    hole = (seen == 0.5).all(axis=3)
    np.testing.assert_array_equal(seen[~hole], images.numpy()[~hole])
    rows, columns = hole.any(axis=2), hole.any(axis=1)
    np.testing.assert_array_equal(hole, rows[:, :, None] & columns[:, None, :])
    whole = hole.sum(axis=(1, 2)) == side**2
    inside = (height - side + 1) * (width - side + 1) / (height * width)
    assert whole.mean() == pytest.approx(inside, abs=0.04)
    for cover, places in ((rows, height), (columns, width)):
        assert cover.sum(axis=1).max() == side
        assert cover.any(axis=1).all()
        middles = np.unique(cover.argmax(axis=1) + cover.sum(axis=1) * 1000)
        assert len(middles) == places  # every place of the middle
