"""A training that was killed at any checkpoint goes on from it and ends with the same numbers."""

import numpy as np
import pytest

from pipeline import data
from pipeline.config import layers as configuration
from pipeline.errors import Collapsed, UserError
from pipeline.networks import backbones
from pipeline.stages.split import choose_split
from pipeline.stages.train import train
from pipeline.training import checkpoints, loop, steps, warm_up
from pipeline.training.checkpoints import Checkpoints
from tests.networks.small_backbone import small_backbone

pytestmark = pytest.mark.slow

SMALL = {"network": "dense", "dense_units": "[32, 16]", "report_every": "4", "valid_frac": "0.2"}
SSGAN = SMALL | {"steps": "20", "warm_up_share": "0.5", "generator_steps": "6"}
SSGAN |= {"generator_units": "[8, 8]", "generated_batch_size": "8", "labels_per_class": "5"}
OTHERS = {
    "supervised": SMALL | {"method": "supervised", "steps": "10"},
    "feature_matching": SMALL | {"method": "feature_matching", "steps": "10"},
    "fixmatch": SMALL | {"method": "fixmatch", "steps": "10"},
    "vat": SMALL | {"method": "vat", "steps": "8"},
    "sgan": SMALL | {"method": "sgan", "steps": "8"},
    "bad_gan": SMALL | {"method": "bad_gan", "steps": "8"},
    "seed_gan": SMALL | {"method": "seed_gan", "steps": "8"},
}
ON_BACKBONE = {"kind": "photos", "backbone": "efficientnet_lite0", "backbone_side": "32"}
ON_BACKBONE |= {"report_every": "2", "batch_size": "8", "unlabelled_batch_size": "16"}
ON_BACKBONE |= {"labels_per_class": "5", "precision": "float32", "steps": "6"}
ON_BACKBONE = {
    "ssgan": ON_BACKBONE
    | {"generator_units": "[8, 8]", "generated_batch_size": "8", "generator_steps": "4"}
    | {"augment_with": "samples", "augment_steps": "4"},
    "supervised": ON_BACKBONE | {"method": "supervised"},
    "vat": ON_BACKBONE | {"method": "vat"},
}


class Killed(BaseException):
    """The process is gone: nothing that would clean up runs."""


class Killing(Checkpoints):
    """Kills after so many checkpoints."""

    def __init__(self, folder, left):
        super().__init__(folder, 0.0)
        self.left = left

    def save(self, head, arrays):
        if self.left > 0:
            super().save(head, arrays)
            self.left -= 1
        if not self.left:
            self.left = -1
            raise Killed


@pytest.fixture(autouse=True)
def _short_calls(monkeypatch):
    """Calls of a step each, so that there is a checkpoint after each."""
    monkeypatch.setattr(steps, "CALL_SECONDS", 0.0)


def outcome(flags, store=None, on_report=lambda report: True):
    """Reports without their times, predictions and images of a training."""
    warm_up.forget()
    config = configuration.load(flags)
    digits = data.load("digits", None)
    trained = train(digits, choose_split(config, digits), config, on_report, checkpoints=store)
    history = trained.history
    told = [
        (report.step, {k: v for k, v in report.metrics.items() if "per_second" not in k})
        for report in history.reports
    ]
    parts = [trained.model.classify(digits.test_images)]
    if trained.model.generate:
        latents = trained.model.latents
        drawn = latents.draw(4, np.random.default_rng(0), latents.grid_labels(4))
        parts.append(trained.model.generate(drawn))
    last = [report.samples for report in history.reports if report.samples is not None][-1:]
    trained.release()
    return told, history.compared, history.generator_lost, [*parts, *last]


def same(found, expected):
    assert found[:3] == expected[:3]
    for one, other in zip(found[3], expected[3], strict=True):
        np.testing.assert_array_equal(one, other)


def killed_after(flags, folder, count):
    """Whether a training was ended by its kill; it may be over before."""
    try:
        outcome(flags, Killing(folder, count))
    except Killed:
        return True
    return False


def number_of_checkpoints(flags, folder):
    store = Checkpoints(folder, 0.0)
    outcome(flags, store)
    return int(store._files()[-1].name[:6])


def test_killed_after_every_checkpoint_of_every_phase_it_ends_the_same(tmp_path):
    """Of one training, killed again and again: each process takes two steps or three."""
    expected = outcome(SSGAN)
    seen, folder = [], tmp_path / "all"
    while killed_after(SSGAN, folder, 3):
        held = checkpoints._read(Checkpoints(folder, 0.0)._files()[-1])
        seen.append((held.head["phase"], held.head["done"]))
    assert {phase for phase, _ in seen} >= {"warm_up", "step", "generate"}
    assert len(seen) >= 10
    assert seen == sorted(seen, key=lambda one: one[1])
    same(outcome(SSGAN, Checkpoints(folder, 0.0)), expected)


