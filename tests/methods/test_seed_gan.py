"""The text's scheme: its networks, its conditioning and when samples begin to count."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.networks.layers import BatchNormalization
from pipeline.ops import runtime
from pipeline.ops.devices import Random
from tests.methods.test_contract import close, digits, make, step, values


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def test_the_networks_are_the_texts():
    method = make("seed_gan")

    def kernels(network):
        return [v.shape for v in network.trainable_variables if len(v.shape) == 2]

    inner = method.generator.network
    assert kernels(inner) == [(100, 128), (128, 128), (128, 64)]
    kinds = [type(layer).__name__ for layer in inner.layers]
    assert kinds == [*(2 * ["Dense", "BatchNormalization", "ReLU"]), "Dense", "Reshape"]
    assert inner.layers[-2].activation.__name__ == "sigmoid"
    discriminator = kernels(method.gan.discriminator)  # the last is the projection of the class
    assert discriminator == [(64, 128), (128, 128), (128, 1), (10, 128)]
    assert [type(norm) for norm in method.gan.discriminator.norms] == 2 * [BatchNormalization]


def test_the_discriminator_gives_logits_not_probabilities():
    images = digits()[2]
    logits = make("seed_gan").gan.discriminator((20 * images, tf.eye(len(images), 10))).numpy()
    assert logits.min() < 0 or logits.max() > 1


def test_the_discriminator_sees_the_class_and_normalises_each_image_alone():
    discriminator = make("seed_gan").gan.discriminator
    images, classes = digits()[2], np.eye(10, dtype=np.float32)
    one = discriminator((images, np.tile(classes[3], [20, 1]))).numpy()
    other = discriminator((images, np.tile(classes[4], [20, 1]))).numpy()
    assert np.abs(one - other).min() > 1e-4
    part = discriminator((images[:5], np.tile(classes[3], [5, 1]))).numpy()
    np.testing.assert_allclose(part, one[:5], rtol=1e-4, atol=1e-5)


def test_only_real_images_count_in_the_discriminators_statistics():
    statistics = []
    for scale in (1.0, 3.0):
        method = make("seed_gan", rounds=1)
        for variable in method.generator.trainable_variables:
            variable.assign(variable * scale)
        step(method, digits())
        statistics.append(values(method.gan.discriminator, trainable=False))
    assert all(close(*statistics))
    assert all(np.abs(value).max() > 0 for value in statistics[0])


def test_other_labels_give_other_images():
    method = make("seed_gan")
    z = Random(0).normal([5, 100])
    images = [
        method.generator((z, tf.one_hot([label] * 5, 10)), training=False).numpy()
        for label in (3, 3, 4)
    ]
    np.testing.assert_array_equal(images[0], images[1])
    assert np.abs(images[0] - images[2]).max() > 0.1


def test_the_labelled_images_reach_the_generator_and_the_pool_the_discriminator():
    labelled, labels, pool = digits()
    trained = {}
    for key, batch in {
        "first": (labelled, labels, pool),
        "other images": (labelled[::-1], labels, pool),
        "other pool": (labelled, labels, pool[::-1] * 0.5),
    }.items():
        method = make("seed_gan")
        step(method, batch)
        trained[key] = values(method.gan.discriminator), values(method.generator)
    discriminator, generator = trained["first"]
    assert all(close(discriminator, trained["other images"][0]))
    assert not all(close(generator, trained["other images"][1]))
    assert not all(close(discriminator, trained["other pool"][0]))


def test_the_classifier_guides_the_generator_that_takes_its_turns():
    def generator(**flags):
        method = make("seed_gan", rounds=2, **flags)
        step(method, digits())
        assert method.optimizers["generator"].iterations.numpy() == 2
        return values(method.generator)

    assert not all(close(generator(), generator(class_weight=0.0, matching_weight=0.0)))


def test_samples_count_from_their_share_of_the_steps_on():
    def classifier(**flags):
        method = make("seed_gan", **flags)
        step(method, digits(), progress=0.3)
        return values(method.network)

    without = classifier(sample_weight=0.0)
    assert all(close(without, classifier(samples_from=0.4)))
    assert not all(close(without, classifier(samples_from=0.0)))
