"""The report on a table of cells: what it says, refuses, weakens."""

import numpy as np
import pandas as pd
import pytest

from experiments.curve import page as page_
from experiments.curve import report, tables, words
from experiments.curve.report import About
from pipeline.errors import UserError
from tests.curve.cells import COUNTS, table
from tests.curve.parsed import Page


def test_the_answer_is_made_of_the_numbers(given):
    said = report.sentences(given)
    cells = table()
    last = cells[cells["n_labels"] == 1000].groupby("method")["error"].mean()
    assert f"supervised errs {100 * last['supervised']:.1f} % [" in said[0]
    assert f"ssgan errs {100 * last['ssgan']:.1f} % [" in said[0]
    assert said[1].startswith("Beside supervised, ssgan helps at 20, 50, 100, 200, 500 and 1,000")
    assert "ssgan saves about" in said[2]
    (found, *_) = given.saves["ssgan"]
    # The method's error is 0.6 times the baseline's: as low at 435 labels as that at 1,000.
    assert found.low - 60 <= 565 <= found.high + 60
    assert said[-1].startswith("ssgan: 1,000 labels give")
    assert "2,000 labels" in said[-1]
    told = report.told(given)
    assert told[0] == report.sentences(given)[0]
    assert any(line.startswith("but: ") for line in told)


def test_what_a_method_saves_at_least_is_said_as_a_bound():
    cells = table(gains={"supervised": 1.0, "ssgan": 0.04})  # 1.24 % with 20 labels
    answer = report.answer(cells, "supervised", About("digits"))
    (said,) = [s for s in report.sentences(answer) if " saves " in s]
    assert "ssgan saves at least " in said
    rows = [row for each in tables.tables(answer) for row in each.rows if "saves" in row[-1]]
    assert rows
    assert all("saves at least" in row[-1] for row in rows)


def test_the_saving_names_the_count_whose_error_it_is_of():
    cells = table()
    cells = cells[(cells["n_labels"] < 1000) | (cells["seed"] < 2)]
    answer = report.answer(cells, "supervised", About("digits"))
    (said,) = [s for s in report.sentences(answer) if " saves " in s]
    assert "of supervised's fitted curve with 500 labels, ssgan saves" in said


def test_images_are_forecast_as_errors_are(given):
    (said,) = [s for s in report.sentences(given) if "read as wanted" in s]
    assert "94 % with 1,000 labels; 95 %: about" in said
    needs = given.quality_needs["samples/read_as_wanted", "ssgan"]
    (one,) = [need for need in needs if need.error == pytest.approx(0.1)]
    assert one.low <= 20 * 3**2.5 <= one.high  # 0.3 · (n / 20)^−0.4 = 0.1
    assert ("samples/read_as_wanted", "supervised") not in given.quality


def test_images_are_not_forecast_beyond_what_real_ones_get():
    measure = "samples/read_as_wanted"
    cells = table()
    free = report.answer(cells, "supervised", About("digits"))
    cells[f"{measure}_real"] = np.where(cells[measure].notna(), 0.93, np.nan)
    answer = report.answer(cells, "supervised", About("digits"))
    goals, beyond = (
        [need.error for need in each.quality_needs[measure, "ssgan"]] for each in (answer, free)
    )
    assert min(beyond) < 0.07 <= min(goals)
    (said,) = [s for s in report.sentences(answer) if "read as wanted" in s]
    assert "94 % with 1,000 labels (real images 93 %)" in said
    assert "| real images | 93 % | – | – |" in report.markdown(answer)


