"""What fits into a budget of time."""

import pandas as pd
import pytest

from experiments.curve import statistics
from experiments.curve.counts import fitting, too_few

COUNTS = [20, 50, 100, 200, 500]


def fits(left, seeds=10, cell=1.0, counts=COUNTS):
    return fitting(counts, seeds, lambda some, n: cell * len(some) * n, left)


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


def test_three_seeds_that_are_asked_for_are_enough():
    assert fits(15, seeds=3) == (COUNTS, 3)
    assert fits(12, seeds=3) == ([20, 50, 200, 500], 3)


@pytest.mark.parametrize("left", [0, 3, 7, 11, 23, 31, 64])
def test_what_is_chosen_fits_and_what_is_finished_costs_nothing(left):
    def cost(some, seeds):  # the first two seeds are there
        return float(len(some) * max(0, seeds - 2))

    some, seeds = fitting(COUNTS, 10, cost, left)
    assert cost(some, seeds) <= left
    assert seeds >= 2
    assert {some[0], some[-1]} <= {20, 500}
