"""What the stage train puts around a trained network."""

import numpy as np

from pipeline import data
from pipeline.config import layers as config
from pipeline.config import step_images
from pipeline.ops import runtime
from pipeline.stages import train
from pipeline.stages.split import choose_split


def test_a_function_is_called_slice_by_slice():
    runtime.start(0, None, True)
    sizes = []

    def double(rows):
        sizes.append(len(rows))
        return 2 * rows

    rows = np.arange(2 * train.BATCH + 3)[:, None]
    np.testing.assert_array_equal(train.batched(double)(rows), 2 * rows)
    assert sizes == [train.BATCH] * 3


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
