"""Salimans et al. 2016: the step's losses by hand, on the paper's networks."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.networks.classifiers.dense import DenseClassifier
from pipeline.ops import runtime
from tests.methods.test_contract import digits, make, next_numbers, step


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def test_the_networks_are_the_papers():
    method = make("feature_matching")
    assert isinstance(method.network, DenseClassifier)
    widths = [layer.units for layer in (*method.network.hidden, method.network.output_layer)]
    assert widths == [1000, 500, 250, 250, 250, 10]
    assert (method.network.input_noise, method.network.layer_noise) == (0.3, 0.5)
    kernels = [v.shape for v in method.generator.trainable_variables if len(v.shape) == 2]
    assert kernels == [(100, 500), (500, 500), (500, 64)]
    assert method.latents.distribution == "uniform"


def test_the_losses_are_the_papers():
    method = make("feature_matching", input_noise=0, layer_noise=0, unsupervised_weight=0.7)
    method.optimizers["discriminator"].learning_rate.assign(0.0)
    labelled, labels, pool = digits()
    # The generator is judged by other images than the discriminator.
    numbers = next_numbers(method)
    first, second = (
        method.generator(numbers.uniform([len(pool), 100]), training=True) for _ in range(2)
    )
    forward = [method.network.forward(tf.constant(x), False, False) for x in (pool, first, second)]
    real, fake, _ = (a.logits.numpy() for a in forward)
    real_f, _, fake_f = (a.features[0].numpy() for a in forward)

    def log_z(logits):
        return np.log(np.exp(logits).sum(axis=1))

    logits = method.network(labelled).numpy()
    supervised = np.mean(log_z(logits) - logits[np.arange(len(labels)), labels])
    # As in the paper's code: −½ E log Z + ½ E softplus(log Z) + ½ E_G softplus(log Z)
    unsupervised = 0.5 * np.mean(np.log1p(np.exp(log_z(real))) - log_z(real))
    unsupervised += 0.5 * np.mean(np.log1p(np.exp(log_z(fake))))
    matching = np.mean((real_f.mean(axis=0) - fake_f.mean(axis=0)) ** 2)
    assert real_f.min() == 0  # the last hidden layer, after its ReLU and before noise

    assert step(method, (labelled, labels, pool)) == pytest.approx(
        {
            "supervised_loss": supervised,
            "unsupervised_loss": unsupervised,
            "discriminator_loss": supervised + 0.7 * unsupervised,
            "generator_loss": matching,
        },
        rel=1e-3,
    )


def test_the_generator_is_judged_by_the_updated_discriminator():
    method = make("feature_matching", input_noise=0, layer_noise=0)
    method.optimizers["discriminator"].learning_rate.assign(0.1)
    method.optimizers["generator"].learning_rate.assign(0.0)
    _, _, pool = digits()
    numbers = next_numbers(method)
    _, latents = (numbers.uniform([len(pool), 100]) for _ in range(2))
    reported = step(method, digits())["generator_loss"]
    real, generated = (
        method.network.forward(images, False, False).features[0].numpy().mean(axis=0)
        for images in (tf.constant(pool), method.generator(latents, training=True))
    )
    assert reported == pytest.approx(np.mean((real - generated) ** 2), rel=1e-3)
