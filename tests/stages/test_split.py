"""The split is stratified, nested, seeded apart and paid for; the audit catches a leak."""

import itertools
import re

import numpy as np
import pytest

from pipeline.data import LabelDoor
from pipeline.errors import RunFailure, UserError
from pipeline.stages.manifest import Split
from pipeline.stages.split import audit, split

DEFAULTS = {"label_frac": 0.1, "labels_per_class": None, "valid_frac": 0.0, "split_seed": 0}
SIZES = (400, 130, 130, 60, 7)
N_TEST = 9


def make_labels(sizes=SIZES, n_unknown=0):
    labels = np.repeat(np.arange(-1, len(sizes)), (n_unknown, *sizes))
    return np.random.default_rng(1).permutation(labels)


LABELS = make_labels()
N, K = len(LABELS), len(SIZES)


def run(labels=LABELS, **changes):
    return split(labels, N_TEST, **DEFAULTS | changes)


def assert_equal(one, other):
    for part in ("labelled", "unlabelled", "valid", "test"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


# ---------------------------------------------------------------- the rule


@pytest.mark.parametrize("valid_frac", [0.0, 0.3])
@pytest.mark.parametrize("frac", [0.05, 0.1, 0.5, 1.0])
def test_parts_are_sorted_disjoint_and_complete(frac, valid_frac):
    result = run(label_frac=frac, valid_frac=valid_frac)
    parts = (result.labelled, result.valid, result.unlabelled)
    for indices in (*parts, result.test):
        assert indices.dtype == np.int64
        assert (np.diff(indices) > 0).all()
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(N))
    np.testing.assert_array_equal(result.test, np.arange(N_TEST))
    assert result.n_labels == round(frac * N)
    np.testing.assert_array_equal(result.pool, np.setdiff1d(np.arange(N), result.valid))


@pytest.mark.parametrize("n", [K, 10, 20, 50, 100, 363, 700, N])
def test_every_class_has_its_share(n):
    counts = np.bincount(LABELS[run(label_frac=n / N).labelled], minlength=K)
    assert counts.sum() == n
    assert counts.min() >= 1
    # Rounding, and the first label of each class that comes before its turn, displace at most K/2.
    assert np.abs(counts - n * np.array(SIZES) / N).max() <= K / 2


def test_valid_labels_are_the_same_for_every_label_count():
    results = [run(label_frac=n / N, valid_labels=30) for n in (20, 60, 100)]
    for result, n in zip(results, (20, 60, 100), strict=True):
        assert np.array_equal(result.valid, results[0].valid)
        assert (len(result.labelled), result.n_labels) == (n, n + 30)
        assert not np.isin(result.valid, result.pool).any()
    counts = np.bincount(LABELS[results[0].valid], minlength=LABELS.max() + 1) / 30
    assert np.abs(counts - np.bincount(LABELS[LABELS >= 0]) / (LABELS >= 0).sum()).max() < 0.1


@pytest.mark.parametrize("valid_frac", [0.0, 0.2, 0.5, 0.9])
def test_smaller_sets_lie_inside_larger_ones(valid_frac):
    results = [run(label_frac=n / N, valid_frac=valid_frac) for n in range(40, N + 1, 23)]
    for small, large in itertools.pairwise(results):
        assert set(small.labelled) <= set(large.labelled)
        assert set(small.valid) <= set(large.valid)
    for result in results:
        assert set(LABELS[result.labelled]) == set(range(K))


def test_fractions_and_counts_per_class_share_one_order():
    labels = make_labels((90, 90, 90))
    by_count, by_frac = run(labels, labels_per_class=9), run(labels, label_frac=0.1)
    assert_equal(by_count, by_frac)
    assert np.bincount(labels[by_count.labelled]).tolist() == [9, 9, 9]


def test_seed_decides_and_decides_alone():
    assert_equal(run(split_seed=3), run(split_seed=3))
    shared = set(run(split_seed=3).labelled) & set(run(split_seed=4).labelled)
    assert len(shared) < 40  # of 73
    # The odd label beyond the classes' equal shares goes to no favourite class.
    labels = make_labels((50, 50, 50))
    odd = {
        int(np.bincount(labels[run(labels, label_frac=4 / 150, split_seed=s).labelled]).argmax())
        for s in range(20)
    }
    assert odd == {0, 1, 2}


def test_validation_is_paid_from_the_labels_of_each_class():
    labels = make_labels((100, 100))
    result = run(labels, label_frac=1.0, valid_frac=0.29)
    assert np.bincount(labels[result.valid]).tolist() == [29, 29]  # 100 * 0.29 < 29 in floats
    assert np.bincount(labels[result.labelled]).tolist() == [71, 71]


def test_unknown_labels_stay_unlabelled():
    labels = make_labels((30, 30), n_unknown=40)
    result = run(labels, label_frac=0.6)
    assert result.n_labels == 60
    np.testing.assert_array_equal(result.unlabelled, np.flatnonzero(labels == -1))


