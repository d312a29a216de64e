"""A run says first whether the images without labels have helped."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.runs import verdict
from pipeline.runs.summary import markdown, show
from tests.runs.test_summary import result


def wrong(n, first, last=None):
    """Where a classifier is wrong on n images: those from `first` to `last`."""
    found = np.zeros(n, bool)
    found[first:last] = True
    return found


HELPED = verdict.metrics(wrong(400, 0, 80), wrong(400, 0, 40))
SAME = verdict.metrics(wrong(400, 0, 40), wrong(400, 2, 44))
HURT = verdict.metrics(wrong(400, 0, 40), wrong(400, 0, 80))
BEHIND = verdict.metrics(wrong(50, 0, 5), wrong(50, 4, 11), verdict.VALID)
HURT_ON_VALID = verdict.metrics(wrong(50, 0, 5), wrong(50, 0, 25), verdict.VALID)
AHEAD = verdict.metrics(wrong(50, 0, 25), wrong(50, 0, 5), verdict.VALID)


@pytest.mark.parametrize(
    ("known", "word"),
    [
        ({}, ""),
        ({"lift": 0.1}, ""),
        (HELPED, "helps"),
        (SAME, "cannot tell"),
        (HURT, "hurts"),
        (HURT_ON_VALID, "hurts"),
        (AHEAD, "helps"),
        (HELPED | HURT_ON_VALID, "helps"),
    ],
)
def test_the_word_is_the_interval_s_on_the_test_images_or_else_on_validation(known, word):
    assert verdict.word(known) == word
    assert bool(verdict.sentences(known, "ssgan", 400, 50)) == bool(word)


def test_equal_errors_on_few_images_tell_nothing_and_no_images_give_no_numbers():
    same = verdict.metrics(wrong(3, 0, 1), wrong(3, 0, 1))
    assert same["lift"] == 0
    assert verdict.word(same) == "cannot tell"
    assert "no better and no worse" in verdict.sentences(same, "vat", 3, 0)[0]
    assert verdict.metrics(np.empty(0, bool), np.empty(0, bool)) == {}


def test_a_harm_says_what_to_type_and_by_how_much():
    (said,) = verdict.sentences(HURT, "ssgan", 400, 0)
    assert said.startswith(
        "Semi-supervision HURT: the supervised baseline is better by 10.0 points"
    )
    assert said.endswith("use --method supervised, or predict with --baseline true.")
    low, high = -100 * HURT["lift_high"], -100 * HURT["lift_low"]
    assert 0 < low < 10 < high
    assert f"[{low:.1f}, {high:.1f}] on 400 test images" in said


def test_validation_images_are_heard_where_the_method_is_behind_on_them():
    assert len(verdict.sentences(HELPED | AHEAD, "ssgan", 400, 50)) == 1
    _, behind = verdict.sentences(SAME | BEHIND, "ssgan", 400, 50)
    assert behind.startswith("No difference can be told: ssgan is 4.0 points worse [")
    assert "on 50 validation images" in behind
    _, hurt = verdict.sentences(HELPED | HURT_ON_VALID, "ssgan", 400, 50)
    assert "HURT" in hurt
    assert "on 50 validation images" in hurt
    (alone,) = verdict.sentences(AHEAD, "ssgan", 0, 50)
    assert alone.startswith("Semi-supervision helped: ssgan is better than the supervised baseline")


def test_tiny_differences_on_many_images_keep_their_digits():
    few = verdict.metrics(wrong(10_000, 0, 80), wrong(10_000, 0, 60))
    (said,) = verdict.sentences(few, "ssgan", 10_000, 0)
    assert "by 0.20 points [0.1" in said
    assert "on 10,000 test images" in said


def test_an_end_that_rounds_to_nothing_has_no_sign():
    near = {"lift": 0.027, "lift_low": -1e-8, "lift_high": 0.053}
    (sentence,) = verdict.sentences(near, "ssgan", 411, 0)
    assert "[0.0000, 5.3000]" in sentence
    assert "-0.0" not in markdown(result(**near))


def test_no_number_but_0_is_shown_as_0():
    near = {"lift": 0.027, "lift_low": -0.00002, "lift_high": 0.053}
    (end,) = verdict.sentences(near, "ssgan", 411, 0)
    assert "[-0.002, 5.300]" in end
    helped = verdict.metrics(wrong(1000, 0, 28), wrong(1000, 28, 43))
    (said,) = verdict.sentences(helped, "ssgan", 1000, 0)
    assert verdict.word(helped) == "helps"
    assert "by 1.300 points [0.002, 2.592]" in said
    small = {"lift": 0.0003, "lift_low": -0.011, "lift_high": 0.0111}
    (value,) = verdict.sentences(small, "ssgan", 3000, 0)
    assert "ssgan is 0.03 points better [-1.10, 1.11]" in value
    tiny = {"lift": 0.00002, "lift_low": -0.011, "lift_high": 0.0111}
    assert "0.002 points lower" in markdown(result(**tiny))


def test_one_image_is_one_image(capsys):
    (test,) = verdict.sentences(verdict.metrics(wrong(1, 0, 1), wrong(1, 0, 1)), "vat", 1, 0)
    assert " on 1 test image, which" in test
    valid = verdict.metrics(wrong(1, 0, 1), wrong(1, 0, 1), verdict.VALID)
    assert " on 1 validation image, which" in verdict.sentences(valid, "vat", 0, 1)[0]
    show(replace(result(), n_test=1))
    assert "144 labels, 1 test image\n" in capsys.readouterr().out


@pytest.mark.parametrize(("low", "word"), [(0.0002, "helped"), (-0.0002, "No difference")])
def test_an_end_beside_0_is_not_shown_as_0(low, word):
    near = {"lift": 0.017, "lift_low": low, "lift_high": 0.033}
    (sentence,) = verdict.sentences(near, "ssgan", 360, 0)
    assert word in sentence
    assert f"[{100 * low:.2f}, 3.30]" in sentence
    assert f"{100 * low:.2f} – 3.30" in markdown(result(**near))


@pytest.mark.parametrize("known", [HELPED, SAME, HURT, SAME | HURT_ON_VALID])
def test_it_is_the_first_line_everywhere(known, capsys):
    given = result(**known)
    said = verdict.sentences(known, "ssgan", 360, 36)
    show(given)
    assert capsys.readouterr().out.splitlines()[: len(said)] == said
    assert markdown(given).startswith(f"**{said[0]}**\n")
    written = given.as_json()
    assert list(written)[:2] == ["verdict", "conclusion"]
    assert written["verdict"] == verdict.word(known)
    assert written["conclusion"] == " ".join(said)


def test_without_a_baseline_there_is_none(capsys):
    show(result())
    assert capsys.readouterr().out.startswith("digits: 144 labels")
    assert markdown(result()).startswith("**ssgan** on")
    assert result().as_json()["verdict"] == ""
