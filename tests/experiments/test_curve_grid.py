"""A curve's grid is read and checked before anything is trained."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.curve import counts, grid
from pipeline import data
from pipeline.config import layers as configuration
from pipeline.errors import UserError
from pipeline.stages.split import choose_split
from tests.data.pictures import write_classes

FEW = {"label_counts": "20,50", "seeds": "3"}


def read(digits, **flags):
    return counts.on(grid.read({**FEW, **flags}), digits)[0]


def test_flags_stand_over_the_file_and_the_file_over_the_default(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("methods: [supervised, vat]\nseeds: 4\ndiscriminator_lr: 0.003\n")
    found = grid.read({"curve": str(file), "label_counts": "[100, 20]", "budget": "1h30m"})
    assert (found.name, found.experiment) == ("digits-mine", "ssgan/digits-mine")
    assert found.settings.methods == ["supervised", "vat"]
    assert (found.counts, found.settings.seeds, found.settings.budget) == ([20, 100], 4, 5400)
    assert found.config("vat").discriminator_lr == 0.003
    assert grid.read({}).name == "digits-curve"
    assert (grid.read({}).settings.goal, grid.read({"goal": "0.03"}).settings.goal) == (None, 0.03)
    assert grid.read({"curve": "quick"}).name == "digits-quick"
    assert grid.read({"name": "paper"}).experiment == "ssgan/paper"


@pytest.mark.parametrize("stem", ["o'neil", 220 * "x", "a`b"])
def test_a_file_whose_name_names_no_curve_is_told(tmp_path, stem):
    file = tmp_path / f"{stem}.yaml"
    file.write_text("seeds: 4\n")
    with pytest.raises(UserError, match=r"^name = [^\n]*give another one with --name[^\n]*$"):
        grid.read({"curve": str(file)})
    assert grid.read({"curve": str(file), "name": "mine"}).name == "mine"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("45", 45)]
)
def test_a_budget_is_a_time_as_people_write_it(text, seconds):
    assert grid.read({"budget": text}).settings.budget == seconds


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"methods": "supervised,ssgn"}, ["--methods", "'ssgn'", "did you mean ssgan"]),
        ({"methods": "ssgan,ssgan"}, ["--methods", "more than once"]),
        ({"methods": "ssgan,vat"}, ["against = 'supervised'", "default.yaml, line", "ssgan, vat"]),
        (
            {"methods": "ssgan,supervised_all", "against": "supervised_all"},
            ["against = 'supervised_all' (from --against)", "every label", "another method"],
        ),
        ({"label_counts": "20,x"}, ["label_counts", "--label_counts", "integer"]),
        ({"label_counts": "0,5"}, ["label_counts", "greater than or equal to 1"]),
        ({"label_counts": "20,20"}, ["label_counts", "20 stands there more than once"]),
        ({"seeds": "0"}, ["seeds = '0' (from --seeds)"]),
        ({"goal": "3"}, ["goal = '3' (from --goal)", "less than 1", "3 % is 0.03"]),
        ({"budget": "soon"}, ["budget = 'soon'", "30m"]),
        ({"name": "it's"}, ["name", "without quotes"]),
        ({"name": ".."}, ["name = '..' (from --name)", "a folder"]),
        ({"name": 300 * "a"}, ["name", "in at most 200 bytes"]),
        ({"label_frac": "0.1"}, ["label_frac", "a curve decides label_frac itself"]),
        ({"experiment": "mine"}, ["experiment = 'mine'", "a curve decides"]),
        (
            {"warm_up_share": "0.1", "methods": "supervised,vat"},
            ["warm_up_share", "supervised, vat"],
        ),
        ({"curve": "qick"}, ["curve = 'qick'", "default, quick"]),
        ({"no_such_key": "1"}, ["no_such_key", "--no_such_key"]),
        ({"steps": "-1"}, ["steps", "--steps"]),
    ],
)
def test_a_mistake_is_told_in_one_line_with_where_it_stands(flags, words):
    with pytest.raises(UserError) as told:
        grid.read(flags)
    assert all(word in str(told.value) for word in words), told.value
    assert "\n" not in str(told.value)


def test_a_methods_own_key_reaches_the_methods_that_have_it():
    found = grid.read({"warm_up_share": "0.2", "methods": "supervised,ssgan,vat"})
    assert found.config("ssgan").own["warm_up_share"] == 0.2
    assert "warm_up_share" not in found.config("vat").own


def test_generators_are_trained_where_asked_alone():
    assert grid.read({}).config("ssgan").own["generator"] is False
    assert grid.read({"generator": "true"}).config("ssgan").own["generator"] is True


def test_cells_go_seed_by_seed_after_a_first_one_of_each_method(digits):
    cells = read(digits, methods="supervised,ssgan,supervised_all").cells()
    known = len(digits.train_labels)
    assert [(c.method, c.n_labels) for c in cells[:3]] == [
        ("supervised", 20),
        ("ssgan", 20),
        ("supervised_all", known),
    ]
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    assert len(cells) == 3 * (2 + 2 + 1)
    assert len({cell.digest for cell in cells}) == len(cells)
    by_seed = {}
    for cell in cells:
        by_seed.setdefault(cell.seed, set()).add(cell.config.split_seed)
    assert by_seed == {0: {0}, 1: {1}, 2: {2}}


def test_every_method_has_the_same_nested_splits(digits):
    cells = read(digits, methods="supervised,ssgan,label_spreading").cells()
    splits = {(c.method, c.seed, c.n_labels): choose_split(c.config, digits) for c in cells}
    for (method, seed, count), split in splits.items():
        assert split.n_labels == count
        same = splits["supervised", seed, count]
        assert np.array_equal(split.labelled, same.labelled), method
    for seed in range(3):
        few, many = splits["ssgan", seed, 20].labelled, splits["ssgan", seed, 50].labelled
        assert set(few) < set(many)
    assert set(splits["ssgan", 0, 50].labelled) != set(splits["ssgan", 1, 50].labelled)


def test_validation_labels_are_among_the_counted(digits):
    for flags in ({"valid_frac": "0.5"}, {"valid_labels": "10"}):
        cell = read(digits, **flags).cells()[0]
        split = choose_split(cell.config, digits)
        assert (split.n_labels, len(split.valid)) == (20, 10)


def test_a_cell_is_the_same_wherever_it_is_trained_and_another_with_other_values(digits):
    def digests(**flags):
        return [cell.digest for cell in read(digits, **flags).cells()]

    plain = digests()
    generated = digests(generator="true")
    assert len(set(plain) & set(generated)) == len(plain) / 2  # those of supervised
    assert digests(threads="1", workers="2", name="other", budget="2h") == plain
    assert set(plain) < set(digests(seeds="4", label_counts="20,50,100"))
    assert not set(plain) & set(digests(discriminator_lr="0.01"))
    longer = read(digits, methods="supervised,label_spreading", steps="77")
    shorter = read(digits, methods="supervised,label_spreading", steps="66")
    same = {c.digest for c in longer.cells()} & {c.digest for c in shorter.cells()}
    assert same == {c.digest for c in longer.cells() if c.method == "label_spreading"}
    on = {"backbone": "efficientnet_lite0", "labelled_passes": "10"}
    typed, left = (read(digits, **on, **flags).cells() for flags in ({"batch_size": "32"}, {}))
    for one, two in zip(typed, left, strict=True):  # a default that is typed is not changed
        assert one.config == two.config
        assert (one.digest == two.digest) == (one.method == "supervised")
    other = replace(longer, data=replace(longer.data, digest="other"))
    assert not {c.digest for c in other.cells()} & {c.digest for c in longer.cells()}


def test_other_weights_in_the_same_file_make_other_cells_on_a_backbone(digits, tmp_path):
    weights = tmp_path / "own.pth"
    flags = {"methods": "supervised,backbone", "backbone_weights": str(weights)}

    def digests(content, backbone):
        weights.write_text(content)
        return [(c.method, c.digest) for c in read(digits, **flags, backbone=backbone).cells()]

    for backbone in ("efficientnet_lite0", "MobileNetV2"):
        first = digests("some", backbone)
        assert digests("some", backbone) == first
        assert not {*digests("others", backbone)} & {*first}
    same = {*digests("some", "none")} & {*digests("others", "none")}
    assert {method for method, _ in same} == {"supervised"}


@pytest.mark.parametrize("method", ["sgan", "feature_matching", "bad_gan", "seed_gan", "ssgan"])
def test_generators_asked_for_later_are_trained_where_there_are_any(digits, method):
    methods = f"supervised,{method},vat,label_spreading,supervised_all"
    without, asked = (
        {(c.method, c.n_labels, c.seed): c.digest for c in read(digits, **flags).cells()}
        for flags in ({"methods": methods}, {"methods": methods, "generator": "true"})
    )
    changed = {key for key, digest in asked.items() if without[key] != digest}
    assert changed == {key for key in asked if key[0] == method}


def test_supervised_is_the_baseline_of_what_it_is_compared_with(digits):
    found = read(digits, methods="supervised,ssgan")
    supervised, ssgan = found.config("supervised", 50), found.config("ssgan", 50)
    assert supervised == ssgan  # the worker takes `baseline_of` it, for the labels there are
    alone = read(digits, methods="supervised")
    assert alone.config("supervised", 50).method == "supervised"
    assert (
        alone.config("supervised", 50).steps == configuration.load({"method": "supervised"}).steps
    )


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("5,20", ["5 labels are too few", "each of 10 classes needs one", "10 to 1,437"]),
        ("20,2000", ["2,000 labels are more than the 1,437 there are"]),
    ],
)
def test_counts_that_the_data_cannot_give_are_refused(digits, asked, words):
    with pytest.raises(UserError) as told:
        read(digits, label_counts=asked)
    assert all(word in str(told.value) for word in words), told.value


def test_a_share_for_validation_that_a_count_cannot_pay_is_told_first(digits):
    with pytest.raises(UserError, match="leaves no class a validation label"):
        read(digits, valid_frac="0.2", label_counts="20,200")


def test_of_a_folder_counts_are_cut_to_the_labels_there_are(tmp_path):
    write_classes(tmp_path, ("labelled",), n=15)
    write_classes(tmp_path, ("unlabelled",), n=20)
    flags = {"dataset": "folder", "data_dir": str(tmp_path), "kind": "photos", "backbone": "none"}
    asked = grid.read({**flags, "label_counts": "1,10,50,100", "seeds": "1"})
    dataset = data.of(asked.config("supervised"))
    known = int((dataset.train_labels.read(np.arange(len(dataset.train_labels)), "t") >= 0).sum())
    found, words = counts.on(asked, dataset)
    assert found.counts == [10, known]
    assert words == [
        "1 labels are too few: each of 2 classes needs one",
        f"50 and 100 labels are more than the {known} there are: {known} instead",
    ]
    assert choose_split(found.cells()[-1].config, dataset).n_labels == known
    with pytest.raises(UserError, match="give one of 2 to"):
        counts.on(grid.read({**flags, "label_counts": "1"}), dataset)
