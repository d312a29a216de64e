"""A classifier on a backbone starts as a logistic regression, and its model stands alone."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from pipeline.config import layers as configuration
from pipeline.networks import backbones, pretrained
from pipeline.networks.build import PixelTable, averaged_copy, classifier, exported_classifier
from pipeline.networks.pretrained import PretrainedClassifier, working_side
from pipeline.networks.spec import Spec
from pipeline.ops import runtime
from pipeline.ops.devices import Random
from tests.networks.small_backbone import small_backbone

needs_weights = pytest.mark.skipif(
    backbones.at_hand() == backbones.NONE, reason="needs the extra pretrained"
)


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def make(shape=(20, 20, 3), n_classes=3, side=20):
    return PretrainedClassifier(shape, n_classes, small_backbone(side), Random(0))


def drawn(n, shape=(20, 20, 3), seed=0):
    """Images in [0, 1] whose classes 0..2 differ a little in colour, and their labels."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = draw.random((n, *shape)) * 0.6
    images[..., 0] += 0.1 * labels[:, None, None]
    return images.astype(np.float32), labels


def fitted(network, images, labels):
    features = network.features(tf.constant(images)).numpy()
    network.fit_output(features, features, labels)
    return features


def test_features_are_means_over_the_places_of_every_map():
    network = make()
    images, _ = drawn(4)
    maps = network.body(images * 255.0)
    features = network.features(tf.constant(images))
    assert features.shape == (4, 14)
    np.testing.assert_allclose(features[:, 5:], np.mean(maps[1], axis=(1, 2)), rtol=1e-4)
    assert [working_side(side, 128) for side in (8, 32, 64, 112, 128, 200)] == [
        *(64, 128, 128, 128, 128, 200),
    ]


def test_the_last_layer_starts_as_the_logistic_regression_of_scikit_learn():
    network, (images, labels) = make(), drawn(60)
    features = fitted(network, images, labels)
    maps = np.split(features.std(axis=0), [5])
    least = [np.maximum(one, pretrained.LEAST_SPREAD * np.sqrt((one**2).mean())) for one in maps]
    spread = (features - features.mean(axis=0)) / np.concatenate(least)
    # Each map counts the same: the squares of its features add up to half of all.
    scaled = spread * pretrained.LENGTH / np.sqrt(2 * np.repeat([5, 9], [5, 9]))
    expected = LogisticRegression(C=pretrained.INVERSE_PENALTY, max_iter=300).fit(scaled, labels)
    found = tf.nn.softmax(network(images)).numpy()
    np.testing.assert_allclose(found, expected.predict_proba(scaled), atol=2e-3)
    assert (found.argmax(axis=1) == labels).mean() > 0.6
    np.testing.assert_allclose(network.read(features), network(images), atol=1e-3)
    forward = network.forward(tf.constant(images), True, True)
    np.testing.assert_allclose(forward.logits, network(images), atol=1e-3)


def test_two_classes_have_the_probabilities_of_the_regression():
    network, (images, labels) = make(n_classes=2), drawn(40)
    features = fitted(network, images, labels % 2)
    scaled = (features - network.centre.numpy()) * network.scale.numpy()
    plain = LogisticRegression(C=pretrained.INVERSE_PENALTY, max_iter=300).fit(scaled, labels % 2)
    np.testing.assert_allclose(
        tf.nn.softmax(network(images)), plain.predict_proba(scaled), atol=2e-3
    )


@pytest.mark.parametrize("seen", [(0, 2, 3), (1, 4), (3,)])
def test_a_class_without_a_label_is_not_answered(seen):
    network, (images, labels) = make(n_classes=5), drawn(45)
    labels = np.array(seen)[labels % len(seen)]
    fitted(network, images, labels)
    logits = network(images).numpy()
    assert np.isfinite(logits).all()
    assert set(logits.argmax(axis=1)) <= set(seen)


@pytest.mark.parametrize("n_classes", [2, 10])
def test_of_many_labels_whose_classes_take_turns_every_class_is_learned(n_classes):
    labels = np.arange(2 * pretrained.MOST_LABELS) % n_classes
    noise = np.random.default_rng(0).normal(size=(len(labels), n_classes))
    features = (6 * np.eye(n_classes)[labels] + noise).astype(np.float32)
    kernel, bias = pretrained.regression(features, labels, n_classes)
    assert np.mean((features @ kernel + bias).argmax(axis=1) != labels) < 0.01
    assert (np.abs(kernel).max(axis=0) > 0).all()


def test_of_many_labels_each_class_keeps_its_share_and_a_rare_one_stays():
    labels = np.repeat([0, 1, 2], [1, 6000, 18000])
    places = pretrained._thinned(labels)
    assert np.bincount(labels[places]).tolist() == [1, 2500, 7500]
    assert (np.diff(places) > 0).all()
    few = labels[: pretrained.MOST_LABELS]
    np.testing.assert_array_equal(pretrained._thinned(few), np.arange(len(few)))


def test_grey_images_are_shown_in_three_channels_and_others_are_enlarged():
    network = make((20, 20, 1))
    grey, _ = drawn(3, (20, 20, 1))
    coloured = make().features(tf.constant(np.repeat(grey, 3, axis=-1)))
    np.testing.assert_allclose(network.features(tf.constant(grey)), coloured, rtol=1e-4)
    small = make((10, 12, 3), side=20)
    assert small(drawn(3, (10, 12, 3))[0]).shape == (3, 3)


def spec(shape=(24, 24, 3)):
    return Spec(shape, 3, np.full(3, 1 / 3, np.float32), 2.5, np.zeros((2, *shape), np.uint8))


@needs_weights
def test_the_averaged_copy_and_the_exported_model_answer_alike(tmp_path):
    config = configuration.load({"backbone": "efficientnet_lite0", "dataset": "npz"})
    network = classifier(config, spec(), Random(0), 0)
    assert isinstance(network, PretrainedClassifier)
    assert network.side == 128
    images, labels = drawn(12, (24, 24, 3))
    stored = (images * 255).round().astype(np.uint8)
    fitted(network, stored / np.float32(255), labels)
    copy = averaged_copy(network, config, spec())
    for one, other in zip(network.variables, copy.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(network.trainable_variables) == 2 * 49 + 2  # every kernel and bias
    exported = exported_classifier(copy, (24, 24, 3), PixelTable())
    exported.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "model")
    again = loaded.serve(tf.constant(stored))
    expected = tf.nn.softmax(network(stored / np.float32(255)))
    np.testing.assert_allclose(again, expected, atol=1e-4)
    np.testing.assert_allclose(np.sum(again, axis=1), 1, rtol=1e-5)
    assert np.ptp(again, axis=0).min() > 1e-3


def test_a_feature_that_none_of_some_images_has_does_not_outshout_the_others():
    network, rng = make(), np.random.default_rng(0)
    rows = rng.normal(3.0, 1.0, (60, 14)).astype(np.float32)
    rows[:, 7] = 0.0
    network.fit_output(rows, rows, np.arange(60) % 3)
    scale = network.scale.numpy()
    assert scale[7] < 1.1 / pretrained.LEAST_SPREAD * np.median(scale[5:])
    np.testing.assert_allclose(scale[:7], network.share[:7] / rows[:, :7].std(axis=0), rtol=1e-5)
