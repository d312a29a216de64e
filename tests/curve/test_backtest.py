"""The backtest of label curves: what it counts as held, and what it prints."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import label_curve_backtest as backtest
from tests.curve.cells import COUNTS, fall, table

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def curve():
    random = np.random.default_rng(0)
    errors = fall(COUNTS) * np.exp(0.03 * random.normal(size=(6, len(COUNTS))))
    return backtest.fit(errors, np.array(COUNTS), 10_000, random)


@pytest.mark.parametrize(("change", "held"), [(1, True), (1.6, False), (0.6, False)])
def test_an_interval_holds_the_truth_or_not(curve, change, held):
    known = np.geomspace(20, 4000, 200)
    found = backtest.judged(curve, 2000, float(fall(2000)) * change, known, fall(known))
    assert not found["refused"]
    assert found["held"] == held


def test_labels_needed_are_held_by_the_true_curve_alone(curve):
    known = np.geomspace(20, 4000, 400)
    for errors, least, most in ((fall(known), 0.8, 1), (fall(3 * known), 0, 0.4)):
        labels = backtest.judged(curve, 2000, 0.02, known, errors)["labels"]
        assert len(labels) >= 3
        assert least <= np.mean([held for held, *_ in labels]) <= most


def test_truths_fall_from_where_they_start():
    grid = np.geomspace(20, 4000, 50)
    for kind in backtest.KINDS:
        for seed in range(20):
            values = kind(np.random.default_rng(seed), 20, 1000)(grid)
            assert (values > 0).all()
            assert (np.diff(values) < 0).all()


@pytest.mark.slow
def test_labels_saved_hold_the_truth_with_both_ends_and_with_one():
    told = list(backtest.savings(36, 0))
    for closed in (True, False):
        held = [one for one, both in told if both == closed]
        assert len(held) >= 8
        assert np.mean(held) >= 0.75


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.label_curve_backtest", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command_reads_cells_and_says_when_there_are_too_few(tmp_path):
    file = tmp_path / "cells.csv"
    table(5).to_csv(file, index=False)
    done = command("--cells", str(file), "--cases", "12", "--trials", "1")
    assert done.returncode in (0, 1), done.stderr  # one trial may well be a false verdict
    assert "digits ssgan" in done.stdout
    assert done.stdout.count("too few cases for the bar") == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "no such file"),
        (lambda t: t.drop(columns="error"), "has no column error"),
        (lambda t: t[t["n_labels"] < 500], "no method has 5 label counts"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path, change, said):
    file = tmp_path / "cells.csv"
    if change:
        change(table(3)).to_csv(file, index=False)
    done = command("--cells", str(file), "--cases", "6", "--trials", "1")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
