"""Numbers as the report writes them: digits, intervals, ends beside 0."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.curve import report, words
from experiments.curve.statistics import Comparison
from tests.curve.cells import table


@pytest.mark.parametrize(
    ("lacking", "said"), [(0.0003, "99.97 %"), (0.015, "98.5 %"), (0.5, "50 %")]
)
def test_a_goal_of_images_is_said_with_the_digits_of_what_it_lacks(lacking, said):
    assert words.goal(1 - lacking) == said


def test_an_end_beside_0_is_not_shown_as_0():
    some = [0.0197, 0.0381, 0.0118, -0.0027, 0.0275, 0.0275]
    some += [0.0116, 0.0002, 0.0204, -0.028, 0.0297, 0.0257]
    cells = table(seeds=12, counts=(100,))
    ours, theirs = cells.method == "ssgan", cells.method == "supervised"
    cells.loc[theirs, "error"] = 0.2
    cells.loc[ours, "error"] = 0.2 - np.array(some)
    (one,) = report.answer(cells, "supervised", report.About("digits")).comparisons
    assert one.verdict == "helps"
    assert 0 < one.low < 0.0005
    assert words.difference(one) == "1.51 points [0.04, 2.44]"


def test_an_error_keeps_its_digits_however_wide_its_interval_is():
    assert words.interval(0.0048, 0.0041, 0.31) == "0.48 % [0.41, 31.00]"
    assert words.interval(0.035, 0.028, 0.25) == "3.5 % [2.8, 25.0]"
    nan = float("nan")
    spanned = words.over_seeds(0.0048, nan, nan, [0.0041, 0.0048, 0.31])
    assert spanned == "0.48 % (3 seeds: 0.41 to 31.00)"


def test_what_is_not_0_is_not_shown_as_0():
    assert words.interval(0.25, 0.004, 0.31) == "25 % [0.4, 31]"
    assert words.interval(0.003, 0.00004, 0.009) == "0.30 % [0.004, 0.90]"
    assert [words.percent(share) for share in (0.00004, 1e-7, 0.0)] == [
        "0.004 %",
        "0.00001 %",
        "0.00 %",
    ]
    one = Comparison("ssgan", 100, np.zeros(6), 3e-5, 1e-5, 6e-5, 0.01, 0.01, "helps", None)
    assert words.difference(one) == "0.003 points [0.001, 0.01]"
    assert words.difference(replace(one, low=0.0)) == "0.003 points [0.00, 0.01]"
