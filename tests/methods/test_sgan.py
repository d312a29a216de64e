"""Odena 2016: the generated class, and a generator that is taught to fool."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.networks.classifiers.conv import ConvClassifier
from pipeline.ops import runtime
from tests.methods.test_contract import as_batch, digits, make, next_numbers, step


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def test_its_losses_are_those_of_a_softmax_over_k_plus_1_classes():
    still = dict.fromkeys(["input_noise", "layer_noise"], 0)
    still |= {f"augment_{what}": 0 for what in ("rotation", "scale", "shear", "shift")}
    method = make("sgan", **still)
    assert isinstance(method.network, ConvClassifier)
    method.optimizers["discriminator"].learning_rate.assign(0.0)
    labelled, labels, pool = digits()
    numbers = next_numbers(method)

    def generated_share(logits):
        exponentials = np.exp(np.pad(logits, [(0, 0), (0, 1)]))  # the generated class: logit 0
        return exponentials[:, -1] / exponentials.sum(axis=1)

    true = method.network.forward(tf.concat([labelled, pool], 0), True, False).logits
    # The generator is judged by other images than the discriminator.
    first, second = (
        method.generator(numbers.uniform([len(pool), method.latents.size]), training=True)
        for _ in range(2)
    )
    fakes = [method.network.forward(images, True, False).logits for images in (first, second)]
    real, generated, last = map(generated_share, (true[len(labels) :], *fakes))
    reported = step(method, (labelled, labels, pool))
    assert reported["unsupervised_loss"] == pytest.approx(
        -np.log(1 - real).mean() / 2 - np.log(generated).mean() / 2, rel=1e-3
    )
    # Non-saturating: the generator raises the probability that its images are real.
    assert reported["generator_loss"] == pytest.approx(-np.log(1 - last).mean(), rel=1e-3)


def test_the_generator_learns_to_fool_a_discriminator_that_stands_still():
    method = make("sgan")
    method.optimizers["discriminator"].learning_rate.assign(0.0)
    train = tf.function(method.step, autograph=False)
    batch = as_batch(digits(), 1.0)
    fooled = [float(train(batch)["generator_loss"]) for _ in range(60)]
    assert np.mean(fooled[-5:]) < 0.8 * np.mean(fooled[:5])
