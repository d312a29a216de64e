"""The views that real and generated images share: alike for all, as large as said."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.ops import differentiable, runtime
from pipeline.ops.devices import Random

N = 400


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def view(shape, amount=1.0, coloured=False, seed=0):
    return differentiable.drawn(N, shape, tf.constant(amount), Random(seed), coloured=coloured)


def images(shape, seed=0):
    return tf.constant(np.random.default_rng(seed).random((N, *shape), np.float32))


@pytest.mark.parametrize("shape", [(8, 8, 1), (12, 10, 3)])
def test_no_amount_changes_no_bit(shape):
    given = images(shape)
    changed = view(shape, 0.0, coloured=shape[2] == 3)(given)
    np.testing.assert_allclose(changed, given, atol=0 if shape[2] == 1 else 1e-6)


def test_every_shift_within_reach_comes_and_none_beyond():
    shape, reach = (16, 24, 1), (2, 3)
    marked = np.zeros((N, *shape), np.float32)
    marked[:, 8, 12] = 1
    changed = view(shape)(tf.constant(marked)).numpy()
    kept = changed[changed.sum(axis=(1, 2, 3)) == 1]
    assert 0.5 * N < len(kept) < N
    places = np.argwhere(kept[..., 0] == 1)[:, 1:] - (8, 12)
    for axis, far in enumerate(reach):
        assert set(places[:, axis]) == set(range(-far, far + 1))


def test_the_hole_is_black_and_as_large_as_said():
    changed = view((20, 20, 1))(tf.ones([N, 20, 20, 1])).numpy()
    inside = changed[:, 2:-2, 2:-2]  # no shift reaches there
    covered = (inside == 0).reshape(N, 16, 16)
    assert set(np.unique(changed)) == {0, 1}
    assert covered.any(axis=1).sum(axis=1).max() == round(differentiable.HOLE * 20)


def test_a_view_does_the_same_to_every_batch_and_its_gradient_comes_back():
    made = view((8, 8, 3), coloured=True)
    one, other = images((8, 8, 3), 0), images((8, 8, 3), 1)
    np.testing.assert_allclose(
        made(one) - made(other), made(one - other) - made(0 * one), atol=1e-5
    )
    with tf.GradientTape() as tape:
        tape.watch(one)
        total = tf.reduce_sum(made(one) * other)
    slopes = tape.gradient(total, one)
    step = 0.01 * other
    moved = tf.reduce_sum((made(one + step) - made(one)) * other)
    assert float(moved) == pytest.approx(float(tf.reduce_sum(slopes * step)), rel=1e-3)


def test_the_seed_decides_and_images_are_changed_each_in_its_own_way():
    given = tf.ones([N, 8, 8, 1])
    first, again, other = (view((8, 8, 1), seed=seed)(given).numpy() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first.reshape(N, -1), axis=0)) > 20
