"""What a run says in the end, on the terminal and as its description in MLflow."""

import re
from dataclasses import replace

import pytest

from pipeline.runs.summary import Result, markdown, show


def result(**lift):
    test = {"test/error": 0.0417, "test/error_low": 0.0254, "test/error_high": 0.0676}
    times = {"time/split_s": 1.5, "time/start_s": 5.0, "time/log_s": 2.0, "time/total_s": 8.5}
    numbers = {"n_labels": 144, "n_valid": 36, "n_test": 360, "n_pool": 1401}
    return Result(
        stage="run",
        run_id="f" * 32,
        address="http://127.0.0.1:5000",
        view="http://127.0.0.1:5000/#/view",
        dataset="digits",
        method="ssgan",
        **numbers,
        seeds=(0, 0),
        metrics={**test, **lift, **times},
        baseline=test,
        model="m-0123",
    )


@pytest.mark.parametrize(
    ("lift", "says"),
    [
        (
            {"lift": 0.0278, "lift_low": 0.009, "lift_high": 0.047},
            "2.78 points lower than the supervised baseline's on the same labels "
            "(95 % interval 0.9 – 4.7)",
        ),
        (
            {"lift": -0.01, "lift_low": -0.03, "lift_high": 0.002},
            "1.00 points HIGHER than the supervised baseline's on the same labels "
            "(95 % interval -0.2 – 3.0)",
        ),
        ({"lift": 0.0278}, "2.78 points lower than the supervised baseline's on the same labels."),
        ({"lift": 0.0}, "equal to the supervised baseline's on the same labels."),
    ],
)
def test_the_verdict_is_a_sentence_with_its_interval(lift, says, capsys):
    show(result(**lift))
    out = capsys.readouterr().out
    for text in (out, markdown(result(**lift))):
        assert f"The test error is {says}" in text


def test_names_are_no_markup(capsys):
    named = replace(result(), dataset="[/red] :smile: [bold]", method="[link=x]")
    show(named)
    out = capsys.readouterr().out
    assert "[/red] :smile: [bold]: 144 labels" in out
    assert "[link=x]" in out


def test_words_are_those_of_the_field(capsys):
    given = result(lift=0.01)
    show(given)
    out = capsys.readouterr().out
    assert re.search(r"^model models:/m-0123$", out, re.M)
    assert "time  split 1.5 s, start of TensorFlow 5.0 s, logging 2.0 s, total 8.5 s" in out
    assert re.search(r"method +┃ test error", out)
    said = markdown(given)
    assert "**144 labels** (36 of them for validation), 1,293 images without a label" in said
    assert "| method | test error |" in said
    assert not re.search(r"\b(arms?|lift|pool)\b", out + said, re.I)