@pytest.mark.parametrize(
    ("change", "baseline", "said"),
    [
        (lambda t: t.drop(columns=["error", "seed"]), "supervised", "no column seed, error"),
        (lambda t: t.assign(error=np.nan), "supervised", "no training has finished yet"),
        (lambda t: t.iloc[:0], "supervised", "no training has finished yet"),
        (lambda t: t.assign(error=t["error"] * 100), "supervised", "shares from 0 to 1"),
        (lambda t: t, "vat", "baseline vat has no finished training; there are ssgan, supervised"),
        (lambda t: t.assign(dataset=["a", "b"] * 60), "supervised", "several data sets (dataset a"),
    ],
)
def test_bad_tables_are_refused_in_one_line(change, baseline, said):
    with pytest.raises(UserError) as told:
        report.answer(change(table()), baseline, About("digits"))
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_goals_of_the_user_are_kept_and_checked():
    answer = report.answer(table(), "supervised", About("digits"), goals=(0.08,))
    assert [need.error for need in answer.needs["ssgan"]] == [0.08]
    (said,) = [s for s in report.sentences(answer) if s.startswith("For an error of 8 %: ")]
    needed = words.labels_needed(answer.needs["ssgan"][0])
    assert f"ssgan: {needed}" in said
    with pytest.raises(UserError, match="between 0 and 1"):
        report.answer(table(), "supervised", About("digits"), goals=(8.0,))


@pytest.mark.parametrize(
    "cells",
    [
        table(seeds=1, counts=(50,)),
        table(seeds=1, counts=(50,), gains={"supervised": 1.0}, samples=False),
        table(seeds=2, counts=(20, 50)),
        table(seeds=7, counts=(20, 50, 100, 200)).sample(30, random_state=0),
    ],
)
def test_little_is_reported_as_little(cells):
    answer = report.answer(cells, "supervised", About("digits"))
    said = " ".join(report.told(answer))
    assert "helps at" not in said
    if len(cells) < 10:
        assert "has no forecast" in said
    assert Page(report.html(answer)).all("img")
    assert "nan" not in said
    assert "nan" not in report.markdown(answer).replace("tenant", "")


def test_all_labels_are_a_ceiling_and_no_rival():
    cells = table(gains={"supervised": 1.0, "ssgan": 0.6, "supervised_all": 0.5})
    cells = cells[(cells["method"] != "supervised_all") | (cells["n_labels"] == 1000)]
    cells.loc[cells["method"] == "supervised_all", "n_labels"] = 50_000
    answer = report.answer(cells, "supervised", About("digits", n_unlabelled=49_000))
    assert answer.ceilings == ("supervised_all",)
    assert {one.method for one in answer.comparisons} == {"ssgan"}
    said = " ".join(report.told(answer))
    assert "supervised_all errs" in said
    assert "with 50,000 (95 %" in said
    assert "supervised_all has no" not in said
    assert "add to supervised?" in report.question(answer)
    assert answer.rounds["ssgan"][0].n_labels == 2000
    Page(report.html(answer))


def test_a_single_method_is_its_own_baseline():
    answer = report.answer(table(gains={"ssgan": 0.6}), "supervised", About("digits"))
    assert answer.baseline == "ssgan"
    assert report.question(answer) == "digits: how far do n labels get me?"


def test_doubts_name_what_is_there():
    cells = table(seeds=4, n_test=100)
    cells.loc[3, "error"] = np.nan
    cells.loc[5, "code"] = "c2"
    doubts = " ".join(report.answer(cells, "supervised", About("digits")).doubts)
    assert "1 training has no error and is left out" in doubts
    assert "1 of 48 pairs" in doubts
    assert "2 versions of the code" in doubts
    assert "No verdict is given below 8 at 6 label counts" in doubts
    assert "100 test images alone leave" in doubts


def test_counts_that_the_forecast_leaves_out_are_told_and_nothing_is_advised_below_them():
    some = table(counts=(20, 50, 100, 144, 500))
    some = some[(some.n_labels < 500) | (some.seed < 2)]
    found = report.answer(some, "supervised", report.About("digits", n_unlabelled=1000))
    lines = report.told(found)
    assert any("The forecast of ssgan leaves out 500 labels" in line for line in lines)
    assert not any(found.rounds.values())
    points = [point for point in found.points if point.method == "ssgan"]
    assert page_._series(0, points, found.curves["ssgan"]).fitted_to == 144


def test_all_labels_are_a_ceiling_at_a_count_that_the_others_have_too():
    gains = {"supervised": 1.0, "supervised_all": 1.0, "ssgan": 0.6}
    some = table(counts=(20, 50, 144), gains=gains)
    some = some[(some.method != "supervised_all") | (some.n_labels == 144)]
    found = report.answer(some, "supervised", report.About("digits"))
    assert found.ceilings == ("supervised_all",)
    assert {one.method for one in found.comparisons} == {"ssgan"}


