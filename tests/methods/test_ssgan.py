"""Our recipe: with generator and without, pseudo-labels, and their alignment."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.measure.class_shift import SHARE
from pipeline.methods import Arrays
from pipeline.ops import devices, runtime, views
from pipeline.parts.pool_balance import follow
from pipeline.parts.teacher import consistency_weight, sure_first
from tests.methods.test_contract import as_batch, digits, make, step, values


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def softmax(logits):
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def test_without_generator_there_is_neither_phase_nor_network_of_it():
    method = make("ssgan", generator="false", warm_up_share=0)
    assert method.generator is None
    assert method.latents is None
    assert method.generator_steps == 0
    assert set(method.optimizers) == {"discriminator"}
    reported = step(method, digits())
    assert set(reported) == {
        "supervised_loss",
        "consistency_loss",
        "discriminator_loss",
        "confident_share",
    }


def test_the_classifier_learns_the_same_with_generator_and_without():
    trained = []
    for generator in ("true", "false"):
        method = make("ssgan", generator=generator)
        method.warm_up(as_batch(digits(), 1.0))
        step(method, digits())
        trained.append(values(method.network))
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_generator_learns_alone_from_known_labels_and_the_averages_answers():
    labelled, labels, pool = digits()
    method = make("ssgan", generator_units="[8]")
    arrays = Arrays(
        np.round(np.concatenate([labelled, pool]) * 255).astype(np.uint8),
        *(np.arange(32), np.arange(12), labels.astype(np.int64), np.arange(0), ""),
    )
    # An average that sees class 4 alone.
    method.average.output_layer.bias.assign([0.0] * 4 + [40.0] + [0.0] * 5)
    method.before_generator(arrays)
    np.testing.assert_array_equal(method.gan.classes, [*labels, *[4] * 20])
    still = [method.network, method.average]
    before = [values(network) for network in still]
    drawing = values(method.generator)
    reported = tf.function(method.generate, autograph=False)(as_batch(digits(), 0.5))
    assert set(reported) == {"generator_loss", "unsupervised_loss", "gradient_penalty"}
    for network, old in zip(still, before, strict=True):
        for one, other in zip(values(network), old, strict=True):
            np.testing.assert_array_equal(one, other)
    moved = [
        not np.array_equal(a, b) for a, b in zip(values(method.generator), drawing, strict=True)
    ]
    assert any(moved)
    method.let_go_of_images()
    assert method.gan.images.numpy().shape[0] == 1


def test_pseudo_labels_below_the_threshold_are_left_out():
    none = step(make("ssgan", confidence_threshold=1.0, graph_share=0.0), digits())
    assert none["confident_share"] == 0
    assert none["consistency_loss"] == 0
    every = step(make("ssgan", confidence_threshold=0.0, graph_share=0.0), digits())
    assert every["confident_share"] == 1
    assert every["consistency_loss"] > 0


def test_sure_images_are_learned_from_first_and_in_their_order():
    images = tf.reshape(tf.range(6.0), [6, 1, 1, 1])
    classes, confident = tf.constant([5, 4, 3, 2, 1, 0]), tf.constant([0.0, 1, 0, 1, 0, 1])
    for count, kept in ((2, [1, 3]), (4, [1, 3, 5, 0]), (None, [0, 1, 2, 3, 4, 5])):
        seen, of_seen, sure = sure_first(count, images, classes, confident)
        np.testing.assert_array_equal(tf.reshape(seen, [-1]), kept)
        np.testing.assert_array_equal(of_seen, 5 - np.array(kept))
        np.testing.assert_array_equal(sure, np.array(kept) % 2)


def test_devices_share_the_number_of_images_that_are_learned_from(monkeypatch):
    monkeypatch.setattr(devices, "count", lambda: 2)
    images, numbers = tf.reshape(tf.range(6.0), (6, 1, 1, 1)), tf.range(6)
    seen, _, _ = sure_first(5, images, numbers, tf.constant([0.0, 1, 0, 1, 0, 1]))
    np.testing.assert_array_equal(tf.reshape(seen, [-1]), [1, 3, 5])


def test_a_step_that_learns_from_some_still_reports_how_many_are_sure():
    every = {"confidence_threshold": 0.0, "graph_share": 0.0}
    reported = step(make("ssgan", learned_batch_size=4, **every), digits())
    assert reported["confident_share"] == 1
    assert reported["consistency_loss"] > 0


@pytest.mark.parametrize("name", ["ssgan", "fixmatch"])
def test_labelled_images_are_seen_weakly_where_that_is_asked_for(name):
    """Without a shift the weak view is the image itself."""
    method = make(name, labelled_view="weak", weak_shift_share=0.0)
    labelled, _, pool, *_ = digits()
    seen = views.labelled_and_strong(labelled, pool, method.config, method.random)
    np.testing.assert_array_equal(seen[: len(labelled)], labelled)
    assert not np.allclose(seen[len(labelled) :], pool)
    strong = make(name).config
    seen = views.labelled_and_strong(labelled, pool, strong, method.random)
    assert not np.allclose(seen[: len(labelled)], labelled)


def test_the_teacher_sees_clean_images_and_is_aligned_to_the_class_balance():
    balance = np.arange(1, 11) / 55
    method = make("ssgan", balance=balance)
    # A teacher that takes too much for class 0.
    method.average.output_layer.bias.assign([2.0] + 9 * [0.0])
    pool = digits(n_pool=60)[2]
    predicted = softmax(method.average(pool).numpy())
    running = 0.98 * balance + 0.02 * predicted.mean(axis=0)
    aligned = predicted * balance / running
    aligned /= aligned.sum(axis=1, keepdims=True)
    threshold = float(np.median(aligned.max(axis=1)))
    labels, confident = method.teacher.pseudo_labels(tf.constant(pool), threshold)
    np.testing.assert_array_equal(labels, aligned.argmax(axis=1))
    np.testing.assert_array_equal(confident, aligned.max(axis=1) > threshold)
    np.testing.assert_allclose(method.teacher.predicted_balance, running, rtol=1e-5)
    for _ in range(200):
        labels, _ = method.teacher.pseudo_labels(tf.constant(pool), threshold)
    assert np.mean(np.equal(labels, 0)) < 0.5 * np.mean(predicted.argmax(axis=1) == 0)


def test_a_corrected_balance_changes_no_answer_before_the_first_step():
    method = make("ssgan")
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20)
    mixed = random.choice(10, 600, p=[0.6] + 9 * [0.4 / 9])  # the pool's own classes
    features = 4 * np.eye(10)[np.concatenate([labels, mixed])] + random.normal(size=(800, 10))
    found = follow(method.class_balances, features[:200], labels, features[200:], 0)
    assert found[f"{SHARE}0"] > 0.3  # the labels have a tenth
    clean = tf.constant(digits(n_pool=60)[2])
    plain = method.average(clean).numpy().argmax(axis=1)
    shares = method.teacher.predicted_balance.numpy()
    np.testing.assert_array_equal(shares, method.teacher.class_balance)
    classes, _ = method.teacher.pseudo_labels(clean, 0.0)
    assert np.mean(classes.numpy() == plain) > 0.95


def test_the_graphs_labels_come_first_and_only_those_it_is_sure_of():
    labelled, labels, pool = digits(n_labelled=40, n_pool=60)
    batch = as_batch((labelled, labels, pool), 0.0)
    method = make("ssgan", (labelled, labels, pool), graph_share=0.5, graph_confident_share=0.6)
    classes, sure = (tensor.numpy() for tensor in method._pseudo_labels(batch))
    spread = method.graph.labels.numpy()
    np.testing.assert_array_equal(spread[:40], labels)
    np.testing.assert_array_equal(sure, spread[40:] >= 0)
    np.testing.assert_array_equal(classes[sure > 0], spread[40:][sure > 0])
    assert 0.3 < sure.mean() < 0.8
    late = batch._replace(progress=tf.constant(0.6))
    balance = method.teacher.predicted_balance.numpy()
    ours = method._pseudo_labels(late)[0]
    method.teacher.predicted_balance.assign(balance)
    np.testing.assert_array_equal(ours, method.teacher.pseudo_labels(pool, 0.95)[0])


def test_the_warm_up_sees_no_label_and_trains_all_but_the_output_layer():
    labelled, labels, pool = digits()
    trained = []
    for given in (labels, labels[::-1].copy()):
        method = make("ssgan")
        before = values(method.network)
        losses = method.warm_up(as_batch((labelled, given, pool), 1.0))
        assert set(losses) == {"contrastive_loss"}
        trained.append(values(method.network))
    for one, other in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, other)
    still = [np.array_equal(old, new) for old, new in zip(before, trained[0], strict=True)]
    assert sum(still) == 2  # kernel and bias of the output layer


def test_consistency_weighs_in_over_the_ramp():
    method = make("ssgan", consistency_ramp=0.5, consistency_weight=3)  # 20 of 40 steps
    weights = []
    for taken in (0, 9, 19, 39):
        weights.append(float(consistency_weight(method.config, (taken + 1) / 40)))
    assert weights == pytest.approx([3 / 20, 1.5, 3, 3])
