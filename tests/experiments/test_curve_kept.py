"""What a curve's command keeps for the report and for the next command; where it writes."""

from pathlib import Path

import pytest

from experiments.curve import conduct, grid, kept, writing
from experiments.curve.settings import goal_of
from pipeline import tracking
from pipeline.errors import UserError
from pipeline.networks import backbones
from tests.data.pictures import write_classes
from tests.experiments.curves import asked, fail, finish, given, remember, report


def drawn(client, digits, words=(), **flags):
    """A curve of which a training failed and one was not done; what its command says."""
    wanted = asked(digits, methods="supervised,ssgan", **flags)
    with tracking.closed(tracking.curve_run("ssgan/c", "c")) as run:
        remember(run, wanted, wanted.cells(), words=words, goal=wanted.settings.goal)
    *done, failed, _ = wanted.cells()
    for cell in done:
        params = {"split_seed": cell.config.split_seed}
        finish(client, cell.method, cell.n_labels, cell.seed, cell.digest, params)
    fail(client, failed)
    return given(wanted, digits, words)[0]


def test_the_report_on_a_curve_weakens_it_as_its_command_did(client, digits):
    cut = "into 30 min fit 2 of 3 label counts (20, 50) with 2 of 3 seeds"
    lines = drawn(client, digits, [cut], seeds="3")
    weak = [line for line in lines if line.startswith(("but: ", "note: "))]
    assert any("trainings of ssgan failed" in line for line in weak)
    assert any("note: no result of ssgan" in line for line in weak)
    assert any("1 of 12 trainings have no result" in line for line in weak)
    assert f"note: {cut}" in weak
    again = report(curve="c").lines
    assert [line for line in again if line.startswith(("but: ", "note: "))] == weak


@pytest.mark.slow
def test_the_error_that_a_curve_was_asked_for_is_that_of_its_report_unless_another_is(
    client, digits
):
    def goal_in(lines):
        return [line[:24] for line in lines if line.startswith("For an error of ")]

    assert goal_in(drawn(client, digits, goal="0.25")) == ["For an error of 25 %: su"]
    assert goal_in(report(curve="c").lines) == ["For an error of 25 %: su"]
    assert goal_in(report(curve="c", goal=0.125).lines) == ["For an error of 12.5 %: "]
    assert goal_in(report(experiment="ssgan/c").lines) == []


@pytest.mark.parametrize(("text", "goal"), [(None, None), ("none", None), ("0.03", 0.03)])
def test_a_goal_is_a_share(text, goal):
    assert goal_of(text) == goal


@pytest.mark.parametrize("text", ["3", "0", "1", "-0.1", "nan", "few", "3 %"])
def test_a_goal_that_is_none_is_told_in_one_line(text):
    with pytest.raises(UserError, match=r"^goal = [^\n]*between 0 and 1 \(3 % is 0\.03\)\.$"):
        goal_of(text)


def artifacts(client):
    summary = tracking.known_summary("ssgan/c", "c")
    return {file.path for file in client.list_artifacts(summary.id)}


def test_a_report_is_written_where_out_says_though_the_curves_folder_cannot_be_had(client, digits):
    Path("curves").write_text("a file of mine")
    drawn(client, digits, out="elsewhere/page.html")
    assert "ssgan" in Path("elsewhere/page.html").read_text(encoding="utf-8")
    assert {"report.html", "report.md", "cells.csv"} <= artifacts(client)
    assert Path("curves").read_text() == "a file of mine"


def test_a_report_that_cannot_be_written_is_in_its_run(client, digits):
    Path("curves").write_text("a file of mine")
    with pytest.raises(UserError, match=r"out = curves/c/report\.html: .* the run has the report"):
        drawn(client, digits)
    assert {"report.html", "report.md", "cells.csv"} <= artifacts(client)


@pytest.mark.parametrize("out", [None, "curves/page.html", "folder"])
def test_where_nothing_can_be_written_is_told_before_the_data_are_loaded(store, out):
    Path("curves").write_text("a file of mine")
    Path("folder").mkdir()
    flags = {"out": out} if out else {}
    wanted = grid.read({"name": "c", "dataset": "folder", "data_dir": "nowhere", **flags})
    with pytest.raises(UserError, match=r"^out = \S+: \S+ cannot be written \([^\n]*by --out\.$"):
        conduct.draw(wanted, "command")
    assert not list(Path("folder").iterdir())


def test_a_place_that_does_not_exist_yet_is_no_mistake_and_is_not_made(store):
    writing.check_writable(grid.read({"name": "c"}))
    writing.check_writable(grid.read({"name": "c", "out": "a/b/c.html"}))
    assert not Path("curves").exists()
    assert not Path("a").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    backbones.at_hand() == backbones.NONE, reason="no weights of a trained network are installed"
)
def test_the_backbone_that_a_curve_has_chosen_stays_whatever_counts_it_gets(tmp_path, store):
    folder = write_classes(tmp_path / "mine", n=6)
    flags = {"dataset": "folder", "data_dir": str(folder), "kind": "photos", "name": "c"}

    def prepared(label_counts, **more):
        read = grid.read({**flags, "seeds": "1", "label_counts": label_counts, **more})
        return conduct._prepared(read)

    found, _, choice, _ = prepared("2,4")
    other = kept.Choice(backbones.NONE, "backbone none, as measured", choice.data)
    with tracking.closed(tracking.curve_run("ssgan/c", "c")) as run:
        remember(run, found, found.cells(), choice=other)
    again, _, choice, words = prepared("2,3,4")
    assert choice == other
    assert {cell.config.backbone for cell in again.cells()} == {backbones.NONE}
    (said,) = [each for each in words if "earlier command" in each]
    assert said.startswith("backbone none, as measured (chosen by")
    assert "--backbone <name> chooses another" in said
    before = {cell.digest for cell in prepared("3,4")[0].cells()}
    assert before < {cell.digest for cell in again.cells()}
    with tracking.closed(tracking.curve_run("ssgan/c", "c")) as run:  # of other data
        remember(run, found, found.cells(), choice=kept.Choice(backbones.NONE, "", "other"))
    assert prepared("2,4")[0].config("ssgan").backbone == backbones.at_hand()
