"""Verdicts on pairs of trainings: known answers, scipy's own tests, and simulated truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.curve import statistics, words
from experiments.curve.statistics import CANNOT_TELL, HELPS, HURTS
from tests.curve.cells import table


def random(seed=0):
    return np.random.default_rng(seed)


def test_pairs_are_matched_by_seed_and_lone_cells_left_out():
    cells = pd.DataFrame(
        [("a", 2, 0.5), ("a", 0, 0.3), ("b", 0, 0.1), ("b", 2, 0.4), ("b", 7, 0.9)],
        columns=["method", "seed", "error"],
    )
    assert statistics.paired(cells, "a", "b") == pytest.approx([0.2, 0.1])


def test_the_sign_flip_test_is_exact():
    assert statistics.sign_flip(np.full(6, 0.01), 100) == 2 / 64
    assert statistics.sign_flip(np.array([3.0, 1.0, -2.0]), 100) == 6 / 8  # sums of 2 or more
    assert statistics.sign_flip(np.zeros(8), 100) == 1
    values = random().normal(0.4, 1, 9)
    assert statistics.sign_flip(values, 20) == pytest.approx(
        stats.wilcoxon(values, method="exact").pvalue
    )


def test_a_seed_gone_astray_does_not_decide_below_fifty_labels():
    differences = np.array([0.02, 0.03, 0.01, 0.025, 0.015, 0.035, 0.02, 0.03, 0.01, -0.9])
    assert statistics.centre(differences, 20) == pytest.approx(0.02)
    assert statistics.sign_flip(differences, 20) < 0.1 < statistics.sign_flip(differences, 100)
    low, high = statistics.interval(differences, 20)
    assert 0 < low < 0.02 < high < 0.04


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.6, 0.9]) == [1, 1]
    assert statistics.holm([]) == []


def test_intervals_of_degenerate_differences():
    assert statistics.interval(np.full(6, 0.1), 100) == (0.1, 0.1)
    assert statistics.interval(np.array([0.1, 0, 0, 0, 0, 0, 0]), 20) == (0, 0.1)


@pytest.mark.parametrize("n_labels", [20, 100])
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_too_few_values_have_no_interval(n, n_labels):
    assert np.isnan(statistics.interval(np.linspace(0.1, 0.2, n), n_labels)).all()


@pytest.mark.parametrize("n", [6, 10, 12])
@pytest.mark.parametrize("n_labels", [20, 100])
@pytest.mark.parametrize(
    ("drawn", "mean", "median"),
    [
        (lambda draw, n: draw.normal(1, 1, n), 1.0, 1.0),
        (lambda draw, n: draw.gamma(4, 1, n), 4.0, stats.gamma.median(4)),
    ],
)
def test_intervals_cover_a_mean_and_a_median_of_few_values(drawn, mean, median, n_labels, n):
    truth, held = median if n_labels < 50 else mean, 0
    for seed in range(1000):
        low, high = statistics.interval(drawn(random(seed), n), n_labels)
        held += low <= truth <= high
    assert 0.93 <= held / 1000 <= 0.99


@pytest.mark.parametrize("pairs", [2, 5])
def test_fewer_than_six_pairs_give_no_verdict(pairs):
    cells = table(seeds=pairs, gains={"supervised": 1.0, "ssgan": 0.2}, noise=0.001)
    found = statistics.compare(cells, "supervised")
    assert {one.verdict for one in found} == {CANNOT_TELL}
    assert all(one.more is not None and one.more >= 6 - pairs for one in found)
    said = words.verdicts("ssgan", "supervised", found)
    assert f"too few seeds for a verdict at any count ({pairs}, the least are 8" in said


def test_a_large_difference_helps_or_hurts_at_every_count():
    cells = table(gains={"supervised": 1.0, "ssgan": 0.6, "vat": 1.5})
    found = statistics.compare(cells, "supervised")
    assert {one.verdict for one in found if one.method == "ssgan"} == {HELPS}
    assert {one.verdict for one in found if one.method == "vat"} == {HURTS}
    best = next(one for one in found if (one.method, one.n_labels) == ("ssgan", 50))
    said = words.verdicts("ssgan", "supervised", [one for one in found if one.method == "ssgan"])
    assert said.startswith("Beside supervised, ssgan helps at 20, 50, 100, 200, 500 and 1,000")
    assert best.low < best.centre < best.high
    assert best.more is None


def test_without_a_difference_verdicts_are_rare_and_with_one_of_two_sd_frequent():
    false = found = 0
    for seed in range(60):
        draw = random(seed)
        for shift in (0.0, 2.0):
            rows = [
                (method, n, s, 0.3 + 0.01 * (draw.normal() / np.sqrt(2) - better * shift))
                for method, better in (("supervised", 0), ("ssgan", 1))
                for n in (20, 50, 100, 500)
                for s in range(10)
            ]
            cells = pd.DataFrame(rows, columns=["method", "n_labels", "seed", "error"])
            told = [one.verdict for one in statistics.compare(cells, "supervised")]
            if shift:
                found += told.count(HELPS)
            else:
                false += any(word != CANNOT_TELL for word in told)
    assert false <= 6  # 5 % of 60 are 3
    assert found >= 0.9 * 60 * 4


def test_the_seeds_it_asks_for_are_about_right():
    """With as many pairs as it names, the t-test finds the difference four times out of five."""
    differences = random(1).normal(0.6, 1, 10)
    wanted = statistics.pairs_needed(differences, 100, 4)
    size = differences.mean() / differences.std(ddof=1)
    draws = random(2).normal(size, 1, (3000, wanted))
    share = (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05 / 4).mean()
    assert 0.77 <= share <= 0.87
    assert statistics.pairs_needed(np.array([1.0, -1.0] * 5), 100, 4) is None


def test_below_fifty_labels_a_seed_gone_astray_does_not_decide_how_many_more_are_needed():
    differences = np.append(0.05 + 0.001 * np.arange(9), -0.9)
    doubled = np.concatenate([differences, differences])
    assert statistics.sign_flip(doubled, 20) < 0.05  # so ten more may well be enough
    wanted = statistics.pairs_needed(differences, 20, 1)
    assert wanted is not None
    assert 10 < wanted <= 40
    cells = pd.DataFrame(
        [("supervised", 20, s, 0.3) for s in range(10)]
        + [("ssgan", 20, s, 0.3 - d / 2) for s, d in enumerate(differences)],
        columns=["method", "n_labels", "seed", "error"],
    )
    (one,) = statistics.compare(cells, "supervised")
    assert words.verdict(one) == f"cannot tell, needs about {wanted - 10} more seeds"


def test_that_more_seeds_would_not_tell_is_said_of_the_difference_seen_with_its_interval():
    shifts = np.array([1.0, -1.0] * 5) + 1e-3
    cells = pd.DataFrame(
        [("supervised", 100, s, 0.3) for s in range(10)]
        + [("ssgan", 100, s, 0.3 - d / 20) for s, d in enumerate(shifts)],
        columns=["method", "n_labels", "seed", "error"],
    )
    (one,) = statistics.compare(cells, "supervised")
    assert one.more is None
    as_seen = "if the difference is as seen, not with 100 more seeds either"
    assert words.verdict(one) == f"cannot tell; {as_seen}"
    said = words.verdicts("ssgan", "supervised", [one])
    assert f"(at 100 labels {words.difference(one)}; {as_seen})" in said
    assert "small" not in said


def compared(differences, n_labels, counts=1):
    """The comparison at a count of `counts`, which differ in nothing but this."""
    cells = pd.DataFrame(
        [
            ("supervised" if first else "ssgan", n_labels + i, seed, 0.5 - (0 if first else d))
            for i in range(counts)
            for seed, d in enumerate(differences)
            for first in (True, False)
        ],
        columns=["method", "n_labels", "seed", "error"],
    )
    return statistics.compare(cells, "supervised")[0]


@pytest.mark.parametrize("n_labels", [20, 100])
@pytest.mark.parametrize("pairs", [1, 3, 10])
def test_where_no_difference_was_seen_no_number_of_seeds_is_asked_for(pairs, n_labels):
    one = compared([0.0] * pairs, n_labels)
    assert words.verdict(one) == "cannot tell; no difference seen"
    if pairs >= 6:
        said = words.verdicts("ssgan", "supervised", [one])
        assert said.endswith(
            "(at " + f"{n_labels} labels 0.00 points [0.00, 0.00]; no difference seen)."
        )


@pytest.mark.parametrize(("none", "some"), [(5, 6), (10, 12)])
def test_a_difference_whose_interval_reaches_0_asks_for_no_seeds(none, some):
    one = compared([0.0] * none + [0.05] * some, 20)
    assert one.adjusted <= 0.05
    assert (one.low, one.verdict, one.more) == (0, CANNOT_TELL, None)
    reaches = "the test finds a difference, but its interval reaches 0"
    assert words.verdict(one) == f"cannot tell; {reaches}"
    assert reaches in words.verdicts("ssgan", "supervised", [one])


def test_seeds_without_a_difference_are_not_counted_on():
    """Of 11 pairs 6 differ; at two counts 7 that do are the least: 13 pairs."""
    one = compared([0.0] * 5 + [0.05] * 6, 100, counts=2)
    assert one.adjusted > 0.05
    assert words.verdict(one) == "cannot tell, needs about 2 more seeds"


@pytest.mark.parametrize(("counts", "more"), [(1, 5), (5, 7)])
def test_a_single_seed_asks_for_as_many_as_any_verdict_takes(counts, more):
    assert compared([0.1], 100, counts).more == more


def test_verdicts_never_ask_for_fewer_pairs_than_the_test_can_use():
    wanted = statistics.pairs_needed(np.array([0.1, 0.1 + 1e-6, 0.1]), 100, 5)
    assert 2 / 2**wanted <= 0.05 / 5 < 2 / 2 ** (wanted - 1)


def test_a_count_without_pairs_is_left_out():
    cells = table(seeds=6)
    cells = cells[~((cells["method"] == "ssgan") & (cells["n_labels"] == 100))]
    assert 100 not in {one.n_labels for one in statistics.compare(cells, "supervised")}


def test_equal_differences_tie_whatever_the_errors_they_are_of():
    theirs = np.array([11, 12, 21, 33, 33, 43, 32, 19, 18])
    ours = theirs - [2, 3, 4, 1, 3, 3, 2, -1, -2]
    found = []
    for images in (360, 256):  # of the second, every error is a number of the machine
        errors = np.concatenate([theirs, ours]) / images
        cells = pd.DataFrame(
            {
                "method": ["supervised"] * 9 + ["ssgan"] * 9,
                "n_labels": 20,
                "seed": [*range(9)] * 2,
                "error": errors,
            }
        )
        (one,) = statistics.compare(cells, "supervised")
        found.append(
            (
                one.verdict,
                round(one.p_value, 9),
                *np.round(np.multiply(images, (one.low, one.high)), 6),
            )
        )
    assert found[0] == found[1]


def test_one_image_in_every_seed_asks_for_two_more_seeds():
    rows = [
        (method, n, seed, (20 + seed + (method == "supervised")) / 360)
        for method in ("supervised", "ssgan")
        for n in (50, 60, 70, 80, 90)
        for seed in range(6)
    ]
    cells = pd.DataFrame(rows, columns=["method", "n_labels", "seed", "error"])
    for one in statistics.compare(cells, "supervised"):
        assert (one.verdict, one.more) == ("cannot tell", 2)


@pytest.mark.parametrize("n_test", [100, 120, 180])
def test_equal_sums_tie_whatever_the_number_of_test_images(n_test):
    """In whole pictures: [0, 3, 4, -1, 1, 0, -1, 1, 1, 2], of which 52 of 1,024 sums are as far."""
    supervised = np.array([7, 8, 6, 6, 8, 7, 6, 8, 8, 7])
    ssgan = np.array([7, 5, 2, 7, 4, 5, 7, 7, 7, 5])
    pictures = supervised - ssgan
    signs = 1 - 2 * (np.arange(1024)[:, None] >> np.arange(10) & 1)
    exact = (np.abs(signs @ pictures) >= abs(pictures.sum())).mean()
    cells = pd.DataFrame(
        [("a", s, wrong / n_test) for s, wrong in enumerate(supervised)]
        + [("b", s, wrong / n_test) for s, wrong in enumerate(ssgan)],
        columns=["method", "seed", "error"],
    )
    assert statistics.sign_flip(statistics.paired(cells, "a", "b"), 100) == pytest.approx(exact)


def test_below_fifty_labels_the_seeds_it_asks_for_give_a_verdict():
    """Both that a verdict needs, a small p and an interval beside 0, in four cases of five."""
    draws, seen = random(5), random(4).normal(0.9, 1, 10) / 100
    wanted = statistics.pairs_needed(seen, 20, 1)
    given = [draws.choice(seen, wanted) for _ in range(120)]
    told = [
        statistics.sign_flip(each, 20) <= 0.05 and statistics.interval(each, 20)[0] > 0
        for each in given
    ]
    assert np.mean(told) >= 0.7


def test_three_seeds_say_only_how_many_are_the_least():
    one = compared([0.1, 0.2, 0.1], 100)
    assert words.verdict(one) == "cannot tell, needs at least 3 more seeds"
