"""A warm-up that an earlier training has made is recalled, and only when it is the same one."""

import numpy as np
import pytest

from pipeline import data
from pipeline.config import layers as configuration
from pipeline.networks import backbones
from pipeline.stages.split import choose_split
from pipeline.stages.train import train
from pipeline.training import warm_up
from tests.networks.small_backbone import small_backbone

SMALL = {"network": "dense", "dense_units": "[64, 32]", "steps": "30", "report_every": "5"}
SMALL |= {"warm_up_share": "0.5", "label_frac": "0.1"}


def run(**flags):
    """Steps recalled, reports and predictions of a short training on digits."""
    config = configuration.load(SMALL | {key: str(value) for key, value in flags.items()})
    digits = data.load("digits", None)
    trained = train(digits, choose_split(config, digits), config)
    predicted = trained.model.classify(digits.test_images)
    trained.release()
    return trained.history.recalled_steps, trained.history.reports, predicted


@pytest.mark.slow
@pytest.mark.parametrize("flags", [{"label_frac": 0.05, "split_seed": 3}, {"generator": "false"}])
def test_another_label_draw_or_the_ablation_recalls_it_and_ends_as_if_computed(flags):
    warm_up.forget()
    _, expected_reports, expected = run(**flags)
    warm_up.forget()
    assert run()[0] == 0
    recalled, reports, predicted = run(**flags)
    assert recalled == 15
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-6)
    told = [report.step for report in reports if report.metrics]
    assert told[:6] == [5, 10, 15, 20, 25, 30]
    assert told[6:] == ([35, 39] if "generator" not in flags else [])
    for report, wanted in zip(reports, expected_reports, strict=True):
        losses = [name for name in wanted.metrics if name.endswith("_loss")]
        assert losses or not report.step
        for name in losses:
            assert report.metrics[name] == pytest.approx(wanted.metrics[name], rel=1e-4)


def test_on_a_backbone_the_last_layer_stays_that_of_its_own_labels(monkeypatch):
    monkeypatch.setattr(backbones, "load", lambda name, weights, side: small_backbone(side))
    flags = {"kind": "photos", "backbone": "efficientnet_lite0", "backbone_side": 32, "steps": 6}
    flags |= {"report_every": 3, "generator": "false", "label_frac": 0.05, "batch_size": 8}
    flags |= {"unlabelled_batch_size": 16, "learned_batch_size": 8, "precision": "float32"}
    warm_up.forget()
    _, _, expected = run(**flags)
    warm_up.forget()
    run(**(flags | {"label_frac": 0.5}))
    recalled, _, predicted = run(**flags)
    assert recalled == 3
    np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        {"seed": 1},
        {"steps": 32},
        {"warm_up_lr": 0.001},
        {"warm_up_elastic": 0.1},
        {"augment_shift": 0.0},
        {"valid_frac": 0.5},  # takes images out of the pool
    ],
)
def test_whatever_decides_a_warm_up_makes_it_anew(flags):
    run()  # keeps its warm-up, or recalls it
    assert run(**flags)[0] == 0