# ---------------------------------------------------------------- what cannot be met


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label_frac": 0.0}, "label_frac=0.0 is not allowed"),
        ({"label_frac": -0.1}, "label_frac=-0.1 is not allowed"),
        ({"label_frac": 1.5}, "label_frac=1.5 is not allowed"),
        ({"label_frac": float("nan")}, "label_frac=nan is not allowed"),
        ({"label_frac": 0.001}, r"1 label\(s\), but 5 classes need one each"),
        ({"labels_per_class": 0}, "labels_per_class=0 is not allowed"),
        ({"labels_per_class": 8}, "class 4 has only 7 known"),
        ({"valid_frac": 1.0}, "valid_frac=1.0 is not allowed"),
        ({"valid_frac": float("nan")}, "valid_frac=nan is not allowed"),
        ({"valid_frac": 0.001}, "nor would all labels"),
        ({"valid_frac": 0.2, "valid_labels": 9}, "give one of them"),
        ({"label_frac": 0.5, "valid_labels": N}, "for training, which leaves"),
        ({"labels_per_class": 7, "valid_labels": 60}, "are among labels_per_class=7"),
        ({"split_seed": -1}, "split_seed=-1 is not allowed"),
    ],
)
def test_impossible_wishes(changes, words):
    with pytest.raises(UserError, match=words) as error:
        run(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "sizes", [(5, 5), (7, 90, 3), (6000,) * 10, (1,) * 300, (1437,) + (1,) * 9]
)
def test_the_smallest_workable_fraction_works(sizes):
    labels = make_labels(sizes)
    with pytest.raises(UserError) as error:
        run(labels, label_frac=1e-9)
    (hint,) = re.findall(r"label_frac=([0-9.]+) or more", str(error.value))
    assert run(labels, label_frac=float(hint)).n_labels == len(sizes)


@pytest.mark.parametrize("n_unknown", [1, 40, 9999])
def test_the_largest_workable_fraction_works(n_unknown):
    labels = make_labels((30, 30), n_unknown)
    with pytest.raises(UserError, match="only 60 are known") as error:
        run(labels, label_frac=1.0)
    (hint,) = re.findall(r"label_frac=([0-9.]+) or less", str(error.value))
    assert run(labels, label_frac=float(hint)).n_labels == 60


def test_the_labels_that_validation_takes_are_enough_and_needed():
    with pytest.raises(UserError, match="it takes 10 labels of a class") as error:
        run(label_frac=0.01, valid_frac=0.1)
    ((needed, hint),) = re.findall(r"(\d+) in all \(label_frac=([0-9.]+)\)", str(error.value))
    assert len(run(label_frac=float(hint), valid_frac=0.1).valid) == 1
    with pytest.raises(UserError, match="it takes"):
        run(label_frac=(int(needed) - 1) / N, valid_frac=0.1)


# ---------------------------------------------------------------- audit


def test_audit_counts_what_training_read_and_catches_a_leak():
    result: Split = run(valid_frac=0.3)
    door, tested = LabelDoor(LABELS, K), LabelDoor(LABELS[:N_TEST], K)
    door.read(np.arange(N), "split")
    tested.read(np.arange(N_TEST), "evaluate")
    assert audit(result, door, tested) == 0
    door.read(result.labelled, "train")
    door.read(result.labelled[:5], "train")
    door.read(result.valid, "train")
    assert audit(result, door, tested) == result.n_labels
    tested.read(np.array([4, 7]), "train")
    with pytest.raises(RunFailure, match=r"2 test label\(s\) \(first: test image 4\)"):
        audit(result, door, tested)
    door.read(result.unlabelled[:1], "train")
    with pytest.raises(RunFailure, match=f"training image {result.unlabelled[0]}"):
        audit(result, door, tested)


def test_without_a_share_every_known_label_is_read_but_a_tenth_if_all_are_known():
    some = LABELS.copy()
    some[::3] = -1
    np.testing.assert_array_equal(run(some, label_frac=None).labelled, np.flatnonzero(some >= 0))
    assert_equal(run(label_frac=None), run(label_frac=0.1))
    few = np.arange(8) % 4
    assert len(run(few, label_frac=None).labelled) == 4  # one of each class at least


# ---------------------------------------------------------------- at random


def test_at_random_each_class_has_one_and_the_others_come_as_they_do():
    few, many = (run(label_frac=n / N, stratified=False) for n in (40, 120))
    assert (few.n_labels, many.n_labels) == (40, 120)
    assert set(few.labelled) < set(many.labelled)
    assert set(LABELS[few.labelled]) == set(range(K))
    assert set(run(label_frac=K / N, stratified=False).labelled) <= set(few.labelled)
    other = run(label_frac=40 / N, stratified=False, split_seed=1)
    assert set(other.labelled) != set(few.labelled)


def test_at_random_the_counts_of_classes_vary_as_draws_do():
    def counts(stratified):
        drawn = [
            run(label_frac=100 / N, split_seed=seed, stratified=stratified).labelled
            for seed in range(200)
        ]
        return np.array([np.bincount(LABELS[each], minlength=K) for each in drawn])

    random, even = counts(False), counts(True)
    assert np.ptp(even, axis=0).max() <= 1
    # One of each class, the others a draw without replacement: a hypergeometric distribution.
    left, drawn = N - K, 100 - K
    share = (np.array(SIZES) - 1) / left
    mean = 1 + drawn * share
    variance = drawn * share * (1 - share) * (left - drawn) / (left - 1)
    error = np.sqrt(variance / len(random))
    assert (np.abs(random.mean(axis=0) - mean) < 4 * error).all()
    assert np.allclose(random.var(axis=0), variance, rtol=0.4)


def test_at_random_validation_is_paid_from_the_labels_too():
    drawn = run(label_frac=100 / N, stratified=False, valid_frac=0.25)
    assert drawn.n_labels == 100
    assert 15 <= len(drawn.valid) <= 25
