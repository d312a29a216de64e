"""Fitted label curves: known truths, intervals, refusals, rounds of labelling."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.curve import families, words
from experiments.curve.label_curve import REACH, fitted, replicates
from experiments.curve.labels_needed import needed, saved
from experiments.curve.rounds import rounds
from tests.curve.cells import COUNTS, fall


def curve(truth, counts=COUNTS, seeds=6, noise=0.05, draw=0, change=None):
    random = np.random.default_rng(draw)
    errors = truth(np.array(counts)) * np.exp(noise * random.normal(size=(seeds, len(counts))))
    if change:
        change(errors)
    picks = replicates(seeds, np.random.default_rng(7))
    return fitted(errors, list(counts), picks, 1e-4, random)


def test_every_shape_falls_and_is_finite():
    grid = np.geomspace(20, 4000, 50)
    found = families.shapes(grid, 20.0, 1000.0, 4000.0, np.array([1.02, 2.0, 3.0, 12.0]))
    assert np.isfinite(found.log_h).all()
    assert (np.diff(found.log_h, axis=1) <= 1e-9).all()
    ends = families.shapes(np.array([20.0, 1000.0]), 20.0, 1000.0, 4000.0, np.array([3.0]))
    falls = np.exp(ends.log_h[:, 0] - ends.log_h[:, 1])
    assert np.isclose(falls, 3).mean() > 0.3  # all that have a floor, which makes this fall
    assert falls.max() < 4  # without one, what falls about so far
    assert set(found.family) == set(range(4))


@pytest.mark.parametrize(
    "truth",
    [
        fall,
        lambda n: 0.4 * np.exp(-n / 150) + 0.05,
        lambda n: 0.5 - 0.05 * np.log(n),
        lambda n: 0.4 * (1 - (1 + (n / 60.0) ** -1.2) ** (-1 / 1.2)) + 0.002,
    ],
)
def test_a_known_curve_is_forecast(truth):
    places, held = np.array([20.0, 200, 1000, 1500, 2000]), []
    for draw in range(10):
        found = curve(truth, noise=0.03, draw=draw)
        assert not found.refusal
        middle, low, high = found.at(places)
        assert (low <= middle).all()
        assert (middle <= high).all()
        assert np.allclose(middle[:3], truth(places[:3]), rtol=0.1)
        assert np.allclose(middle[3:], truth(places[3:]), rtol=0.25)
        held.append((low[3:] <= truth(places[3:])) & (truth(places[3:]) <= high[3:]))
    assert np.mean(held) >= 0.7


def test_labels_needed_within_the_data_and_beyond():
    found = curve(fall, noise=0.02)
    inside = needed(found, float(fall(300)))
    assert inside.low <= 300 <= inside.high
    assert 270 < inside.middle < 330
    beyond = needed(found, float(fall(2500)))
    assert beyond.low <= 2500
    assert beyond.high == np.inf  # too far to say where it ends
    assert words.labels_needed(beyond).endswith("no upper end can be told yet")
    words_ = words.labels_needed(needed(found, 0.5))
    assert words_ == "reached with the smallest count, 20 labels"


def test_that_the_smallest_count_is_enough_is_said_only_if_the_interval_ends_there():
    found = curve(
        lambda n: 0.32 * (n / 50) ** -0.5, (50, 100, 200, 400), seeds=3, noise=0.2, draw=4
    )
    unsure = needed(found, float(np.quantile(np.exp(found.draws[:, 0]), 0.6)))
    assert unsure.middle == 50 < unsure.high < np.inf
    upto = words.number(unsure.high)
    assert (
        words.labels_needed(unsure)
        == f"at most about {upto} labels, perhaps with 50 labels already"
    )
    endless = words.labels_needed(replace(unsure, high=np.inf))
    assert endless == "perhaps with 50 labels already; no upper end can be told yet"
    sure = needed(found, 0.9)
    assert words.labels_needed(sure) == "reached with the smallest count, 50 labels"


def test_it_refuses_beyond_four_times_the_largest_count():
    found = curve(fall, noise=0.02)
    told = needed(found, 0.005)  # below the floor: never
    assert told.middle == np.inf
    assert f"beyond {REACH:g} times the largest count (1,000 labels)" in told.refusal
    assert np.isnan(found.at(np.array([4500.0]))).all()


@pytest.mark.parametrize(
    ("truth", "counts", "seeds", "said"),
    [
        (lambda n: 0.3 + 0 * n, COUNTS, 6, "does not clearly fall"),
        (lambda n: 0 * n, (20, 50, 100, 200, 500), 6, "does not clearly fall"),
        (lambda n: 0.1 * (n / 20.0) ** 0.3, COUNTS, 6, "does not clearly fall"),
        (lambda n: np.where(n > 500, 0.3, fall(n)), COUNTS, 6, "rises from 5.3"),
        (fall, (20, 50, 100), 6, "needs 4 label counts with 3 seeds each, there are 3"),
        (fall, COUNTS, 2, "there are 0"),
        (lambda n: np.where(n > 100, 0.02, 0.4) - n * 1e-6, COUNTS, 6, "no family"),
    ],
)
def test_it_refuses_in_words(truth, counts, seeds, said):
    found = curve(truth, counts, seeds, noise=0.01)
    assert said in found.refusal
    assert said in needed(found, 0.05).refusal
    assert not rounds(found, 10_000)


def test_missing_cells_and_zero_errors_are_taken():
    def change(errors):
        errors[0, 3] = errors[2, 5] = np.nan
        errors[1, 5] = 0

    found = curve(fall, change=change)
    assert not found.refusal
    assert np.isfinite(found.draws).all()
    assert np.diff(found.draws, axis=1).max() <= 1e-9


def test_the_same_cells_give_the_same_answer():
    one, other = curve(fall), curve(fall)
    assert np.array_equal(one.draws, other.draws)


def test_labels_saved_are_paired_and_have_a_sign():
    baseline, better = curve(fall), curve(lambda n: fall(2 * n), draw=1)
    error = float(fall(800))
    gain, loss = saved(baseline, better, error), saved(better, baseline, error)
    assert gain.low <= 400 <= gain.high  # 800 less 400
    assert 250 < gain.middle < 550
    assert loss.middle == pytest.approx(-gain.middle)
    assert words.labels_saved(gain).startswith("saves about")
    assert words.labels_saved(loss).startswith("costs about")
    assert "beyond 4 times" in saved(baseline, better, 0.001).refusal
    low = curve(lambda n: 0.1 * fall(n), draw=1)  # reaches at once what the other never does
    assert "beyond 4 times" in saved(low, baseline, 0.01).refusal
    same = words.labels_saved(saved(baseline, curve(fall, noise=0.2, draw=2), error))
    assert same.startswith("may cost labels up to ")
    assert " or save up to " in same


EARLY = (100, 150, 200, 300, 400, 600, 800)


@pytest.mark.parametrize(
    ("start", "goal"), [(0.1, 0.15), (0.05, 0.15), (0.05, 0.0574), (0.05, 0.1)]
)
def test_of_a_method_that_begins_below_an_error_only_a_bound_is_saved(start, goal):
    baseline = curve(lambda n: 0.2 * (n / 100) ** -0.6, EARLY, seeds=10, noise=0.03)
    method = curve(lambda n: start * (n / 100) ** -0.5, EARLY, seeds=10, noise=0.03, draw=1)
    truth = 100 * (goal / 0.2) ** (-1 / 0.6) - 100 * (goal / start) ** -2
    gain, loss = saved(baseline, method, goal), saved(method, baseline, goal)
    assert 0 < gain.low <= truth
    assert (gain.high, loss.low) == (np.inf, -np.inf)
    assert np.isnan([gain.middle, loss.middle]).all()
    assert loss.high == -gain.low
    assert words.labels_saved(gain) == f"saves at least {words.number(gain.low)} labels"
    assert words.labels_saved(loss) == f"costs at least {words.number(gain.low)} labels"


def test_of_two_that_begin_below_an_error_nothing_is_said_to_be_saved():
    baseline = curve(lambda n: 0.2 * (n / 100) ** -0.6, EARLY, seeds=10, noise=0.03)
    method = curve(lambda n: 0.1 * (n / 100) ** -0.5, EARLY, seeds=10, noise=0.03, draw=1)
    said = words.labels_saved(saved(baseline, method, 0.3))
    assert said == "not told: both reach it with the smallest count"
    said = words.labels_saved(saved(baseline, method, 0.2))
    assert said == "not told: both may reach it with the smallest count"


def test_a_bound_of_no_labels_is_not_told():
    method = curve(lambda n: 0.1 * (n / 100) ** -0.5, EARLY, seeds=10, noise=0.03, draw=1)
    bare = replace(method, draws=method.draws[:1].repeat(100, axis=0))
    at_first = float(np.exp(bare.draws[0, 0]))  # both reach it at their smallest count, 100 and
    other = replace(bare, draws=bare.draws + 1e-6)  # hardly more than 100 labels
    for pair in ((other, bare), (bare, other)):
        said = words.labels_saved(saved(*pair, at_first))
        assert said == "not told: the bound that is known is 0 labels"


def test_labels_needed_may_be_fewer_than_the_smallest_count():
    found = needed(curve(fall, noise=0.1), float(fall(21)))
    assert found.low == 0
    assert found.low < 21 <= found.high


def test_rounds_double_stop_at_the_goal_and_at_the_images_there_are():
    found = curve(fall, noise=0.02)
    assert [one.n_labels for one in rounds(found, None)] == [2000, 4000]
    assert [one.n_labels for one in rounds(found, 1300)] == [1300]
    assert not rounds(found, 1000)
    odd = rounds(curve(fall, (*COUNTS[:-1], 505), noise=0.02), None)
    assert [one.n_labels for one in odd] == [1000, 2000]  # at most twice as many
    first, *rest = rounds(found, None, goal=float(fall(1500)))
    assert not rest
    assert 1300 < first.n_labels < 1750
    for one in rounds(found, None):
        assert one.low <= one.expected <= one.high
        assert one.low * 0.98 <= fall(one.n_labels) <= one.high * 1.02


@pytest.mark.slow
def test_intervals_hold_hidden_errors_as_often_as_they_say():
    held = []
    for draw in range(40):
        exponent = 0.3 + 0.02 * draw
        found = curve(lambda n, b=exponent: fall(n, b), COUNTS[:-1], noise=0.1, draw=draw)
        if not found.refusal:
            _, low, high = found.at(np.array([1000.0]))[:, 0]
            held.append(low <= fall(1000, exponent) <= high)
    assert len(held) >= 36
    assert np.mean(held) >= 0.8


def test_more_counts_narrow_the_forecast():
    few, many = (
        curve(fall, counts).at(np.array([2000.0]))[:, 0] for counts in ((*COUNTS[:4], 500), COUNTS)
    )
    assert many[2] - many[1] < few[2] - few[1]


def of_twenty_pictures(seeds=10):
    """Errors counted on 20 test images, the last count's mean one picture in ten seeds."""
    random = np.random.default_rng(1)
    errors = random.binomial(20, [0.4, 0.25, 0.12, 0.05], size=(seeds, 4)) / 20
    last = np.zeros((seeds, 1))
    last[3] = 1 / 20
    errors, counts = np.hstack([errors, last]), [20, 50, 100, 200, 400]
    picks = replicates(seeds, np.random.default_rng(0))
    return fitted(errors, counts, picks, 0.5 / 20, np.random.default_rng(0))


def test_a_mean_below_half_a_test_image_is_not_raised_to_it():
    found = of_twenty_pictures()
    assert found.centres[-1] == pytest.approx(0.005)
    assert needed(found, 0.01).middle <= 400


def test_an_error_that_the_test_images_cannot_measure_is_refused():
    assert words.labels_needed(needed(of_twenty_pictures(), 0.002)) == (
        "so few test images cannot measure it"
    )


def test_labels_beyond_all_images_are_told():
    found = needed(curve(fall, noise=0.02), float(fall(1200)), available=1100)
    assert words.labels_needed(found).endswith("; more than the 1,100 images that there are")
