"""FixMatch: whose pseudo-labels, of which view, and which of them count."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.ops import runtime
from tests.methods.test_contract import close, digits, make, step, values


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def test_pseudo_labels_below_the_threshold_are_left_out():
    none = step(make("fixmatch", confidence_threshold=1.0), digits())
    assert none["confident_share"] == none["consistency_loss"] == 0
    every = step(make("fixmatch", confidence_threshold=0.0, consistency_weight=2.0), digits())
    assert every["confident_share"] == 1
    assert every["discriminator_loss"] == pytest.approx(
        every["supervised_loss"] + 2 * every["consistency_loss"], rel=1e-5
    )


def test_the_current_network_gives_the_labels_and_its_average_none():
    trained = []
    for changed in ("neither", "average", "network"):
        method = make("fixmatch", confidence_threshold=0.0)
        if changed != "neither":
            getattr(method, changed).output_layer.bias.assign(100 * np.eye(10)[3])
        reported = step(method, digits())
        trained.append((reported["consistency_loss"], values(method.network)))
    (loss, weights), (same_loss, same_weights), (sure_loss, _) = trained
    assert same_loss == loss
    assert all(close(same_weights, weights))
    assert sure_loss < 1e-3 < loss  # all are class 3, for pseudo-label and strong view alike


def test_strong_augmentation_and_noise_do_not_reach_the_pseudo_labels():
    labelled, labels, pool = digits(n_pool=60)
    p = tf.nn.softmax(make("fixmatch").network(pool)).numpy().max(axis=1)
    middle = float(np.median(p))
    for shift, same in ((0.0, True), (0.3, False)):
        method = make("fixmatch", confidence_threshold=middle, weak_shift_share=shift)
        confident = step(method, (labelled, labels, pool))["confident_share"]
        assert (confident == 0.5) == same
