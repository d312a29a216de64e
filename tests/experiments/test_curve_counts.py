"""What fits into a budget of time."""

import pandas as pd
import pytest

from experiments.curve import statistics
from experiments.curve.counts import fitting, on, too_few
from experiments.curve.doubts import found as doubts
from experiments.curve.grid import read
from pipeline import data
from pipeline.errors import UserError

COUNTS = [20, 50, 100, 200, 500]


def fits(left, seeds=10, cell=1.0, counts=COUNTS):
    return fitting(counts, seeds, lambda some, n: cell * len(some) * n, left, least)


def least(some):
    return statistics.least_pairs(len(some))


def test_all_of_it_if_there_is_time():
    assert fits(50) == (COUNTS, 10)
    assert fits(1e9) == (COUNTS, 10)


def test_fewer_seeds_first_but_enough_for_a_verdict():
    assert fits(49) == (COUNTS, 9)
    assert fits(40) == (COUNTS, 8)


def test_then_fewer_counts_from_the_smallest_to_the_largest():
    assert fits(39) == ([20, 50, 200, 500], 9)
    assert fits(31) == ([20, 100, 500], 10)
    assert fits(21) == ([20, 100, 500], 7)
    assert fits(14) == ([20, 500], 7)
    assert fits(6) == ([20], 6)


@pytest.mark.parametrize("left", range(6, 60))
def test_what_is_planned_can_give_a_verdict(left):
    """Seeds that all agree are told apart at every count that was planned."""
    some, seeds = fits(left)
    rows = [
        (method, n, seed, error)
        for method, error in (("supervised", 0.3), ("ssgan", 0.2))
        for n in some
        for seed in range(seeds)
    ]
    cells = pd.DataFrame(rows, columns=["method", "n_labels", "seed", "error"])
    assert {one.verdict for one in statistics.compare(cells, "supervised")} == {statistics.HELPS}
    assert not too_few(seeds, len(some))


def test_fewer_seeds_than_any_verdict_needs_are_told_with_their_number():
    assert too_few(7, 5) == ["fewer than 8 seeds give no verdict at 5 label counts"]
    assert too_few(5, 1) == ["fewer than 6 seeds give no verdict at one label count"]


def test_too_little_for_a_verdict_still_gives_a_curve():
    assert fits(5) == ([20, 100, 500], 1)
    assert fits(2) == ([20, 500], 1)
    assert fits(1) == ([20], 1)
    assert fits(0.5) is None


def test_without_anything_to_compare_counts_are_kept_for_a_forecast():
    def cost(some, seeds):
        return 20.0 * len(some) * seeds

    assert fitting(COUNTS, 10, cost, 500, lambda some: 3) == (COUNTS, 5)


def test_three_seeds_that_are_asked_for_are_enough():
    assert fits(15, seeds=3) == (COUNTS, 3)
    assert fits(12, seeds=3) == ([20, 50, 200, 500], 3)


@pytest.mark.parametrize("left", [0, 3, 7, 11, 23, 31, 64])
def test_what_is_chosen_fits_and_what_is_finished_costs_nothing(left):
    def cost(some, seeds):  # the first two seeds are there
        return float(len(some) * max(0, seeds - 2))

    some, seeds = fitting(COUNTS, 10, cost, left, least)
    assert cost(some, seeds) <= left
    assert seeds >= 2
    assert {some[0], some[-1]} <= {20, 500}


def test_a_split_that_a_later_seed_cannot_make_is_refused_beforehand():
    given = {"dataset": "digits", "label_counts": "30,60", "seeds": "10", "methods": "supervised"}
    drawn = {"valid_frac": "0.2", "stratified": "false"}
    digits = data.load("digits", None)
    with pytest.raises(UserError, match=r"split_seed = 5: valid_frac=0\.2 of 30 labels leaves"):
        on(read({**given, **drawn}), digits)
    assert on(read({**given, **drawn, "seeds": "5"}), digits)[1] == []
    assert on(read({**given, "label_counts": "60", "valid_frac": "0.2"}), digits)[1] == []


def cells(seeds):
    """Of each method's seeds at 100 labels, ssgan ahead."""
    rows = [
        {"method": method, "n_labels": 100, "seed": seed, "error": error, "n_test": 10_000}
        for method, error in (("supervised", 0.3), ("ssgan", 0.2), ("supervised_all", 0.1))
        for seed in seeds.get(method, ())
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("seeds", "told"),
    [
        ({"supervised": range(12), "ssgan": range(6, 18)}, "Only 6 seeds that both methods have"),
        ({"supervised": range(10), "ssgan": range(10), "supervised_all": [0]}, None),
        ({"ssgan": range(2)}, "Few seeds: 2 at one label count at least; better 10."),
    ],
)
def test_few_seeds_are_told_of_what_the_verdict_rests_on(seeds, told):
    table = cells(seeds)
    compared = table[table["method"] != "supervised_all"]
    verdicts = statistics.compare(compared, "supervised")
    methods = [name for name in seeds if name != "supervised_all"]
    said = [one for one in doubts(table, table, methods, verdicts, {}) if "seeds" in one]
    said = [one for one in said if "pairs of method" not in one]
    assert [told] * bool(told) == [one[: len(told or "")] for one in said]
