"""What the stage evaluate reads of the test images."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from pipeline.data.dataset import build
from pipeline.networks.spec import Latents
from pipeline.stages.evaluate import evaluate, sets_of
from pipeline.stages.train import Model
from tests.training.test_gathering import Watched


def test_of_narrow_pixels_only_the_images_that_are_shown_are_stretched(tmp_path):
    random, labels = np.random.default_rng(0), np.arange(60) % 3
    images = random.integers(100, 117, (60, 16, 16), np.uint8)
    dataset = build("npz", "here", (images, labels), (images, labels))
    assert dataset.pixels
    watched = Watched(dataset.test_images)
    wrong = Model(lambda _: np.eye(3, dtype=np.float32)[(labels + 1) % 3], None, None)
    found = evaluate(
        dataclasses.replace(dataset, test_images=watched),
        wrong,
        n_labels=9,
        seed=0,
        scorer_dir=tmp_path,
        title="narrow",
    )
    (measured,) = found
    assert measured.metrics["test/error"] == 1
    shown = [axes.images[0].get_array() for axes in measured.figures["figures/mistakes.png"].axes]
    assert [(image.min(), image.max()) for image in shown] == 24 * [(0, 255)]
    assert watched.most == 16 * 16


@pytest.mark.parametrize(
    ("n", "sets"), [(20, 5), (6000, 5), (6001, 4), (7500, 4), (7501, 3), (10_000, 3)]
)
def test_of_many_test_images_fewer_sets_are_drawn(n, sets):
    assert sets_of(n) == sets


@pytest.mark.parametrize("n_test", [19, 20])
def test_samples_are_measured_on_twenty_test_images_or_more(n_test, tmp_path):
    random, labels = np.random.default_rng(0), np.arange(60) % 2
    images = (labels[:, None, None] * 127 + random.integers(0, 128, (60, 4, 4))).astype(np.uint8)
    dataset = build("npz", "here", (images, labels), (images[:n_test], labels[:n_test]))

    def classify(pixels):
        return np.eye(2, dtype=np.float32)[(pixels.mean(axis=(1, 2, 3)) > 127).astype(int)]

    def generate(latents):  # size 16, then the class
        bright = latents[:, 16:].argmax(axis=1)[:, None] * 127
        return (bright + 127 * latents[:, :16]).astype(np.uint8).reshape(-1, 4, 4, 1)

    model = Model(classify, generate, Latents(16, "uniform", 2))
    options = {"n_labels": 60, "seed": 0, "scorer_dir": tmp_path, "title": "few"}
    _, drawn = evaluate(dataset, model, **options, draw=False)
    assert "figures/samples.png" in drawn.figures
    assert bool(drawn.metrics) == bool(list(tmp_path.iterdir())) == (n_test == 20)
    if n_test == 20:
        assert (drawn.metrics["samples/n"], drawn.metrics["samples/sets"]) == (20, 5)
        assert drawn.metrics["samples/kid"] < 1
        assert set(drawn.figures) == {"figures/samples.png", "figures/nearest_training_images.png"}


def test_an_enlarging_generator_is_measured_by_what_it_draws(tmp_path):
    """A perfect one: real images of 64 pixels, reduced to 32 by areas and enlarged as it does."""
    random = np.random.default_rng(0)
    labels = np.arange(240) % 2
    bars = np.where(np.arange(64)[None, :] // 2 % 2 == labels[:, None], 60, 200)
    images = bars[:, :, None] + random.integers(-55, 56, (240, 64, 64))
    images = images.astype(np.uint8)
    dataset = build("npz", "here", (images, labels), (images[:120], labels[:120]))

    def generate(latents):
        places = 120 + 2 * (np.abs(latents[:, 0]) * 59).astype(int) + latents[:, 16:].argmax(axis=1)
        small = images[places].reshape(-1, 32, 2, 32, 2).mean(axis=(2, 4))
        return tf.image.resize(small[..., None], (64, 64)).numpy().round().astype(np.uint8)

    def kid(drawn):
        latents = Latents(16, "uniform", 2)
        model = Model(lambda _: np.eye(2, dtype=np.float32)[labels[:120]], generate, latents, drawn)
        options = {"n_labels": 60, "seed": 0, "scorer_dir": tmp_path, "title": "bars"}
        return [*evaluate(dataset, model, **options, draw=False)][1].metrics["samples/kid"]

    assert kid((32, 32)) < kid(None) - 0.01
