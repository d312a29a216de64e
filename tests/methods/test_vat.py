"""Miyato et al. 2017: the perturbation is small, adversarial and leaves no trace."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.ops import losses, runtime
from tests.methods.test_contract import as_batch, digits, make, next_numbers, step, values


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def divergence(method, images, perturbation):
    clean, moved = method._predict(images), method._predict(images + perturbation)
    return float(losses.kl_divergence(clean, moved))


@pytest.fixture(scope="module")
def trained():
    method = make("vat", epsilon=0.5)
    train = tf.function(method.step, autograph=False)
    for _ in range(30):
        train(as_batch(digits(), 1.0))
    return method


def test_the_perturbation_has_norm_epsilon_and_is_worse_than_a_random_one(trained):
    images = tf.constant(digits()[2])
    perturbation = trained._perturbation(images, trained._predict(images)).numpy()
    norms = np.sqrt((perturbation**2).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(norms, 0.5, rtol=1e-4)
    random = np.random.default_rng(0).normal(size=perturbation.shape)
    random *= 0.5 / np.sqrt((random**2).sum(axis=(1, 2, 3), keepdims=True))
    assert divergence(trained, images, perturbation) > 3 * divergence(trained, images, random)


def test_one_power_iteration_is_one_product_with_the_hessian():
    """∂²KL/∂r² = Jᵀ(diag p − p pᵀ)J at r = 0; the dense network keeps images apart."""
    method = make("vat", network="dense", dense_units="[60, 40]", epsilon=1, xi=0.001)
    images = tf.constant(digits()[2])
    d = tf.reshape(next_numbers(method).normal(images.shape), [len(images), 64]).numpy()
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = method._predict(images)
    jacobian = np.reshape(tape.batch_jacobian(logits, images), [len(images), 10, 64])
    p = tf.nn.softmax(logits).numpy()
    fisher = p[:, :, None] * np.eye(10) - p[:, :, None] * p[:, None, :]
    expected = np.einsum("nki,nkl,nlj,nj->ni", jacobian, fisher, jacobian, d)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    actual = np.reshape(method._perturbation(images, logits), [len(images), 64])
    cosines = (actual * expected).sum(axis=1)
    assert np.median(cosines) > 0.999  # a few images lie beside a kink of a ReLU


def test_clean_and_perturbed_passes_differ_by_the_perturbation_alone():
    method, images = make("vat"), tf.constant(digits()[2])
    np.testing.assert_array_equal(method._predict(images), method._predict(images))
    assert (method.network.input_noise, method.network.layer_noise) == (0.1, 0.3)


def test_sure_predictions_give_no_infinite_perturbation(trained):
    images = tf.constant(digits()[2])
    sure = make("vat")
    sure.network.output_layer.bias.assign(200 * np.eye(10)[3])
    assert np.isfinite(sure._perturbation(images, sure._predict(images))).all()


def test_perturbed_images_stay_out_of_the_statistics_and_the_total_is_the_sum():
    statistics = []
    for epsilon in (1e-6, 5.0):
        method = make("vat", epsilon=epsilon, consistency_weight=2.0, entropy_weight=0.5)
        reported = step(method, digits())
        statistics.append(values(method.network, trainable=False))
        assert (reported["consistency_loss"] > 1e-3) == (epsilon > 1)
        assert reported["discriminator_loss"] == pytest.approx(
            reported["supervised_loss"]
            + 2 * reported["consistency_loss"]
            + 0.5 * reported["entropy_loss"],
            rel=1e-4,
        )
    for one, other in zip(*statistics, strict=True):
        np.testing.assert_array_equal(one, other)