def of_few_test_images(last):
    """Errors of ssgan counted on 20 test images, those at the largest count given."""
    random, rows = np.random.default_rng(3), []
    for n, share in ((20, 0.45), (50, 0.3), (100, 0.12), (200, None)):
        for seed in range(10):
            wrong = last[seed] if share is None else min(random.poisson(20 * share), 20)
            rows += [("ssgan", n, seed, wrong / 20), ("supervised", n, seed, 0.5)]
    cells = pd.DataFrame(rows, columns=["method", "n_labels", "seed", "error"]).assign(n_test=20)
    return report.answer(cells, "supervised", About("few"))


@pytest.mark.parametrize("last", [[0] * 10, [0, 1, 0, 0, 2, 0, 1, 0, 0, 1], [0] * 9 + [1]])
def test_the_error_that_rounds_start_from_is_the_one_that_was_measured(last):
    answer = of_few_test_images(last)
    curve = answer.curves["ssgan"]
    assert not curve.refusal
    assert curve.centres[-1] == pytest.approx(np.mean(last) / 20)
    measured = answer.point("ssgan", 200).centre
    assert all(one.expected <= measured for one in answer.rounds["ssgan"])
    said = [s for s in report.sentences(answer) if "labels give" in s]
    assert bool(said) == bool(answer.rounds["ssgan"])
    assert all(f"200 labels give {words.percent(measured)};" in s for s in said)


def test_without_a_mistake_at_the_largest_count_nothing_is_to_be_labelled_next():
    assert not of_few_test_images([0] * 10).rounds["ssgan"]


def test_too_few_seeds_have_no_interval_and_are_told_by_what_they_span():
    answer = report.answer(table(seeds=3), "supervised", About("digits"))
    said = report.sentences(answer)[0]
    assert "95 %" not in said
    point = answer.point("ssgan", 1000)
    least, most = (f"{100 * end:.1f}" for end in (min(point.values), max(point.values)))
    assert f"% (3 seeds: {least} to {most})" in said
    assert "too few seeds for an interval (the least are 6)" in report.markdown(answer)


def test_an_interval_of_errors_stays_among_shares():
    cells = table(seeds=6, counts=(100,)).assign(error=[0.0] * 10 + [0.02, 0.0])
    points = report.answer(cells, "ssgan", About("d")).points
    assert [point.low for point in points] == [0, 0]
    assert max(point.high for point in points) > 0


@pytest.mark.parametrize(
    ("counts", "seeds", "said"),
    [
        (
            COUNTS[:5],
            6,
            "6 at a label count at most. No verdict is given below 8 at 5 label counts.",
        ),
        (
            COUNTS[:5],
            8,
            "Only 8 seeds that both methods have, at one label count at least; a claim ",
        ),
        ((100,), 5, "No verdict is given below 6 at 1 label count."),
    ],
)
def test_seeds_that_can_never_give_a_verdict_are_a_doubt(counts, seeds, said):
    answer = report.answer(table(seeds=seeds, counts=counts), "supervised", About("digits"))
    assert said in " ".join(answer.doubts)
    assert ("No verdict" in said) == (not any(one.verdict == "helps" for one in answer.comparisons))


def test_a_forecast_does_not_depend_on_who_else_is_in_the_report():
    two = table(gains={"supervised": 1.0, "ssgan": 0.6}, samples=False)
    third = two[two.method == "ssgan"].assign(method="fixmatch")
    alone, beside = (
        report.answer(cells, "supervised", About("digits"), (0.02,))
        for cells in (two, pd.concat([two, third]))
    )
    assert alone.needs["ssgan"] == beside.needs["ssgan"]
    assert alone.needs["supervised"] == beside.needs["supervised"]


def test_the_figure_says_where_an_error_of_0_stands():
    answer = of_few_test_images([0] * 10)
    assert "0 is drawn at" in page_._detail(answer, [of.values for of in answer.points])
