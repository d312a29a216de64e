"""The loop: reports, reproducibility and how a lost run ends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline import data, methods
from pipeline.config import layers as configuration
from pipeline.data.dataset import build as build_dataset
from pipeline.errors import Diverged, RunFailure
from pipeline.methods import Arrays, Batch
from pipeline.methods.supervised import Supervised
from pipeline.networks.spec import Spec
from pipeline.ops import runtime
from pipeline.stages.split import choose_split, split
from pipeline.stages.train import train as train_stage
from pipeline.training import loop, lost, warm_up
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.inputs import Inputs
from pipeline.training.program import Program, variables

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"network": "dense", "dense_units": "[64, 32]", "layer_noise": "0.1", "warmup_steps": "0"}
BESIDE = {"method": "sgan"}  # its generator is trained beside the classifier
TOLERANCE = 1e-6  # relative, on the same machine with the same number of threads


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def prepare(**flags):
    """A configuration and digits with 100 labels."""
    config = configuration.load({k: str(v) for k, v in flags.items()})
    digits = data.load("digits", None)
    labelled = np.arange(100)
    labels = digits.train_labels.read(labelled, "train")
    return config, Arrays(
        digits.train_images, np.arange(1437), labelled, labels, np.arange(0), digits.digest
    )


def build(config, arrays):
    spec = Spec(
        image_shape=arrays.images.shape[1:],
        n_classes=10,
        class_balance=np.full(10, 0.1, np.float32),
        pixel_scale=2.5,
        first_images=arrays.images[:200],
    )
    return methods.build(config, spec, config.seed)


def fingerprint(method, reports):
    """Losses of every report; one number for each variable of every network."""
    networks = [network for network in (method.average, method.generator) if network is not None]
    weights = [v.numpy() for network in networks for v in network.variables]
    losses = [
        value
        for report in reports
        for name, value in sorted(report.metrics.items())
        if name.endswith("loss")
    ]
    positions = [np.cos(np.arange(w.size)).reshape(w.shape) for w in weights]
    return losses, [float((w * p).sum()) for w, p in zip(weights, positions, strict=True)]


def short_run(seed):
    """A small GAN, a few steps long: of all networks the most prone to part ways."""
    warm_up.forget()
    config, arrays = prepare(**SMALL, steps=12, report_every=5, seed=seed)
    method = build(config, arrays)
    return fingerprint(
        method, loop.train(Program(method, config), arrays, config, lambda report: True).reports
    )


# ---------------------------------------------------------------- reports


class Counting(Supervised):
    """The baseline, counting how often Python runs its step: once for each tracing."""

    traces = 0

    def step(self, *args):
        self.traces += 1
        return super().step(*args)


def counting(**flags):
    config, arrays = prepare(method="supervised", **SMALL, **flags)
    spec = Spec((8, 8, 1), 10, np.full(10, 0.1, np.float32), 2.5, arrays.images[:200])
    return Counting(config, spec, 0), arrays, config


def test_reports_come_when_due_and_the_step_is_traced_once():
    method, arrays, config = counting(steps=23, report_every=5)
    seen = []
    history = loop.train(
        Program(method, config), arrays, config, lambda report: seen.append(report) or True
    )
    assert [report.step for report in seen] == [5, 10, 15, 20, 23]
    assert history.reports == seen
    assert method.traces == 1
    assert int(method.optimizers["discriminator"].iterations) == 23
    assert history.totals()["train/passes"] == 23 * 32 / 100
    assert set(history.frame()["name"]) == {"train/supervised_loss", "train/images_per_second"}
    losses = [report.metrics["train/supervised_loss"] for report in seen]
    assert losses[-1] < losses[0]


def test_a_call_of_any_length_runs_the_same_trace():
    method, arrays, config = counting(steps=20)
    program = Program(method, config)
    program.images.assign(arrays.images)
    inputs, phase = Inputs(program, arrays, config), program.phases["step"]
    totals = [phase.run(*inputs.steps(0, n, 0, 20)) for n in (1, 2, 7)]
    assert phase.keys == ["supervised_loss"]
    assert [rows.shape for rows in totals] == [(1, 1), (2, 1), (7, 1)]


def test_a_report_can_stop_the_training():
    method, arrays, config = counting(steps=1000, report_every=4)
    history = loop.train(Program(method, config), arrays, config, lambda report: report.step < 8)
    assert [report.step for report in history.reports] == [4, 8]
    assert int(method.optimizers["discriminator"].iterations) == 8


def test_samples_are_shown_before_the_first_step_and_ten_times_later():
    config, arrays = prepare(**SMALL, **BESIDE, steps=80, report_every=4)
    method = build(config, arrays)
    history = loop.train(Program(method, config), arrays, config, lambda report: True)
    shown = [report.step for report in history.reports if report.samples is not None]
    assert shown == [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80]
    percents = [report.percent for report in history.reports if report.samples is not None]
    assert percents == list(range(0, 101, 10))
    assert not history.reports[0].metrics
    assert len(history.reports) == 1 + 20
    stopped = loop.train(Program(method, config), arrays, config, lambda report: False)
    assert [report.step for report in stopped.reports] == [0]


def test_a_generators_own_steps_come_last_and_leave_the_classifier_as_it_is():
    flags = {"steps": 30, "warm_up_share": 0.2, "generator_steps": 40, "report_every": 4}
    runs = []
    for generator in ("true", "false"):
        warm_up.forget()
        config, arrays = prepare(**SMALL, **flags, generator=generator, generator_units="[8]")
        method, validated = build(config, arrays), []
        told = loop.train(
            Program(method, config),
            arrays,
            config,
            lambda report: True,
            lambda validated=validated: validated.append(1) or {"valid/error": 0.5},
        )
        runs.append((told, [v.numpy() for v in method.average.variables], len(validated)))
    (history, average, measured), (without, alone, _) = runs
    for one, other in zip(average, alone, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [report.step for report in without.reports] == [4, 6, 8, 12, 16, 20, 24, 28, 30]
    assert [report.step for report in history.reports[9:]] == [*range(32, 70, 4), 70]
    shown = [report.step for report in history.reports if report.samples is not None]
    assert shown == [36, 40, 44, 48, 52, 56, 60, 64, 68, 70]
    assert measured == 7
    for report in history.reports:
        drawing = report.step > 30
        assert ("train/generator_loss" in report.metrics) == drawing
        assert ("valid/error" in report.metrics) == (6 < report.step <= 30)
    assert history.totals()["train/passes"] == without.totals()["train/passes"] == 30 * 128 / 1437


@pytest.mark.parametrize(("steps", "share", "warm"), [(20, 0.02, 1), (20, 0.2, 4), (20, 0, 0)])
def test_a_warm_up_however_small_takes_a_step(steps, share, warm):
    flags = {"steps": steps, "warm_up_share": share, "generator": "false", "report_every": 1}
    warm_up.forget()
    config, arrays = prepare(**SMALL, **flags)
    program = Program(build(config, arrays), config)
    reports = loop.train(program, arrays, config, lambda report: True).reports
    warming = [report.step for report in reports if "train/contrastive_loss" in report.metrics]
    assert warming == list(range(1, warm + 1))


def test_the_average_follows_weights_and_copies_statistics():
    config, arrays = prepare(method="supervised", steps=1, ema_decay=0.9, warmup_steps=0)
    method = build(config, arrays)
    start = [variable.numpy() for variable in method.network.trainable_variables]
    loop.train(Program(method, config), arrays, config, lambda report: True)
    trained = (method.network.trainable_variables, method.average.trainable_variables)
    for old, new, average in zip(start, *trained, strict=True):
        # At step 1 the young average keeps a third of the start, whatever its decay.
        np.testing.assert_allclose(average, old / 3 + 2 * new.numpy() / 3, atol=1e-6)
    copied = (method.network.non_trainable_variables, method.average.non_trainable_variables)
    for statistic, average in zip(*copied, strict=True):
        np.testing.assert_allclose(average, statistic, atol=1e-6)


# ---------------------------------------------------------------- reproducibility


@pytest.mark.slow
def test_the_seed_gives_the_run_in_other_processes_and_with_one_thread_or_two():
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-c"),
                "import json; from pipeline.ops import runtime;"
                f"runtime.start(0, {threads}, True);"
                "from tests.training.test_loop import short_run; print(json.dumps(short_run(1)))",
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for threads in (None, 1, 2)
    ]
    first, again, other = short_run(1), short_run(1), short_run(2)
    np.testing.assert_allclose(np.hstack(again), np.hstack(first), rtol=TOLERANCE)
    assert not np.allclose(np.hstack(other), np.hstack(first), rtol=1e-2)
    elsewhere = []
    for process in processes:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr.decode()
        elsewhere.append(json.loads(stdout))
    np.testing.assert_allclose(np.hstack(elsewhere[0]), np.hstack(first), rtol=TOLERANCE)
    # Means of losses are summed call by call, and how many steps a call takes is a matter of time.
    np.testing.assert_allclose(elsewhere[2][0], elsewhere[1][0], rtol=TOLERANCE)
    assert elsewhere[2][1] == elsewhere[1][1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssgan", "seed_gan"])
def test_a_checkpoint_holds_everything_a_method_needs_to_go_on(name, tmp_path):
    config, arrays = prepare(method=name, steps=10)
    pixels = arrays.images.astype(np.float32) / 255

    def go_on(method, steps):
        for step in steps:
            own, free = np.arange(9) + step, np.arange(20) + 40 * step
            labels = tf.constant(arrays.labels[own], tf.int32)
            images = (tf.constant(pixels[own]), labels, tf.constant(pixels[free]))
            method.step(Batch(*images, tf.range(20), tf.constant(0.5)))
        networks = (method.network, method.generator)
        return [v.numpy() for network in networks for v in network.variables]

    def checkpoint(method):
        return tf.train.Checkpoint(variables=variables(method))

    method = build(config, arrays)
    method.after_warm_up(arrays)
    go_on(method, range(3))
    path = checkpoint(method).write(str(tmp_path / "state"))
    expected = go_on(method, range(3, 6))
    restored = build(config.model_copy(update={"seed": 7}), arrays)
    restored.after_warm_up(arrays)
    checkpoint(restored).read(path).assert_consumed()
    for actual, wanted in zip(go_on(restored, range(3, 6)), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=TOLERANCE, atol=1e-7)


# ---------------------------------------------------------------- lost runs


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
    assert "lower generator_lr (1e+08), or a larger penalty_weight (1)" in history.generator_lost
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


# ---------------------------------------------------------------- the stage on odd data


def colour_stripes(n=48):
    """Two classes of uint8 images [n, 9, 13, 3]: bright rows or bright columns."""
    values = np.random.default_rng(0)
    images = values.integers(0, 90, (n, 9, 13, 3), dtype=np.uint8)
    labels = np.arange(n) % 2
    images[labels == 0, 3:5] += 120
    images[labels == 1, :, 5:7] += 120
    return images, labels


@pytest.mark.parametrize("budget", [{"labels_per_class": 1}, {"label_frac": 1.0}])
def test_one_label_a_class_and_all_labels_train(budget):
    images, labels = colour_stripes()
    dataset = build_dataset("npz", "here", (images, labels), (images, labels))
    flags = SMALL | {"steps": "30", "batch_size": "32", **{k: str(v) for k, v in budget.items()}}
    config = configuration.load(flags)
    parts = split(
        labels,
        len(labels),
        label_frac=config.label_frac,
        labels_per_class=config.labels_per_class,
        valid_frac=0.0,
        split_seed=0,
    )
    assert len(parts.unlabelled) == (46 if "labels_per_class" in budget else 0)
    trained = train_stage(dataset, parts, config)
    probabilities = trained.model.classify(images)
    assert probabilities.shape == (48, 2)
    assert np.mean(probabilities.argmax(axis=1) == labels) > 0.9
    latents = trained.model.latents.draw(4, np.random.default_rng(0), np.arange(4) % 2)
    assert trained.model.generate(latents).shape == (4, 9, 13, 3)
