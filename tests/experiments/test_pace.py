"""What a step costs: warm-up and later steps by their shares, tracing and graph left out."""

import pytest

from experiments.pace import STEPS, seconds_a_step
from pipeline import data
from pipeline.config import layers as configuration
from pipeline.stages.split import choose_split

TINY = {"network": "dense", "dense_units": "[8]", "generator_units": "[8]"}
TINY |= {"batch_size": "8", "unlabelled_batch_size": "8", "generated_batch_size": "8"}


def measured(times, **flags):
    """By a clock that shows these times at the reports."""
    config = configuration.load({**TINY, **flags})
    digits = data.load("digits", None)
    shown = iter(times)
    return seconds_a_step(digits, choose_split(config, digits), config, lambda: next(shown))


def test_a_warm_up_s_steps_and_the_others_count_by_their_share():
    times = [9, 9 + 2 * STEPS, 9 + 4 * STEPS, 700, 700 + STEPS, 700 + 2 * STEPS]
    assert measured(times, warm_up_share="0.25") == pytest.approx(0.25 * 2 + 0.75 * 1)


def test_without_a_warm_up_the_faster_of_two_reports_counts():
    times = [50, 50 + 3 * STEPS, 50 + 5 * STEPS]
    assert measured(times, warm_up_share="0") == pytest.approx(2)
