"""What fits into a budget of time."""

import pytest

from experiments.curve.counts import fitting

COUNTS = [20, 50, 100, 200, 500]


def fits(left, seeds=10, cell=1.0, counts=COUNTS):
    return fitting(counts, seeds, lambda some, n: cell * len(some) * n, left)


def test_all_of_it_if_there_is_time():
    assert fits(50) == (COUNTS, 10)
    assert fits(1e9) == (COUNTS, 10)


def test_fewer_seeds_first_but_enough_for_a_verdict():
    assert fits(49) == (COUNTS, 9)
    assert fits(30) == (COUNTS, 6)


def test_then_fewer_counts_from_the_smallest_to_the_largest():
    assert fits(29) == ([20, 50, 200, 500], 7)
    assert fits(20) == ([20, 100, 500], 6)
    assert fits(13) == ([20, 500], 6)
    assert fits(6) == ([20], 6)


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
