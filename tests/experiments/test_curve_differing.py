"""What is told of runs that anybody has trained, where they are compared as a curve."""

import pytest

from experiments.curve import collect
from pipeline.tracking import Found


def run(method, seed, split, n_labels=100, **params):
    params = {"method": method, "seed": str(seed), "split_seed": str(split), **params}
    metrics = {"n_labels": n_labels, "test/error": 0.1}
    return Found(f"{method}{seed}{n_labels}", "n", "FINISHED", 0, 1, "1", {}, params, metrics)


@pytest.mark.parametrize("of_file", [{}, {"split_file": "mine.parquet"}])
def test_seeds_that_all_had_the_same_labels_are_a_doubt(of_file):
    runs = [
        run(method, seed, seed if of_file else 0, n_labels, **of_file)
        for method in ("supervised", "ssgan")
        for seed in range(10)
        for n_labels in (100, 200)
    ]
    (said,) = collect.differing(runs)
    assert said.startswith("The labels were drawn once for 10 seeds (4 of 4 pairs of")


def test_the_count_with_the_fewest_draws_is_the_one_that_is_told():
    runs = [run("ssgan", seed, seed % k, n) for n, k in ((50, 10), (100, 5)) for seed in range(10)]
    runs += [run("supervised_all", seed, 0, 1437) for seed in range(10)]
    (said,) = collect.differing(runs)
    assert said.startswith("The labels were drawn 5 times for 10 seeds (1 of 2 pairs of")


def test_each_seed_with_labels_of_its_own_is_no_doubt():
    for splits in (range(10), [7] * 10):
        seeds = range(10) if splits == range(10) else [3] * 10  # one training, looked at again
        pairs = zip(seeds, splits, strict=True)
        assert collect.differing([run("ssgan", *pair) for pair in pairs]) == []


def test_a_method_beside_a_baseline_on_another_network_is_a_doubt():
    theirs = [run("backbone", seed, seed, backbone="none") for seed in range(3)]
    on = [run("ssgan", seed, seed, backbone="efficientnet_lite0") for seed in range(3)]
    without = [run("supervised", seed, seed) for seed in range(3)]
    (said,) = collect.differing([*on, *without, *theirs])
    assert said.startswith("The methods differ in backbone (efficientnet_lite0, none): ")
    assert collect.differing([*on, *theirs]) == []
    within = collect.differing([*on, run("ssgan", 3, 3, backbone="none")])
    assert within == ["The trainings of ssgan differ in backbone (efficientnet_lite0, none)."]
