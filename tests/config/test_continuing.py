"""A training on an earlier run's split has the values that a run from the start would have."""

import pytest

from pipeline.config import continuing, step_images
from pipeline.config import layers as configuration
from pipeline.errors import UserError

FOLDER = {"dataset": "folder", "data_dir": "/pictures"}
LITE = "efficientnet_lite0"
N = 2000


def direct(n_labels=0, **flags):
    config = configuration.settled(configuration.load({**FOLDER, **flags}), N)
    return step_images.shared_out(config, n_labels)


def logged(config):
    return configuration.from_yaml(configuration.to_yaml(config))


def going_on(source, n_labels=0, **flags):
    config = continuing.load(flags, logged(source))
    return step_images.shared_out(configuration.settled(config, N), n_labels)


@pytest.mark.parametrize("other", ["none", LITE])
@pytest.mark.parametrize("first", ["none", LITE])
@pytest.mark.parametrize("n_labels", [100, 3000])
def test_what_followed_from_another_backbone_is_taken_anew(first, other, n_labels):
    source = direct(n_labels, backbone=first, split_seed="3")
    expected = direct(n_labels, backbone=other, split_seed="3")
    assert going_on(source, n_labels, backbone=other).flat() == expected.flat()


@pytest.mark.parametrize("other", ["none", LITE])
def test_a_split_that_has_left_the_backbone_open_decides_nothing(other):
    split = configuration.load({**FOLDER, "backbone": "auto"})
    assert going_on(split, backbone=other).flat() == direct(backbone=other).flat()
    split = configuration.load({**FOLDER, "backbone": "auto", "steps": "40"})
    assert going_on(split, backbone=other).flat() == direct(backbone=other, steps="40").flat()


def test_what_somebody_has_said_stays():
    said = {"discriminator_lr": "0.007", "seed": "5", "confidence_threshold": "0.5"}
    source = direct(backbone="none", **said)
    assert going_on(source, backbone=LITE).flat() == direct(backbone=LITE, **said).flat()
    source = direct(3000, backbone=LITE, batch_size="48", unlabelled_batch_size="48")
    assert going_on(source, 3000, steps="3000").batch_size == 48


def test_images_are_shared_out_anew_for_another_length():
    source = direct(3000, backbone=LITE)
    longer = going_on(source, 3000, steps="3000")
    assert longer.flat() == direct(3000, backbone=LITE, steps="3000").flat()
    assert longer.batch_size < source.batch_size
    assert going_on(source, 3000).flat() == source.flat()


def test_another_method_on_another_backbone_has_what_the_split_decided():
    source = direct(backbone="none", labels_per_class="4")
    found = going_on(source, method="fixmatch", backbone=LITE)
    expected = direct(method="fixmatch", backbone=LITE, labels_per_class="4")
    assert found.flat() == expected.flat()


def test_a_default_that_was_typed_stays():
    source = direct(backbone="none", batch_size="64")
    assert going_on(source, 100, backbone=LITE).batch_size == 32
    config = continuing.load({"backbone": LITE}, logged(source), ["batch_size"])
    config = step_images.shared_out(configuration.settled(config, N), 3000)
    assert (config.batch_size, config.unlabelled_batch_size) == (64, 64)
    split = configuration.load({**FOLDER, "backbone": LITE, "batch_size": "32"})
    config = continuing.load({}, logged(split), ["batch_size"])
    assert step_images.is_given(config)


def test_a_mistake_is_told():
    with pytest.raises(UserError, match="steps"):
        continuing.load({"steps": "many"}, logged(direct(backbone="none")))
