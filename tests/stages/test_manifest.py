"""A split survives its table; a table that does not fit the data gets one line."""

import re
from pathlib import Path

import pandas as pd
import pytest

from pipeline import data
from pipeline.config.layers import load as load_config
from pipeline.errors import UserError
from pipeline.stages.manifest import from_manifest, to_labels, to_manifest
from pipeline.stages.split import choose_split, split
from tests.data.pictures import content, put
from tests.stages.test_split import LABELS, N_TEST, N, assert_equal, run

NAMES = [f"class {number}" for number in range(int(LABELS.max()) + 1)]


@pytest.mark.parametrize("changes", [{}, {"valid_frac": 0.3}, {"label_frac": 1.0}])
def test_manifest_round_trip(tmp_path, changes):
    result = run(**changes)
    manifest = to_manifest(result, LABELS, NAMES)
    assert list(manifest.columns) == ["index", "part", "label", "class"]
    manifest.sample(frac=1, random_state=0).to_parquet(tmp_path / "m.parquet")
    assert_equal(from_manifest(tmp_path / "m.parquet", LABELS, N_TEST), result)
    shown = manifest[manifest["label"] != -1]
    assert list(shown["class"]) == [NAMES[label] for label in shown["label"]]
    assert set(manifest.loc[manifest["label"] == -1, "class"]) == {""}
    assert set(shown["part"]) <= {"labelled", "valid"}
    assert len(shown) == result.n_labels


def test_a_splits_labels_csv_in_the_folder_gives_the_same_images_to_train_on(tmp_path):
    for seed in range(30):
        put(tmp_path, f"unlabelled/{seed}.png", content(seed))
        if seed < 20:
            put(tmp_path, f"labelled/{('cat', 'dog')[seed % 2]}/{seed}.png", content(seed))
    before = data.load("folder", tmp_path)
    labels = before.train_labels.read(range(len(before.train_labels)), "split")
    whole = {"label_frac": None, "labels_per_class": None, "valid_frac": 0, "split_seed": 0}
    parts = split(labels, len(before.test_labels), **whole, class_names=before.class_names)
    to_labels(parts, before).to_csv(tmp_path / "labels.csv", index=False)
    after = data.load("folder", tmp_path)
    assert sorted(after.train_files) == sorted(before.train_files)
    assert sorted(after.test_files) == sorted(before.test_files)
    assert "shared_images" not in {one.name for one in after.findings}
    (told,) = [one for one in after.findings if one.name == "test_copies"]
    assert told.count == len(after.test_files)


def test_pictures_are_found_by_their_path_when_others_have_joined_them(tmp_path):
    for seed in range(12):
        put(tmp_path, f"train/{('cat', 'dog')[seed % 2]}/{seed}.png", content(seed))
        put(tmp_path, f"test/{('cat', 'dog')[seed % 2]}/{seed}.png", content(100 + seed))
    before = data.load("folder", tmp_path)
    config = load_config({"dataset": "folder", "data_dir": str(tmp_path), "labels_per_class": "2"})
    made = choose_split(config, before)
    labels = before.train_labels.read(range(12), "split")
    files = before.train_files, before.test_files
    to_manifest(made, labels, before.class_names, files).to_parquet(tmp_path / "m.parquet")
    put(tmp_path, "train/cat/-first.png", content(200))
    put(tmp_path, "unlabelled/0.png", content(201))
    after = data.load("folder", tmp_path)
    again = choose_split(config.model_copy(update={"split_file": tmp_path / "m.parquet"}), after)
    for part in ("labelled", "unlabelled", "valid"):
        named = {before.train_files[index] for index in getattr(made, part)}
        assert {after.train_files[index] for index in getattr(again, part)} == named
    (tmp_path / "train/dog/1.png").rename(tmp_path / "train/dog/other.png")
    with pytest.raises(UserError, match=r"there is no training picture 'train/dog/1\.png'"):
        choose_split(
            config.model_copy(update={"split_file": tmp_path / "m.parquet"}),
            data.load("folder", tmp_path),
        )


def set_cell(table, row, column, value):
    table.loc[row, column] = value
    return table


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda t: t.drop(columns="label"), "no column label; it has index, part, class, needed"),
        (lambda t: t.astype({"index": float}), "column index is float64"),
        (lambda t: t.astype({"label": str}), "column label is str"),
        (lambda t: set_cell(t.astype({"label": "Int64"}), 3, "label", None), "with gaps"),
        (lambda t: t.replace({"part": {"valid": "validation"}}), "'validation' is not known"),
        (lambda t: set_cell(t, 0, "part", None), "is not known; allowed are labelled"),
        (lambda t: t.assign(part=1), "part .*1.* is not known"),
        (lambda t: set_cell(t, 0, "index", N), f"index {N} of part labelled .* 0..{N - 1}"),
        (lambda t: set_cell(t, 0, "index", -1), "index -1 of part labelled is outside"),
        (lambda t: set_cell(t, len(t) - 1, "index", 9), "index 9 of part test .* 0..8"),
        (lambda t: pd.concat([t, t.tail(1)]), "test image 8 stands in it more than once"),
        (
            lambda t: pd.concat([t, t.head(1).assign(part="unlabelled", label=-1)]),
            "training image .* more than once",
        ),
        (lambda t: t.iloc[:-1], "lists 8 of the 9 test images"),
        (lambda t: t[t["label"] != 2], "class 2 has no labelled image"),
        (lambda t: set_cell(t, 0, "label", 9), "part labelled has label 9; the data say"),
        (lambda t: set_cell(t, 0, "label", -1), "part labelled has label -1; the data say"),
        (lambda t: set_cell(t, len(t) - 1, "label", 1), "part test has label 1; only labelled"),
    ],
)
def test_manifest_mistakes(tmp_path, mistake, words):
    path = tmp_path / "m.parquet"
    mistake(to_manifest(run(valid_frac=0.3), LABELS, NAMES)).to_parquet(path)
    with pytest.raises(UserError, match=words) as error:
        from_manifest(path, LABELS, N_TEST)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_manifest_cannot_label_an_image_whose_label_is_unknown(tmp_path):
    path = tmp_path / "m.parquet"
    manifest = to_manifest(run(), LABELS, NAMES)
    manifest.loc[0, "label"] = -1
    manifest.to_parquet(path)
    labels = LABELS.copy()
    labels[manifest.loc[0, "index"]] = -1
    with pytest.raises(UserError, match=r"label -1; the data say -1 \(-1 is unknown"):
        from_manifest(path, labels, N_TEST)


def test_a_relative_manifest_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"does not exist \(looked for {tmp_path}/m\.parquet\)"):
        from_manifest(Path("m.parquet"), LABELS, N_TEST)
    with pytest.raises(UserError, match=r"is a folder; give the manifest\.parquet of a run"):
        from_manifest(tmp_path, LABELS, N_TEST)


@pytest.mark.parametrize("content", [None, b"", b"index,part,label\n0,labelled,1\n"])
def test_manifest_file_that_is_none(tmp_path, content):
    path = tmp_path / "m.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(str(path))) as error:
        from_manifest(path, LABELS, N_TEST)
    assert "\n" not in str(error.value)
