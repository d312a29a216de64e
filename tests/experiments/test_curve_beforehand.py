"""What weakens a curve's answer is said before anything is trained."""

import pytest

from experiments.curve import beforehand, counts, grid
from pipeline import data


def read(dataset, **flags):
    flags = {"label_counts": "20,50", "seeds": "3", **flags}
    return counts.on(grid.read(flags), dataset)[0]


def test_all_known_labels_are_the_same_for_every_seed():
    digits = data.load("digits", None)
    known = len(digits.train_labels)
    assert not [*beforehand.doubts(read(digits))]
    (said,) = beforehand.doubts(read(digits, label_counts=f"50,{known}"))
    assert said.startswith(f"With {known:,} labels, all that are known, every seed has the same")
    (said,) = beforehand.doubts(read(digits, label_counts="50,1300,1400"))
    assert said.startswith(f"With 1,300 and 1,400 of {known:,} known labels the seeds share most")
    assert not [*beforehand.doubts(read(digits, label_counts=f"50,{known}", seeds="1"))]


@pytest.mark.parametrize("order", ["ssgan,feature_matching", "feature_matching,ssgan"])
def test_a_method_that_differs_from_the_baseline_in_more_than_itself_is_told(order):
    first, second = order.split(",")
    digits = data.load("digits", None)
    (said,) = beforehand.doubts(read(digits, methods=f"supervised,{order}"))
    assert said.startswith(f"supervised is the baseline of {first}. {second} has network ")
    assert "steps" in said
    assert "other views" in said
    assert not [*beforehand.doubts(read(digits, methods=f"supervised,{first}"))]


def test_too_few_counts_for_a_forecast_are_told_with_counts_that_the_labels_allow():
    digits = data.load("digits", None)
    enough = read(digits, label_counts="20,50,100,200")
    assert beforehand.without_forecast(enough, enough.counts, 10) == []
    assert beforehand.without_forecast(enough, enough.counts, 2) == [
        "fewer than 3 seeds give no forecast"
    ]
    few = "fewer than 4 label counts give no forecast"
    assert beforehand.without_forecast(enough, [20, 200], 10) == [few]
    cut = read(digits, label_counts=f"20,{len(digits.train_labels)}")
    (said,) = beforehand.without_forecast(cut, cut.counts, 10)
    assert said == f"{few}: perhaps --label_counts 10,33,107,351,1150"
