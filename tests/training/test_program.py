"""A compiled method: for many trainings, on several devices, in faster arithmetic."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline import data
from pipeline.config import layers as configuration
from pipeline.data.dataset import build
from pipeline.errors import Diverged, RunFailure, UserError
from pipeline.methods import Arrays
from pipeline.networks.spec import Spec
from pipeline.stages.split import choose_split
from pipeline.stages.train import train as train_stage
from pipeline.training import loop, program
from tests.training.short import SMALL, prepare

ROOT = Path(__file__).resolve().parents[2]


# ---------------------------------------------------------------- one program, many trainings


def trained(release, **flags):
    """Test predictions after a few steps on digits, and the program's classifier.

    release: let the program go.
    """
    config = configuration.load(SMALL | {"steps": "30"} | {k: str(v) for k, v in flags.items()})
    digits = data.load("digits", None)
    chosen = choose_split(config, digits)
    result = train_stage(digits, chosen, config)
    predicted = result.model.classify(digits.test_images)
    if release:
        result.release()
    return predicted, result.classifier


@pytest.mark.slow
def test_a_program_serves_other_seeds_rates_lengths_and_label_counts_without_a_new_trace():
    first = {"label_frac": 0.1, "seed": 1, "discriminator_lr": 0.001}
    other = {"label_frac": 0.05, "seed": 2, "discriminator_lr": 0.003, "steps": 20, "split_seed": 3}
    fresh = [trained(False, **first), trained(False, **other)]
    _, compiled = trained(True, **first)
    reused = [trained(True, **other), trained(True, **first)]
    for (wanted, _), (predicted, classifier) in zip(reversed(fresh), reused, strict=True):
        np.testing.assert_allclose(predicted, wanted, rtol=1e-4, atol=1e-6)
        assert classifier is compiled


def test_a_training_that_failed_keeps_no_images():
    config = configuration.load(
        SMALL | {"method": "supervised", "steps": "20", "discriminator_lr": "1e30"}
    )
    digits = data.load("digits", None)
    with pytest.raises(Diverged):
        train_stage(digits, choose_split(config, digits), config)
    assert program._idle[-1].images.value().shape == (1, 8, 8, 1)


def test_a_generator_that_was_ended_keeps_no_images():
    flags = {"steps": "4", "warm_up_share": "0", "generator_steps": "6", "generator_units": "[8]"}
    config = configuration.load(SMALL | flags | {"report_every": "2"})
    digits = data.load("digits", None)

    def end(report):
        if report.step > 4:
            raise RunFailure("the disk is full")
        return True

    with pytest.raises(RunFailure):
        train_stage(digits, choose_split(config, digits), config, end)
    held = [v for v in program.variables(program._idle[-1].method) if v.dtype == "uint8"]
    assert held
    assert all(v.value().shape[0] <= 1 for v in held)


def test_pixels_stored_in_another_range_train_the_same_and_share_the_program():
    config = configuration.load({**SMALL, "steps": "30", "report_every": "30"})
    digits = data.load("digits", None)
    parts = []
    for images, door in (
        (digits.train_images, digits.train_labels),
        (digits.test_images, digits.test_labels),
    ):
        stored = np.rint(images / 255 * 16).astype(np.uint8) + 100
        parts.append((stored, door.read(np.arange(len(door)), "test")))
    narrow, classifiers = build("npz", "here", *parts), []
    assert narrow.pixel_range == (100, 116)
    for dataset, low, high in ((digits, 0, 255), (narrow, 100, 116)):
        result = train_stage(dataset, choose_split(config, dataset), config)
        classifiers.append(result.classifier)
        shown = result.history.reports[-1].samples
        latents = result.model.latents
        drawn = latents.draw(50, np.random.default_rng(0), latents.grid_labels(50))
        generated = result.model.generate(drawn)
        predicted = result.model.classify(dataset.test_images)
        if dataset is digits:
            wanted, samples, levels = predicted, shown, generated
        np.testing.assert_allclose(predicted, wanted, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(shown.astype(int), samples, atol=9)  # half a level of 17
        expected = low + levels * ((high - low) / 255)
        np.testing.assert_allclose(generated, expected, atol=0.6)
        result.release()
    assert classifiers[1] is classifiers[0], "one program served both"


@pytest.mark.slow
def test_two_devices_compute_what_one_does():
    """In a process of its own: logical devices are made before TensorFlow runs anything."""
    losses = []
    for devices in (1, 2):
        script = (
            "import json; from pipeline.ops import runtime;"
            f"runtime.start(0, None, True, {devices});"
            "from tests.training.test_program import shared_out;"
            f"print(json.dumps(shared_out({devices})))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            timeout=120,
        )
        losses.append(json.loads(done.stdout))
    # Rounding differs, and six steps from random weights amplify it; biases start at zero.
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-2, atol=1e-3)


def shared_out(devices):
    """Losses and weights of every method after a few steps spread over some devices.

    Without noise and augmentation: their random numbers go by place in the batch, and the
    devices' parts of labelled and unlabelled images lie in other places than in the whole.
    """
    numbers = []
    still = {f"augment_{key}": 0 for key in ("rotation", "scale", "shear", "shift")}
    still |= {"input_noise": 0, "layer_noise": 0, "dense_units": "[64, 32]"}
    for name in ("feature_matching", "ssgan"):
        flags = {"steps": 6, "report_every": 6, "devices": devices, "seed": 1}
        config, arrays = prepare(method=name, **flags, **still)
        spec = Spec((8, 8, 1), 10, np.full(10, 0.1, np.float32), 2.5, arrays.images[:200])
        prepared = program.prepare(config, spec)
        reports = loop.train(prepared, arrays, config, lambda report: True).reports
        numbers += [v for k, v in sorted(reports[-1].metrics.items()) if k.endswith("loss")]
        numbers += [
            float(tf.reduce_sum(abs(v))) for v in prepared.method.average.trainable_variables
        ]
    return numbers


# ---------------------------------------------------------------- precision, XLA, devices


@pytest.mark.slow
@pytest.mark.parametrize("flags", [{"precision": "bfloat16"}, {"jit_compile": "true"}])
def test_faster_arithmetic_trains_the_same_but_for_rounding(flags):
    errors = []
    for chosen in ({}, flags):
        still = {"method": "feature_matching", "steps": "60", "report_every": "60"}
        config, arrays = prepare(**SMALL, **still, **chosen)
        spec = Spec((8, 8, 1), 10, np.full(10, 0.1, np.float32), 2.5, arrays.images[:200])
        prepared = program.prepare(config, spec)
        *_, report = loop.train(prepared, arrays, config, lambda report: True).reports
        errors.append(report.metrics["train/discriminator_loss"])
        assert {v.dtype for v in prepared.method.network.trainable_variables} == {"float32"}
    assert errors[1] == pytest.approx(errors[0], rel=0.05)


def coloured():
    """Images uint8 [300, 12, 10, 3] of three classes, and what a training takes of them."""
    values = np.random.default_rng(0)
    labels = np.arange(300) % 3
    images = values.integers(0, 128, (300, 12, 10, 3))
    images[np.arange(300), ..., labels] += 127
    everything = Arrays(
        images.astype(np.uint8), np.arange(300), np.arange(60), labels[:60], np.arange(0), "colours"
    )
    return everything, {"dataset": "cifar10", "generator_units": "[16, 8]"}


def of_digits():
    _, arrays = prepare()
    return arrays, {"dataset": "digits", "generator_units": "[32]"}


@pytest.mark.slow
@pytest.mark.parametrize("make", [of_digits, coloured])
def test_xla_trains_ssgan_with_its_views_and_warm_up_as_without(make):
    arrays, flags = make()
    flags |= SMALL | {"steps": "4", "report_every": "1", "warm_up_share": "0.5"}
    flags |= {"input_noise": "0", "layer_noise": "0"}  # each draw is seconds of compilation
    n_classes = len(np.unique(arrays.labels))
    balance = np.full(n_classes, 1 / n_classes, np.float32)
    spec = Spec(arrays.images.shape[1:], n_classes, balance, 2.5, arrays.images[:200])
    told = []
    for chosen in ("false", "true"):
        config = configuration.load(flags | {"jit_compile": chosen})
        prepared = program.prepare(config, spec)
        reports = loop.train(prepared, arrays, config, lambda report: True).reports
        told.append([report.metrics for report in reports if report.metrics])
    plain, compiled = told
    assert [metrics.keys() for metrics in compiled] == [metrics.keys() for metrics in plain]
    for metrics in compiled:
        assert all(np.isfinite(value) for value in metrics.values())
    first, later = "train/contrastive_loss", "train/supervised_loss"
    assert compiled[0][first] == pytest.approx(plain[0][first], rel=1e-4)
    # Two steps of Adam amplify rounding. The generator's normal latents are others under XLA.
    assert compiled[2][later] == pytest.approx(plain[2][later], rel=0.02)


def test_what_cannot_be_shared_out_is_told_before_training():
    """In a process of its own: logical devices are made before TensorFlow runs anything."""
    script = (
        "from pipeline.ops import runtime; runtime.start(0, None, True, 2);"
        "from tests.training.test_program import refused; refused()"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        timeout=120,
    )


def refused():
    config, arrays = prepare(method="supervised", devices=2, batch_size=31)
    spec = Spec((8, 8, 1), 10, np.full(10, 0.1, np.float32), 2.5, arrays.images[:9])
    with pytest.raises(UserError, match="batch_size = 31 does not divide among 2 devices"):
        program.prepare(config, spec)
