"""What the stage evaluate reads of the test images."""

import dataclasses

import numpy as np

from pipeline.data.dataset import build
from pipeline.stages.evaluate import evaluate
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
