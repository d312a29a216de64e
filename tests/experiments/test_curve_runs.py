"""The report on runs as a store has them: what counts, what is left out, what is told."""

import pandas as pd
import pytest

from experiments.curve import collect, conduct, grid, work
from pipeline import tracking
from pipeline.errors import UserError
from tests.experiments.curves import asked, begin, fail, finish, given, remember, report


def test_trainings_that_failed_are_told_on_the_terminal_and_in_the_note(client, digits):
    wanted = asked(digits, methods="supervised,ssgan,vat")
    for cell in wanted.cells():
        if cell.method == "vat" or (cell.method, cell.n_labels, cell.seed) == ("ssgan", 50, 1):
            fail(client, cell)
        else:
            finish(client, cell.method, cell.n_labels, cell.seed, cell.digest)
    lines, note = given(wanted, digits)
    said = [
        "but: vat has no result: 4 of its 4 trainings failed.",
        "but: 1 of 4 trainings of ssgan failed; its errors are of those that did not.",
        "note: no result of ssgan, 50 labels, seed 1: the loss was not finite",
    ]
    for line in said:
        assert line in lines
        assert line in note
    assert not any("of supervised failed" in line for line in lines)


def test_a_curve_of_which_every_label_alone_has_a_result_is_reported(client, digits):
    wanted = asked(digits, methods="supervised,supervised_all")
    for cell in wanted.cells():
        if cell.method == "supervised":
            fail(client, cell)
        else:
            finish(client, cell.method, cell.n_labels, cell.seed, cell.digest)
    lines, _ = given(wanted, digits)
    assert "supervised_all errs" in lines[0]
    assert "but: supervised has no result: 4 of its 4 trainings failed." in lines


SETTINGS = {"steps": 40, "label_frac": 0.1, "split_seed": 0}


def test_settings_that_differ_among_the_runs_of_a_report_are_told(client):
    for seed in range(2):
        for n_labels in (20, 50):
            own = {**SETTINGS, "label_frac": n_labels / 1437, "split_seed": seed}
            batch = {"batch_size": 64} if n_labels > 20 else {}  # of a baseline's many labels
            drawn = {"steps": 66, "valid_frac": 0.1}  # other methods have other lengths
            finish(client, "supervised", n_labels, seed, params={**own, **batch, "threads": seed})
            finish(client, "vat", n_labels, seed, params={**own, **drawn})
            shift = {"augment_shift": 3} if seed else {}
            more = {"steps": n_labels, "valid_frac": 0.1, **shift}
            finish(client, "ssgan", n_labels, seed, params={**own, **more})
    doubts = [line for line in report(experiment="ssgan/c").lines if "differ in" in line]
    assert doubts == [
        "but: The trainings of ssgan differ in augment_shift (3, its default).",
        "but: The trainings of ssgan differ in steps (20, 50).",
        "but: The trainings differ in valid_frac (0.1, its default).",
    ]


def test_shares_of_a_step_that_the_number_of_labels_decides_are_no_difference(client):
    for n_labels, weight in ((20, 1.0), (50, 0.25)):  # `config.step_images`
        own = {"batch_size": n_labels, "consistency_weight": weight}
        finish(client, "ssgan", n_labels, params={**SETTINGS, **own})
    assert not [line for line in report(experiment="ssgan/c").lines if "differ in" in line]


@pytest.mark.parametrize("first", [0, 5])
@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({"labels_per_class": 2}, "label_frac, labels_per_class"),
        ({"split_file": "a.parquet"}, "label_frac, split_file a.parquet"),
    ],
)
def test_trainings_that_are_compared_on_other_labels_are_a_doubt(client, rule, named, first):
    for n_labels in (20, 50):
        finish(client, "supervised", n_labels, params=SETTINGS)
    finish(client, "ssgan", 20, params={**SETTINGS, **rule}, first=first)
    finish(client, "ssgan", 50, params=SETTINGS)
    said = (
        "but: At 1 of 2 pairs of label count and seeds not all trainings had the same labels "
        f"({named}); they are compared seed by seed all the same."
    )
    lines = report(experiment="ssgan/c").lines
    assert [line for line in lines if "the same labels" in line] == [said] * bool(first)


def test_a_split_file_for_each_seed_that_all_methods_share_is_no_doubt(client):
    for seed in range(2):
        own = {"split_file": f"{seed}.parquet", "split_seed": seed}
        for method in ("supervised", "ssgan"):
            finish(client, method, 20, seed, params=own, first=seed)
    assert not [line for line in report(experiment="ssgan/c").lines if "same labels" in line]


@pytest.mark.parametrize("there", [("supervised", "ssgan"), ("ssgan", "sgan"), ("ssgan",)])
def test_the_report_on_a_curve_whose_baseline_has_no_result_falls_back_as_the_curve_does(
    client, digits, there
):
    wanted = asked(digits, methods="vat,supervised,ssgan,sgan", against="vat")
    for cell in wanted.cells():
        if cell.method in there:
            finish(client, cell.method, cell.n_labels, cell.seed, cell.digest)
    with tracking.closed(tracking.curve_run("ssgan/c", "c")) as run:
        remember(run, wanted, wanted.cells())
    base = "supervised" if "supervised" in there else sorted(there)[0]
    doubt = f"but: All is compared with {base}, as vat has no result."
    assert doubt in report(curve="c").lines
    if len(there) > 1:
        with pytest.raises(UserError, match="against = 'vat': none of the runs"):
            report(curve="c", against="vat")
    assert not [line for line in report(curve="c", against="ssgan").lines if "as vat" in line]


