"""Other people's methods, really fitted to the bundled digits."""

import importlib.util

import numpy as np
import pytest

from experiments.curve import comparisons
from pipeline import data
from pipeline.config import layers as configuration
from pipeline.errors import UserError
from pipeline.networks import backbones
from pipeline.stages import split as splitting
from pipeline.stages.split import choose_split
from tests.networks.small_backbone import small_backbone
from tests.runs.test_pictures import picture

LABELS = 100
GRAPHS = ["label_spreading", "poisson"]
HAVE_POISSON = importlib.util.find_spec("graphlearning") is not None


@pytest.fixture(scope="module")
def config():
    return configuration.load({"label_frac": str(LABELS / 1437)})


def error(name, config, dataset):
    """Test error, and the number of labels that were read."""
    dataset = dataset.unread()
    split = choose_split(config, dataset)
    config = config.model_copy(update={"method": name, "own": {}})  # as a cell has it
    model = comparisons.fit(name, config, dataset, split)
    found = model.classify(dataset.test_images)
    assert found.shape == (len(dataset.test_images), len(dataset.class_names))
    assert found.dtype == np.float32
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert found.min() >= 0
    labels = dataset.test_labels.read(np.arange(len(dataset.test_labels)), "test")
    labels_read = splitting.audit(split, dataset.train_labels, dataset.test_labels)
    return np.mean(found.argmax(axis=1) != labels), labels_read


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("label_spreading", 0.12),
        ("self_training", 0.25),
        pytest.param(
            "poisson",
            0.12,
            marks=pytest.mark.skipif(not HAVE_POISSON, reason="graphlearning is not installed"),
        ),
    ],
)
def test_it_learns_and_reads_the_labels_of_the_split_alone(config, name, most):
    found, read = error(name, config, data.load("digits", None))
    assert found < most
    assert read == LABELS


def test_unlabelled_images_are_what_a_graph_lives_on(config):
    digits = data.load("digits", None)
    split = choose_split(config, digits)
    alone = type(split)(split.labelled, split.unlabelled[:0], split.valid, split.test)
    model = comparisons.fit("label_spreading", config, digits, alone)
    labels = digits.test_labels.read(np.arange(len(digits.test_labels)), "test")
    without = np.mean(model.classify(digits.test_images).argmax(axis=1) != labels)
    assert error("label_spreading", config, digits)[0] < without


def test_the_same_seed_gives_the_same_numbers(config):
    digits = data.load("digits", None)
    split = choose_split(config, digits)
    one, two = (comparisons.fit("self_training", config, digits, split) for _ in range(2))
    images = digits.test_images[:50]
    assert np.array_equal(one.classify(images), two.classify(images))


@pytest.mark.skipif(HAVE_POISSON, reason="graphlearning is installed")
def test_poisson_says_what_it_needs(config):
    with pytest.raises(UserError, match=r"needs the package graphlearning.*requirements-poisson"):
        comparisons.check("poisson", config)


@pytest.mark.skipif(
    backbones.at_hand() == backbones.NONE, reason="no weights of a trained network are installed"
)
def test_on_a_backbone_pictures_are_told_apart_by_few_labels(tmp_path):
    random = np.random.default_rng(0)
    colours = {"red": (200, 60, 40), "green": (40, 200, 60)}
    for part, count in (("train", 12), ("test", 6)):
        for name, colour in colours.items():
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(count):
                picture(random, colour).save(tmp_path / part / name / f"{number}.png")
    flags = {"dataset": "folder", "data_dir": str(tmp_path), "labels_per_class": "2"}
    config = configuration.load({**flags, "backbone": "none"})
    comparisons.check("backbone", config)
    dataset = data.of(config)
    assert error("backbone", config, dataset) == (0.0, 4)
    named = configuration.with_backbone(config, backbones.at_hand())
    assert error("label_spreading", named, dataset) == (0.0, 4)


@pytest.mark.parametrize("name", ["backbone", "label_spreading"])
def test_on_a_backbone_each_image_has_features_of_its_own(name, tmp_path, monkeypatch):
    """Whatever was classified before it, by this process or by an earlier one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(backbones, "load", lambda name, weights, side: small_backbone(side))
    config = configuration.load({"labels_per_class": "4", "valid_labels": "30"})
    config = config.model_copy(update={"backbone": "small", "method": name, "own": {}})
    digits = data.load("digits", None)
    split = choose_split(config, digits)
    parts = digits.train_images[split.valid], digits.test_images

    def classified(*parts):
        model = comparisons.fit(name, config, digits.unread(), split)
        return [model.classify(images) for images in parts]

    (expected,) = classified(parts[1])
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    for order in (1, -1):
        *_, tested = sorted(classified(*parts[::order]), key=len)
        np.testing.assert_array_equal(tested, expected)
