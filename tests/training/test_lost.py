"""How a lost run ends: it diverged, collapsed, or could not be kept."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline import data
from pipeline.config import layers as configuration
from pipeline.errors import Diverged, RunFailure
from pipeline.stages.split import choose_split
from pipeline.stages.train import train as train_stage
from pipeline.training import loop, lost
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.program import Program
from tests.training.short import BESIDE, SMALL, build, prepare


def failure(config, arrays, method=None):
    with pytest.raises(RunFailure) as caught:
        loop.train(
            Program(method or build(config, arrays), config), arrays, config, lambda report: True
        )
    return str(caught.value)


@pytest.mark.parametrize("rate", ["1e6", "1e30"])
def test_a_learning_rate_far_too_high_ends_the_run(rate):
    flags = {"method": "supervised", "steps": 100, "discriminator_lr": rate}
    text = failure(*prepare(**SMALL, **flags))
    assert "training diverged: train/supervised_loss is " in text
    assert f"lower discriminator_lr ({float(rate):g})" in text


def test_a_report_that_cannot_be_kept_ends_the_run_with_a_checkpoint(tmp_path):
    config, arrays = prepare(**SMALL, method="supervised", steps=20, report_every=5)
    method, store = build(config, arrays), Checkpoints(tmp_path, 3600.0)

    def full(report):
        if report.step == 10:
            raise RunFailure("the disk is full")
        return True

    with pytest.raises(RunFailure, match="the disk is full"):
        loop.train(Program(method, config), arrays, config, full, checkpoints=store)
    assert store.last("").head["done"] == 10
    again = Program(build(config, arrays), config)
    history = loop.train(again, arrays, config, lambda report: True, checkpoints=store)
    assert [report.step for report in history.reports] == [5, 10, 15, 20]


def test_a_training_that_diverged_leaves_no_checkpoint_of_it(tmp_path):
    flags = {"method": "supervised", "steps": 100, "discriminator_lr": "1e30"}
    config, arrays = prepare(**SMALL, **flags)
    program, store = Program(build(config, arrays), config), Checkpoints(tmp_path, 3600.0)
    with pytest.raises(Diverged):
        loop.train(program, arrays, config, lambda report: True, checkpoints=store)
    assert not store.exist()


def test_a_classifier_that_learns_nothing_ends_the_run():
    flags = {"method": "supervised", "steps": 300, "report_every": 50, "discriminator_lr": 1e-12}
    text = failure(*prepare(**SMALL, **flags))
    assert "the classifier collapsed: after 150 of 300 steps" in text
    assert "guessing among 10 classes (2.3)" in text


def test_a_mean_over_the_first_steps_is_no_collapse():
    config, arrays = prepare(**SMALL, method="supervised", steps=400, report_every=100)
    watch = lost.Watch(build(config, arrays), arrays, config, 0)
    high = {"train/supervised_loss": 3.0}  # ten classes: 2.3 is guessing
    watch.judge("step", 100, high, None, None)
    with pytest.raises(RunFailure, match="after 200 of 400 steps"):
        watch.judge("step", 200, high, None, None)


@pytest.mark.parametrize(
    ("every", "told"),
    [(50, 300), (100, 400), (300, 600), (600, 1000), (751, 1000), (999, 1000), (5000, 1000)],
)
def test_reports_however_far_apart_tell_a_collapse(every, told):
    """Each tells the mean since the one before; the first 250 of 1,000 steps are not judged."""
    config, arrays = prepare(**SMALL, method="supervised", steps=1000, report_every=every)
    watch = lost.Watch(build(config, arrays), arrays, config, 0)
    high = {"train/supervised_loss": 9.0}
    for step in range(every, told, every):
        watch.judge("step", step, high, None, None)
    with pytest.raises(RunFailure, match=f"the classifier collapsed: after {told} of 1000 steps"):
        watch.judge("step", told, high, None, None)


def test_a_generator_with_one_image_a_class_has_collapsed_in_whatever_phase():
    config, arrays = prepare(**SMALL, method="seed_gan", steps=400, report_every=100)
    watch = lost.Watch(build(config, arrays), arrays, config, 0)
    classes = np.repeat(np.arange(10), 10)
    alike, told = arrays.images[:10][classes], {"train/supervised_loss": 0.1}
    with pytest.raises(RunFailure, match="the generator collapsed"):
        watch.judge("step", 200, told, alike, classes)
    watch.judge("step", 200, told, arrays.images[:100], classes)


def test_a_generator_with_one_image_ends_the_run():
    flags = {"steps": 150, "report_every": 150, "generator_lr": 1e-12}
    config, arrays = prepare(**SMALL, **BESIDE, **flags)
    method = build(config, arrays)
    for layer in method.generator.layers[:3]:  # of the latents nothing is left
        for variable in layer.variables:
            variable.assign(tf.zeros(variable.shape))
    text = failure(config, arrays, method)
    assert "the generator collapsed: after 150 of 150 steps its images differ by 0.0%" in text
    assert "generator_lr (1e-12)" in text


def lost_generator(change=lambda method: None, **flags):
    """A short run of the default method whose generator is lost; its history and classifier."""
    still = {"steps": 8, "warm_up_share": 0, "generator_steps": 104, "report_every": 104}
    config, arrays = prepare(**SMALL, **(still | flags), generator_units="[8]")
    method = build(config, arrays)
    change(method)
    history = loop.train(Program(method, config), arrays, config, lambda report: True)
    assert all(np.isfinite(v).all() for v in method.average.variables)
    return history


def one_image_a_class(method):
    for network in (method.gan.generator, method.gan.average):
        kernel = network.start.kernel.numpy()
        kernel[:64] = 0  # what it makes of the latents, beside the class
        network.start.kernel.assign(kernel)


def test_a_generator_with_one_image_a_class_is_told_and_the_classifier_stays():
    history = lost_generator(one_image_a_class, generator_lr=1e-12)
    assert history.generator_lost.startswith("the generator collapsed: after 104 of 104 steps")
    assert "differ by 0.0% of what real images do" in history.generator_lost
    assert not lost_generator().generator_lost


def test_a_generator_without_measure_is_told_and_ends_early():
    history = lost_generator(generator_lr=1e8, report_every=4)
    assert "training diverged: train/" in history.generator_lost
    assert "lower generator_lr (1e+08), or a larger penalty_weight (0.2)" in history.generator_lost
    assert 8 < history.reports[-1].step < 112


def test_a_run_whose_generator_is_lost_has_a_classifier_and_no_generator():
    flags = {"steps": "8", "warm_up_share": "0", "generator_steps": "20", "generator_lr": "1e8"}
    config = configuration.load({**SMALL, **flags, "report_every": "4", "generator_units": "[8]"})
    digits = data.load("digits", None)
    trained = train_stage(digits, choose_split(config, digits), config)
    assert trained.history.generator_lost
    assert trained.generator is trained.model.generate is trained.model.latents is None
    assert trained.model.classify(digits.test_images[:3]).shape == (3, 10)


def test_a_short_run_is_not_taken_for_a_collapse():
    config, arrays = prepare(method="supervised", **SMALL, steps=2)
    history = loop.train(
        Program(build(config, arrays), config), arrays, config, lambda report: True
    )
    assert history.reports[-1].metrics["train/supervised_loss"] > 0
