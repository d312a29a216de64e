"""Dai et al. 2017: feature matching's losses with the two terms that make the GAN bad."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.ops import runtime
from tests.methods.test_contract import as_batch, digits, equal, make, next_numbers, step, values

QUIET = {"input_noise": 0, "layer_noise": 0}


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def test_without_its_two_terms_it_is_feature_matching():
    one = make("bad_gan", pull_away_weight=0, entropy_weight=0)
    same = {"generator_beta_1": 0, "generator_lr": 0.001, "adam_epsilon": 1e-7}
    other = make("feature_matching", **same)
    one_step, other_step = step(one, digits()), step(other, digits())
    assert {key: one_step[key] for key in other_step} == other_step
    for network in ("network", "generator"):
        assert all(equal(values(getattr(one, network)), values(getattr(other, network))))


def test_the_two_terms_by_hand():
    method = make("bad_gan", **QUIET, pull_away_weight=0.7, entropy_weight=0.3)
    matching = make("feature_matching", **QUIET)
    for one in (method, matching):
        one.optimizers["discriminator"].learning_rate.assign(0.0)
    labelled, labels, pool = digits()
    numbers = next_numbers(method)
    numbers.uniform([len(pool), 100])  # of the discriminator's images
    generated = method.generator(numbers.uniform([len(pool), 100]), training=True)
    features = method.network.forward(generated, False, False).features[0].numpy()
    directions = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = (directions @ directions.T)[~np.eye(len(pool), dtype=bool)]
    p = tf.nn.softmax(method.network(pool)).numpy()
    entropy = -(p * np.log(p)).sum(axis=1).mean()
    matched = step(matching, (labelled, labels, pool))

    reported = step(method, (labelled, labels, pool))
    assert reported["pull_away_loss"] == pytest.approx(np.mean(cosines**2), rel=1e-3)
    assert reported["entropy_loss"] == pytest.approx(entropy, rel=1e-3)
    assert reported["generator_loss"] == pytest.approx(
        matched["generator_loss"] + 0.7 * np.mean(cosines**2), rel=1e-3
    )
    assert reported["discriminator_loss"] == pytest.approx(
        matched["discriminator_loss"] + 0.3 * entropy, rel=1e-3
    )


def test_pulling_away_makes_the_images_differ():
    """The generator alone learns, of nothing but the pull-away term."""
    method = make("bad_gan", dense_units="[60, 40]", pull_away_weight=1000, **QUIET)
    method.optimizers["discriminator"].learning_rate.assign(0.0)
    train = tf.function(method.step, autograph=False)
    batch = as_batch(digits(), 1.0)
    similar = [float(train(batch)["pull_away_loss"]) for _ in range(60)]
    assert np.mean(similar[-5:]) < 0.8 * np.mean(similar[:5])
