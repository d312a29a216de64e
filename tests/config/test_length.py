"""The steps that suit a number of images, and what a shorter run has less of."""

import re
from pathlib import Path

import pytest

from pipeline.config import layers as config
from pipeline.config import length, step_images
from tests.config.common import ALL, DATASETS, FM, MANY, METHODS, mistake, read

# ---------------------------------------------------------------- runs shorter than the recipe


@pytest.mark.parametrize(("method", "dataset"), ALL)
def test_a_recipe_is_as_it_stands_at_its_own_length_and_beyond(method, dataset):
    recipe = read("method", method)
    kind = read("dataset", dataset)["kind"]
    recipe |= recipe.pop("kinds", {}).get(kind, {}) | recipe.pop("datasets", {}).get(dataset, {})
    plain = config.settled(config.load({"method": method, "dataset": dataset}), MANY)
    longer = config.load({"method": method, "dataset": dataset, "steps": str(2 * plain.steps)})
    for resolved in (plain, longer):
        assert dict(resolved.own) == {key: recipe[key] for key in resolved.own}
        assert config.short(resolved, MANY) == ""


def warm_up(base=None, **flags):
    return config.load({key: str(value) for key, value in flags.items()}, base).own["warm_up_share"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_shorter_run_has_a_smaller_share_of_warm_up_and_yet_more_of_both(dataset):
    own = config.settled(config.load({"dataset": dataset}), MANY).steps
    lengths = [min(steps, own * steps // 1000) for steps in (100, 300, 700, 1000)]
    shares = [warm_up(dataset=dataset, steps=steps) for steps in lengths]
    assert shares == sorted(set(shares))
    early = [share * steps for share, steps in zip(shares, lengths, strict=True)]
    late = [steps - taken for steps, taken in zip(lengths, early, strict=True)]
    assert early == sorted(early)
    assert late == sorted(late)


def test_a_share_that_somebody_has_said_is_kept_at_every_length(file):
    assert warm_up(steps=100, warm_up_share=0.2) == 0.2
    assert warm_up(config=file("warm_up_share: 0.2\nsteps: 100\n")) == 0.2
    base = config.from_yaml(config.to_yaml(config.load({"warm_up_share": "0.5"})))
    assert warm_up(base, steps=100) == 0.5
    assert config.load({"steps": "100"}).warmup_steps < config.load({}).warmup_steps == 50
    assert config.load({"steps": "100", "warmup_steps": "40"}).warmup_steps == 40


def test_a_run_that_continues_has_the_share_of_its_own_length():
    for steps in (100, 1000):
        first = config.load({"steps": str(steps)})
        base = config.from_yaml(config.to_yaml(first))
        assert config.load({}, base) == first
        assert warm_up(base, steps=1000) == warm_up(steps=1000)
        assert warm_up(base, steps=300) == warm_up(steps=300)


@pytest.mark.parametrize(
    ("flags", "says", "instead"),
    [
        (
            {"dataset": "mnist", "steps": "300"},
            "2.8% of the 10,670 that ssgan on mnist",
            "--dataset",
        ),
        ({"steps": "100"}, "6.4% of the 1,560 that ssgan on digits", "take --method supervised"),
        ({"steps": "100", "method": "vat"}, "of the 1,000 that vat", "take --method supervised"),
        ({"steps": "9", "method": "supervised"}, "supervised on digits", "leave --steps out"),
        ({"steps": "999", "method": FM}, "of the 4,000 that feature_matching", "--method"),
        ({"dataset": "mnist", "steps": "2670"}, "", ""),
        ({"steps": "390"}, "", ""),
    ],
)
def test_far_too_few_steps_are_warned_of_in_one_line(flags, says, instead):
    line = config.short(config.load(flags), 60_000)
    assert bool(line) == bool(says)
    assert says in line
    assert instead in line
    assert "\n" not in line


# ---------------------------------------------------------------- steps from the number of images


def chosen(n_images, **flags):
    """The number that `steps: 0` becomes."""
    return config.settled(config.load({"dataset": "folder", **flags}), n_images).steps


def test_few_images_get_few_steps_and_many_the_whole_length():
    photos, strokes = read("method", "ssgan")["kinds"]["photos"], read("method", "ssgan")
    whole = {"photos": photos["steps"], "strokes": strokes["steps"]}
    for kind, size in length.FULL_SIZE.items():
        assert chosen(size, kind=kind) == chosen(10 * size, kind=kind) == whole[kind]
        assert chosen(size // 4, kind=kind) == pytest.approx(whole[kind] / 2, abs=5)
        assert chosen(size // 25, kind=kind) == pytest.approx(whole[kind] / 5, abs=5)
        found = [chosen(n, kind=kind) for n in range(20, size, 997)]
        assert found == sorted(found)
        assert chosen(1, kind=kind) == length.LEAST
    assert length.chosen(150, "photos", 50_000) == length.chosen(150, "photos", 5) == 150


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dataset", ["folder", "npz"])
def test_data_of_any_size_leave_the_number_to_the_images(method, dataset):
    resolved = config.load({"method": method, "dataset": dataset})
    assert resolved.steps == 0
    few, many = (config.settled(resolved, n) for n in (360, MANY))
    assert 200 <= few.steps < many.steps
    # As if it had been typed: shares that follow the length, parameters, what is read back.
    typed = config.load({"method": method, "dataset": dataset, "steps": str(few.steps)})
    assert few == typed
    assert config.changed(few) == {}
    assert config.settled(few, MANY) == few
    assert config.from_yaml(config.to_yaml(few))["steps"] == few.steps


def test_published_data_have_a_number_and_a_typed_one_stands():
    for dataset in set(DATASETS) - {"folder", "npz"}:
        resolved = config.load({"dataset": dataset})
        assert config.settled(resolved, 7) == resolved
        assert resolved.steps > 0
    assert chosen(360, steps="9000") == 9000
    assert chosen(360, steps="1") == 1
    assert config.settled(config.load({"dataset": "mnist", "steps": "0"}), 60_000).steps == 10670
    assert "whole number ≥ 0" in mistake({"steps": "-1"})


def test_what_was_said_of_a_length_that_nobody_knew_stands(file):
    flags = {"dataset": "folder"}
    recipe = read("method", "ssgan")["warm_up_share"]
    assert config.settled(config.load(flags), 360).own["warm_up_share"] < recipe / 2
    for said in (recipe, 0.3):  # the recipe's own value too
        resolved = config.load({**flags, "warm_up_share": str(said)})
        assert config.settled(resolved, 360).own["warm_up_share"] == said
    path = file(config.to_yaml(config.load(flags)))
    assert config.settled(config.load({"config": path}), 360) == config.load(
        {**flags, "steps": str(chosen(360))}
    )


def test_a_stage_that_continues_keeps_the_number_and_another_method_finds_its_own():
    first = config.settled(config.load({"dataset": "folder"}), 2000)
    base = config.from_yaml(config.to_yaml(first))
    assert config.load({}, base) == first
    other = config.load({"method": "feature_matching"}, base)
    assert other.steps == 0
    assert config.settled(other, 2000).steps == chosen(2000, method="feature_matching")
    again = config.load({"steps": "0"}, base)
    assert config.settled(again, 50) == config.settled(config.load({"dataset": "folder"}), 50)


def test_far_too_few_steps_are_those_that_so_many_images_would_not_get():
    typed = config.load({"dataset": "folder", "steps": "80"})
    assert config.short(typed, 360) != ""
    assert f"of the {chosen(2000):,} that ssgan on folder" in config.short(typed, 2000)
    assert config.short(config.load({"dataset": "folder", "steps": "180"}), 360) == ""
    assert config.short(config.load({"dataset": "folder"}), 3) == ""


def test_with_many_labels_more_of_a_steps_images_are_labelled_ones():
    flags = {"dataset": "folder", "data_dir": "x", "backbone": "efficientnet_lite0"}
    plain = config.settled(config.load(flags), 50_000)
    for n_labels, sizes in {20: (32, 64), 1920: (32, 64), 1921: (64, 32), 50_000: (64, 32)}.items():
        found = step_images.shared_out(plain, n_labels)
        assert (found.batch_size, found.unlabelled_batch_size) == sizes
        assert found.own["consistency_weight"] == (1.0 if sizes == (32, 64) else 0.25)
        assert step_images.shared_out(found, n_labels) == found
        baseline = step_images.baseline_of(found, n_labels)
        assert baseline.batch_size == step_images.baseline_of(plain, n_labels).batch_size
    given_by_hand = {"batch_size": 32, "unlabelled_batch_size": 64, "consistency_weight": 1}.items()
    for key, value in given_by_hand:
        given = config.settled(config.load({**flags, key: str(value)}), 50_000)
        assert step_images.shared_out(given, 4000) == given
    scratch = config.settled(config.load({**flags, "backbone": "none"}), 50_000)
    assert step_images.shared_out(scratch, 4000) == scratch


def test_the_docs_have_the_steps_of_own_images():
    text = (Path(__file__).parents[2] / "docs/own-images.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d,]+) \| (.+) \|$", text, re.MULTILINE)
    assert [int(size.replace(",", "")) for size, _ in rows] == [360, 2000, 50_000]
    spoken = ({"backbone": "efficientnet_lite0"}, {"backbone": "none"}, {"kind": "strokes"})
    for size, cells in rows:
        shown = []
        for flags in spoken:
            plain = config.load({"dataset": "folder", **flags})
            found = config.settled(plain, int(size.replace(",", "")))
            shown.append(f"{found.steps:,} + {found.own['generator_steps']:,}")
        assert cells.split(" | ") == shown
