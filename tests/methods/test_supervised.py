"""The baseline: a fair one, and one that learns."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.ops import runtime
from tests.methods.test_contract import as_batch, digits, make, values


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def test_the_arms_of_a_comparison_start_from_the_same_weights():
    start = values(make("supervised", seed=4).network)
    for name in ("ssgan", "seed_gan"):
        for one, other in zip(start, values(make(name, seed=4).network), strict=True):
            np.testing.assert_array_equal(one, other)


def test_it_learns_its_labelled_images_by_heart():
    labelled, labels, pool = map(tf.constant, digits(n_labelled=30, n_pool=1))
    batch = as_batch((labelled, labels, pool), 1.0)
    method = make("supervised")
    step = tf.function(method.step, autograph=False)
    losses = [float(step(batch)["supervised_loss"]) for _ in range(100)]
    assert np.mean(losses[-5:]) < 0.5 < losses[0]
    logits = method.network(labelled)
    assert np.mean(np.argmax(logits, axis=1) == labels) == 1
