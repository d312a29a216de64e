"""What a study says at its end."""

from pathlib import Path

import pytest

from experiments.report import show
from experiments.search.answer import Answer
from pipeline.errors import RunFailure


def test_a_study_says_why_trials_failed(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "MemoryError: [the batch] is too large"
    given = Answer(
        "s", "pareto", {"FAIL": 3}, {reason: 3}, [], Path("s"), "run", "trials", "winners"
    )
    with pytest.raises(RunFailure, match="study s: no trial was completed"):  # not a success
        show(given)
    said = capsys.readouterr().out
    assert "3 fail trials" in said
    assert f"3 failed: {reason}\n" in said


def test_names_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    given = Answer("[/x] y", "pareto", {}, {}, [], Path("[/x] y"), "run", "trials", "winners")
    with pytest.raises(RunFailure, match=r"\[/x\] y"):
        show(given)
    assert "[/x] y" in capsys.readouterr().out