def test_the_report_on_a_curve_is_of_its_last_commands_trainings(client, digits):
    earlier = asked(digits, methods="supervised,ssgan", steps="40")
    last = asked(digits, methods="supervised,ssgan", steps="66", against="ssgan")
    before, now = earlier.cells(), last.cells()
    for cell in (*before, *now[:-1]):
        params = {"steps": cell.config.steps}
        finish(client, cell.method, cell.n_labels, cell.seed, cell.digest, params)
    for grid_of, wanted, left in ((earlier, before, 7), (last, now, 8)):
        with tracking.closed(tracking.curve_run("ssgan/c", "c")) as run:
            remember(run, grid_of, wanted)
        found = report(curve="c")
        assert len(pd.read_csv(found.files / "cells.csv")) == 15 - left
        assert f"note: {left} trainings are of earlier commands with other settings" in (
            found.lines
        )
        assert not any("differ in" in line or "repeated" in line for line in found.lines)
    # Of the last one a training lacks, and it compares with ssgan: the report knows both.
    lacking = "1 of 8 trainings have no result that is reported here: "
    assert f"note: {lacking}{now[-1]}" in found.lines
    assert "add to ssgan" in found.page.read_text()
    page = found.page.read_text()
    part = report(curve="c", filter="metrics.n_labels < 50")
    assert part.page != found.page
    assert found.page.read_text() == page
    with tracking.closed(tracking.curve_run("ssgan/c", "c")) as run:
        remember(run, last, now[-1:])
    with pytest.raises(UserError, match="none of the 15 finished trainings is one of the curve's"):
        report(curve="c")


def test_every_label_there_is_leaves_others_their_unlabelled_images(client, tmp_path):
    for seed in range(3):
        for n_labels in (20, 50, 100, 200):
            finish(client, "supervised", n_labels, seed)
        finish(client, "supervised_all", 1437, seed)
    found = report(experiment="ssgan/c")
    assert "images without a label: 1,237" in (found.files / "report.md").read_text()
    assert any("expected with 400 labels" in line for line in found.lines)
    with pytest.raises(UserError, match=r"^against = 'supervised_all' .*: it has every label"):
        report(experiment="ssgan/c", against="supervised_all")


def test_without_a_result_of_the_baseline_the_others_are_reported(client, digits):
    wanted = asked(digits, methods="vat,supervised,ssgan", against="vat")
    for cell in wanted.cells():
        if cell.method == "vat":
            fail(client, cell)
        else:
            finish(client, cell.method, cell.n_labels, cell.seed, cell.digest)
    lines, _ = given(wanted, digits)
    assert "but: All is compared with supervised, as vat has no result." in lines


def test_trainings_that_another_baseline_leaves_behind_are_told(client, digits):
    def said(**flags):
        now = work.state(tracking.cells("ssgan/c", "c"), "now")
        wanted = asked(digits, **flags)
        return conduct.left_behind(wanted, wanted.cells(), now)

    theirs = "supervised,supervised_all,label_spreading"
    for cell in asked(digits, methods=theirs).cells():
        finish(client, cell.method, cell.n_labels, cell.seed, cell.digest)
    assert said(methods=theirs) == []
    words = "supervised is now the baseline of {}: 6 finished trainings do not count"
    assert said(methods=f"{theirs},ssgan") == [words.format("ssgan")]
    assert said(methods="supervised,label_spreading,vat,ssgan") == [words.format("vat")]
    assert said(methods=theirs, steps="77") == []  # not for another baseline
    assert said(methods="label_spreading", against="label_spreading") == []


def test_seeds_that_give_no_verdict_are_told_before_anything_is_trained(digits):
    for flags, said in (
        (
            {"label_counts": "20,50,100,200,500", "seeds": "6"},
            ["fewer than 8 seeds give no verdict at 5 label counts"],
        ),
        ({"label_counts": "20,50,100,200,500", "seeds": "8"}, []),
        ({"seeds": "1", "methods": "supervised"}, []),
        ({"seeds": "1", "budget": "1h"}, []),
    ):
        *_, words = conduct._prepared(grid.read(flags))
        assert [each for each in words if "verdict" in each] == said


def test_what_real_images_get_is_read_from_the_runs(client):
    run = begin(client, "ssgan", 20)
    measured = {"read_as_wanted": 0.9, "read_as_wanted_real": 0.97, "coverage_real": 0.8}
    for name, value in {
        "test/error": 0.1,
        **{f"samples/{k}": v for k, v in measured.items()},
    }.items():
        client.log_metric(run, name, value)
    client.set_terminated(run, "FINISHED")
    (row,) = collect.table(tracking.cells("ssgan/c", "c")).to_dict("records")
    assert (row["samples/read_as_wanted_real"], row["samples/coverage_real"]) == (0.97, 0.8)
