"""What the stage train puts around a trained network."""

import dataclasses

import numpy as np
import pytest

from pipeline import data
from pipeline.config import layers as config
from pipeline.config import named, step_images
from pipeline.data.dataset import build
from pipeline.networks.spec import Spec
from pipeline.ops import runtime
from pipeline.parts import graph_labels, relativistic_gan
from pipeline.stages import train
from pipeline.stages.split import audit, choose_split
from pipeline.training import warm_up
from tests.networks.small_backbone import small_backbone

METHODS = [
    name if name == "ssgan" else pytest.param(name, marks=pytest.mark.slow)
    for name in named.names("method")
]


def test_a_function_is_called_slice_by_slice():
    runtime.start(0, None, True)
    sizes = []

    def double(rows):
        sizes.append(len(rows))
        return 2 * rows

    rows = np.arange(2 * train.BATCH + 3)[:, None]
    np.testing.assert_array_equal(train.batched(double)(rows), 2 * rows)
    assert sizes == [train.BATCH] * 3


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 6, 1)])
def test_calls_are_sized_by_the_pixels_that_a_backbone_sees(shape, monkeypatch):
    """Wherever images are classified: after a training, for its graph, for its generator."""
    runtime.start(0, None, True)
    from pipeline.networks.pretrained import PretrainedClassifier
    from pipeline.ops.devices import Random
    from pipeline.parts.graph_labels import GraphLabels
    from pipeline.parts.relativistic_gan import RelativisticGAN

    side, most = 32, 5 * 32**2 + 7
    for module in (train, graph_labels, relativistic_gan):
        monkeypatch.setattr(module, "CALL_PIXELS", most)
    network = PretrainedClassifier(shape, 3, small_backbone(side), Random(0))
    assert network.pixels == side**2
    images = np.random.default_rng(0).integers(0, 256, (23, *shape), np.uint8)
    whole = network(images / np.float32(255)).numpy()
    sizes, forward = [], network.forward

    def watched(some, *given):
        sizes.append(len(some))
        return forward(some, *given)

    monkeypatch.setattr(network, "forward", watched)
    found = train.batched(lambda some: network(some / np.float32(255)), network.pixels)(images)
    np.testing.assert_allclose(found, whole, atol=1e-5)
    maps = GraphLabels(network)._maps(images, np.arange(23))
    assert len(maps[0]) == 23
    gan = RelativisticGAN(
        config.load({"generator_units": "[8]"}),
        Spec(shape, 3, np.full(3, 1 / 3, np.float32), 2.0, images),
        0,
    )
    gan.take(images, np.arange(23), np.arange(3), np.arange(3), network, 0, 5)
    np.testing.assert_array_equal(gan.classes.numpy()[3:], whole.argmax(axis=1)[3:])
    assert len(sizes) > 12
    assert max(sizes) * side**2 <= most


def test_a_short_run_of_the_recipe_is_ahead_of_its_baseline():
    """A tenth of the steps; judged on the training images whose labels were not read."""
    digits = data.load("digits", None)
    truth = digits.train_labels.read(np.arange(len(digits.train_labels)), "split")

    def error(arm):
        chosen = choose_split(arm, digits)
        trained = train.train(digits, chosen, arm)
        unread = np.setdiff1d(chosen.pool, chosen.labelled)
        predicted = trained.model.classify(digits.train_images[unread]).argmax(axis=1)
        trained.release()
        return np.mean(predicted != truth[unread])

    errors = []
    for draw in ("0", "1"):
        flags = {"seed": draw, "split_seed": draw, "labels_per_class": "10"}
        arm = config.load(flags | {"steps": "156", "generator": "false"})
        errors.append([error(arm), error(step_images.baseline_of(arm, n_labelled=100))])
    ours, baseline = np.mean(errors, axis=0)
    assert ours < 0.8 * baseline, ours / baseline


def with_other_labels(dataset, paid):
    """The same images; of the labels, those of the test part and all but the paid ones permuted."""
    random, doors = np.random.default_rng(0), []
    for door, kept in ((dataset.train_labels, paid), (dataset.test_labels, [])):
        labels = door.read(np.arange(len(door)), "split").copy()
        others = np.setdiff1d(np.arange(len(door)), kept)
        labels[others] = random.permutation(labels[others])
        doors.append(data.LabelDoor(labels, door.n_classes))
    return dataclasses.replace(dataset, train_labels=doors[0], test_labels=doors[1])


@pytest.mark.parametrize("method", METHODS)
def test_labels_that_a_split_does_not_pay_for_change_no_weight(method):
    digits = data.load("digits", None)
    flags = {"network": "dense", "dense_units": "[32]", "steps": "6"}
    arm = config.load(flags | {"method": method, "labels_per_class": "5", "valid_frac": "0.2"})
    chosen, weights = choose_split(arm, digits), []
    paid = np.union1d(chosen.labelled, chosen.valid)
    for dataset in (digits.unread(), with_other_labels(digits, paid)):
        warm_up.forget()
        trained = train.train(dataset, chosen, arm)
        assert audit(chosen, dataset.train_labels, dataset.test_labels) == len(paid)
        networks = [each for each in (trained.classifier, trained.generator) if each is not None]
        weights.append([np.array(w) for each in networks for w in each.get_weights()])
        trained.release()
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("n", "n_shown"), [(1999, 1999), (60_000, 1000)])
def test_the_images_that_decide_the_first_weights_show_classes_that_take_turns_alike(n, n_shown):
    labels = np.arange(n) % 10
    images = np.repeat(labels.astype(np.uint8) * 25, 4).reshape(n, 2, 2, 1)
    dataset = build("npz", "here", (images, labels), (images[:10], labels[:10]))
    shown = train.spec_of(dataset, np.arange(n), labels).first_images
    assert len(shown) == n_shown
    _, counts = np.unique(shown[:, 0, 0, 0], return_counts=True)
    assert len(counts) == 10
    assert counts.min() > 0.07 * n_shown


def test_what_is_left_to_labels_and_machine_is_decided():
    few, many = 2000, 2001
    photos = config.load({"dataset": "cifar10", "steps": "5000", "backbone": "none"})
    assert train.as_trained(photos, few, gpu=False).own["warm_up_share"] > 0
    assert train.as_trained(photos, many, gpu=False).own["warm_up_share"] == 0
    assert train.as_trained(photos, few, gpu=False).jit_compile is False
    assert train.as_trained(photos, few, gpu=True).jit_compile is True
    said = config.load({"dataset": "cifar10", "steps": "5000", "jit_compile": "false"})
    assert train.as_trained(said, few, gpu=True).jit_compile is False
    short = config.load({"dataset": "digits"})
    assert train.as_trained(short, few, gpu=True).jit_compile is False
    strokes = config.load({"dataset": "mnist"})
    assert train.as_trained(strokes, 60_000, gpu=False).own == strokes.own
