"""The classifier learns on from images with a class: drawn ones, or real ones beside them."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.ops import runtime
from pipeline.parts import drawn_images
from pipeline.training import loop
from pipeline.training.program import Program
from tests.methods.test_contract import as_batch, digits, make, values
from tests.training.short import SMALL, build, prepare

BALANCE = tf.constant([0.55] + 9 * [0.05])
FURTHER = {"steps": 20, "warm_up_share": 0, "generator_steps": 10, "report_every": 10}
FURTHER |= {"augment_steps": 10, "generator_units": "[8]"}


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def trained(**flags):
    config, arrays = prepare(**SMALL, **FURTHER, **flags)
    method = build(config, arrays)
    return method, loop.train(Program(method, config), arrays, config, lambda report: True)


def test_drawn_images_are_taken_where_the_classifier_reads_the_wanted_class():
    method = make("ssgan", generator_units="[8]")
    method.average.output_layer.bias.assign([0.0] * 4 + [40.0] + [0.0] * 5)  # sees class 4 alone
    images, wanted = drawn_images.drawn(
        method.generator, method.gan.latents, BALANCE, 400, method.random
    )
    assert images.shape == (400, 8, 8, 1)
    counts = np.bincount(wanted, minlength=10)
    assert 180 < counts[0] < 260  # 220 expected
    assert counts.min() > 5  # 20 expected
    taken = drawn_images.accepted(method.average, images, wanted, 0.9)
    np.testing.assert_array_equal(taken, wanted.numpy() == 4)
    assert not drawn_images.accepted(method.average, images, wanted, 1.0).numpy().any()


@pytest.mark.parametrize("source", ["samples", "images"])
def test_a_further_step_trains_the_classifier_and_leaves_the_generator(source):
    method = make("ssgan", augment_with=source, generator_units="[8]", confidence_threshold=0.0)
    before = values(method.network), values(method.generator)
    reported = tf.function(method.augment, autograph=False)(as_batch(digits(), 0.5))
    assert {"augmented_loss", "accepted_share", "supervised_loss"} <= set(reported)
    assert (reported["accepted_share"] > 0) or source == "samples"  # which are not read yet
    assert not any(
        np.array_equal(*pair) for pair in zip(values(method.network), before[0], strict=True)
    )
    assert all(
        np.array_equal(*pair) for pair in zip(values(method.generator), before[1], strict=True)
    )


def test_without_it_there_are_no_further_steps():
    method = make("ssgan", generator_units="[8]")
    assert method.augment_steps == 0
    assert make("ssgan", augment_with="samples", generator="false").augment_steps == 0


@pytest.mark.slow
def test_further_steps_come_last_and_change_nothing_before_them():
    _, without = trained()
    method, history = trained(augment_with="samples")
    other, _ = trained(augment_with="images")
    assert [report.step for report in history.reports] == [10, 20, 30, 40]
    assert "train/accepted_share" in history.reports[-1].metrics
    for one, two in zip(without.reports, history.reports, strict=False):
        losses = [{k: v for k, v in r.metrics.items() if k.endswith("loss")} for r in (one, two)]
        assert losses[0] == losses[1]
    drawn = [report.percent for report in history.reports if report.samples is not None]
    assert drawn == [100]
    pairs = zip(values(method.average), values(other.average), strict=True)
    assert not all(np.array_equal(*pair) for pair in pairs)
    pairs = zip(values(method.generator), values(other.generator), strict=True)
    assert all(np.array_equal(*pair) for pair in pairs)