@pytest.mark.parametrize("name", OTHERS)
def test_other_methods_go_on_too(name, tmp_path):
    flags = OTHERS[name]
    expected = outcome(flags)
    total = number_of_checkpoints(flags, tmp_path / "whole")
    for count in (2, total - 2):
        folder = tmp_path / str(count)
        assert killed_after(flags, folder, count)
        same(outcome(flags, Checkpoints(folder, 0.0)), expected)


@pytest.mark.parametrize("name", ON_BACKBONE)
def test_a_training_on_a_backbone_goes_on_in_every_phase(name, tmp_path, monkeypatch):
    monkeypatch.setattr(backbones, "load", lambda name, weights, side: small_backbone(side))
    flags, phases = ON_BACKBONE[name], set()
    expected = outcome(flags)
    while killed_after(flags, tmp_path, 3):
        held = checkpoints._read(Checkpoints(tmp_path, 0.0)._files()[-1])
        phases.add(held.head["phase"])
    assert phases >= ({"step", "generate", "augment"} if name == "ssgan" else {"step"})
    same(outcome(flags, Checkpoints(tmp_path, 0.0)), expected)


@pytest.mark.parametrize("at", [4, 12, 24])
def test_an_interrupt_at_a_report_keeps_all_steps_and_repeats_the_report(at, tmp_path):
    expected = outcome(SSGAN)

    def interrupt(report):
        if report.step == at:
            raise KeyboardInterrupt
        return True

    store = Checkpoints(tmp_path, 1e9)  # none is due by itself
    with pytest.raises(KeyboardInterrupt):
        outcome(SSGAN, store, interrupt)
    head = checkpoints._read(store._files()[-1]).head
    assert head["done"] == at
    assert [step for step, _ in head["reports"]][-1:] != [at]
    told = []
    same(outcome(SSGAN, store, lambda report: told.append(report.step) or True), expected)
    assert told == [step for step, _ in expected[0]]


@pytest.mark.parametrize("change", ["after_warm_up", "before_generator"])
def test_an_interrupt_in_a_long_change_keeps_what_was_before_it(change, tmp_path, monkeypatch):
    from pipeline.methods.ssgan import build

    expected, whole = outcome(SSGAN), getattr(build, change)

    def interrupted(self, arrays):
        whole(self, arrays)
        raise KeyboardInterrupt

    store = Checkpoints(tmp_path, 1e9)
    with monkeypatch.context() as patch:
        patch.setattr(build, change, interrupted)
        with pytest.raises(KeyboardInterrupt):
            outcome(SSGAN, store)
    held = checkpoints._read(store._files()[-1]).head
    assert held["phase"] == {"after_warm_up": "warm_up", "before_generator": "step"}[change]
    same(outcome(SSGAN, store), expected)


def test_warm_up_and_graph_are_not_computed_twice(tmp_path, monkeypatch):
    from pipeline.methods.ssgan import build

    def interrupt(report):
        if report.step == 16:
            raise KeyboardInterrupt
        return True

    store = Checkpoints(tmp_path, 1e9)
    with pytest.raises(KeyboardInterrupt):
        outcome(SSGAN, store, interrupt)
    graphs = []
    monkeypatch.setattr(build, "after_warm_up", lambda *given: graphs.append(given) or {})
    begun = []
    monkeypatch.setattr(steps.progress, "phase", lambda name, **given: begun.append((name, given)))
    outcome(SSGAN, store)
    assert not graphs
    assert ("training", {"done": 16, "total": 20}) in begun
    assert "warm-up" not in [name for name, _ in begun]


def test_what_a_change_of_configuration_data_or_split_leaves_is_refused(tmp_path):
    flags = OTHERS["supervised"]
    store = Checkpoints(tmp_path, 0.0)
    outcome(flags, store)
    for change in ({"discriminator_lr": "0.01"}, {"split_seed": "1"}, {"steps": "12"}):
        with pytest.raises(UserError, match="is of another training"):
            outcome(flags | change, store)


def test_a_lost_training_is_not_kept_and_a_lost_generator_is(tmp_path, monkeypatch):
    at = "generate"

    def judge(self, phase, *given):
        if phase == at:
            raise Collapsed("all alike")

    monkeypatch.setattr(loop.Watch, "judge", judge)
    lost = outcome(SSGAN, Checkpoints(tmp_path / "generator", 0.0))
    assert lost[2] == "all alike"
    same(outcome(SSGAN, Checkpoints(tmp_path / "generator", 0.0)), lost)
    store, at = Checkpoints(tmp_path / "classifier", 1e9), "step"
    with pytest.raises(Collapsed):
        outcome(OTHERS["supervised"], store)
    assert not store.exist()
