"""Images as a generator drew them, from those that it enlarged."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.measure.as_drawn import as_drawn


@pytest.mark.parametrize("large", [(64, 64), (48, 48), (100, 100), (33, 41), (32, 64)])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_enlargement_is_undone(large, channels):
    drawn = np.random.default_rng(0).integers(0, 256, (5, 32, 32, channels), np.uint8)
    enlarged = tf.image.resize(drawn, large).numpy().round().astype(np.uint8)
    found = as_drawn(enlarged, (32, 32))
    assert found.dtype == np.uint8
    off = np.abs(found.astype(int) - drawn)
    assert np.mean(off) < 0.5  # grey levels of 255: the rounding of pixels
    assert off.max() <= 6


def test_images_of_that_size_are_left_alone():
    images = np.zeros((2, 16, 16, 1), np.uint8)
    assert as_drawn(images, (16, 16)) is images
