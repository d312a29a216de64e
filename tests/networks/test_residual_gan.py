"""The generator's networks fit every size of image and begin as they should."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.networks.convolutions import same_convolution
from pipeline.networks.residual_gan import (
    ResidualDiscriminator,
    ResidualGenerator,
    SampleGenerator,
    doubled,
    halved,
    sizes,
)
from pipeline.networks.spec import reduced_shape
from pipeline.ops import runtime

SHAPES = [(8, 8), (9, 13), (12, 10), (28, 28), (32, 32), (45, 30), (64, 64), (96, 96)]


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", SHAPES)
def test_they_fit_every_size_of_image(sides, channels, policy):
    shape = (*sides, channels)
    generator = ResidualGenerator(16, 3, [12, 8], shape, 0, policy)
    discriminator = ResidualDiscriminator(3, [12, 8], shape, 1, policy)
    latents = tf.constant(np.random.default_rng(0).normal(size=(5, 16)), tf.float32)
    one_hot = tf.one_hot([0, 1, 2, 0, 1], 3)
    with tf.GradientTape() as tape:
        images = generator((latents, one_hot))
        logits = discriminator((images, one_hot))
        loss = tf.reduce_sum(logits)
    assert images.shape == (5, *shape)
    assert images.dtype == logits.dtype == tf.float32
    assert logits.shape == (5,)
    assert 0 < float(tf.reduce_min(images)) < float(tf.reduce_max(images)) < 1
    networks = [*generator.trainable_variables, *discriminator.trainable_variables]
    assert {v.dtype for v in networks} == {"float32"}
    assert all(g is not None for g in tape.gradient(loss, [v.value for v in networks]))


@pytest.mark.parametrize("sides", SHAPES)
def test_maps_begin_small_and_no_map_is_as_large_as_the_image(sides):
    maps = sizes((*sides, 1))
    assert min(maps[0]) in range(4, 9)
    for whole, given in zip(maps[-1], sides, strict=True):
        assert 0 <= 2 * whole - given < 2 ** len(maps)


def test_at_the_start_a_block_changes_nothing():
    network = ResidualDiscriminator(3, [8], (8, 8, 1), 0)
    maps = tf.random.stateless_normal([2, 4, 4, 8], [0, 0])
    np.testing.assert_array_equal(network.blocks[0](maps), maps)


def test_doubling_and_halving_by_hand():
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(doubled(tf.constant(maps)), maps.repeat(2, 1).repeat(2, 2))
    np.testing.assert_allclose(halved(doubled(tf.constant(maps))), maps, rtol=1e-6)


@pytest.mark.parametrize("size", [1, 3])
def test_the_fast_convolution_has_the_gradients_of_the_second_order(size):
    x = tf.random.stateless_normal([2, 5, 6, 3], [0, 1])
    kernel = tf.random.stateless_normal([size, size, 3, 4], [0, 2])
    found = []
    for convolution in (same_convolution, lambda x, k: tf.nn.conv2d(x, k, 1, "SAME")):
        with tf.GradientTape() as outer:
            outer.watch([x, kernel])
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(tf.tanh(convolution(x, kernel)))
            total = tf.reduce_sum(inner.gradient(y, x) ** 2)
        found.append([total, *outer.gradient(total, [x, kernel])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_shape_that_images_are_reduced_to():
    assert reduced_shape((28, 28, 1), 32) == (28, 28, 1)
    assert reduced_shape((100, 100, 3), 32) == (32, 32, 3)
    assert reduced_shape((64, 48, 3), 32) == (32, 24, 3)
    assert reduced_shape((512, 64, 1), 32) == (32, 8, 1)


def test_samples_have_the_datas_size_and_are_otherwise_the_image_itself():
    network = ResidualGenerator(4, 2, [4], (8, 8, 1), 0)
    given = (tf.ones([2, 4]), tf.one_hot([0, 1], 2))
    small = network(given)
    np.testing.assert_array_equal(SampleGenerator(network, (8, 8, 1))(given), small)
    large = SampleGenerator(network, (20, 16, 1))(given)
    assert large.shape == (2, 20, 16, 1)
    np.testing.assert_allclose(tf.reduce_mean(large), tf.reduce_mean(small), atol=0.02)


def test_truncation_draws_as_if_the_latents_were_nearer_to_zero():
    network = ResidualGenerator(4, 2, [4], (8, 8, 1), 0)
    for variable in network.trainable_variables:  # a new one draws the same whatever it is given
        variable.assign_add(tf.random.stateless_normal(variable.shape, [0, 1]) / 3)
    latents, labels = tf.random.stateless_normal([2, 4], [0, 0]), tf.one_hot([0, 1], 2)
    drawn = SampleGenerator(network, (8, 8, 1), truncation=0.5)((latents, labels))
    np.testing.assert_array_equal(drawn, network((latents / 2, labels)))
    assert np.abs(drawn - network((latents, labels))).max() > 0.01
