"""The loop: reports, reproducibility, and the stage on odd data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import layers as configuration
from pipeline.data.dataset import build as build_dataset
from pipeline.methods import Batch
from pipeline.methods.supervised import Supervised
from pipeline.networks.spec import Spec
from pipeline.stages.split import split
from pipeline.stages.train import train as train_stage
from pipeline.training import loop, warm_up
from pipeline.training.inputs import Inputs
from pipeline.training.program import Program, variables
from tests.training.short import BESIDE, SMALL, build, prepare, short_run

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-6  # relative, on the same machine with the same number of threads


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
                "from tests.training.short import short_run; print(json.dumps(short_run(1)))",
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
