"""A folder of pictures through the whole pipeline: class and file names wherever they help."""

import contextlib
import io
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline import data
from pipeline.__main__ import main
from pipeline.config import layers as config
from pipeline.errors import UserError
from pipeline.networks import backbones
from pipeline.runs import flow, logged
from pipeline.runs.logged import LABELS
from pipeline.runs.summary import Result
from tests.runs.stored import artifacts, model

COLOURS = {"größe ü": (200, 60, 40), "10": (40, 200, 60), "2": (60, 40, 200)}
LABELLED, UNLABELLED = 40, 60
SHORT = {"dataset": "folder", "steps": "40", "report_every": "20", "labels_per_class": "5"}

# The pictures differ in their colours alone, so these must not be learned away.
SCRATCH = {"backbone": "none", "network": "conv", "warm_up_colour": "0"}
SCRATCH |= {"batch_size": "32", "unlabelled_batch_size": "128"}


def picture(random, colour):
    """A plain picture of some colour under noise, 20 x 24."""
    pixels = np.array(colour) + random.integers(-30, 30, (24, 20, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes; the pictures without a label are of other colours. One file is no picture."""
    root, random = tmp_path_factory.mktemp("pictures") / "mine", np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / "labelled" / name).mkdir(parents=True)
        for number in range(LABELLED):
            picture(random, colour).save(root / "labelled" / name / f"{number}.png")
    (root / "unlabelled").mkdir()
    for number in range(UNLABELLED):
        picture(random, random.integers(90, 160, 3)).save(root / "unlabelled" / f"{number}.jpg")
    (root / "unlabelled" / "broken.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def told(module_store, folder) -> tuple[Result, str]:
    """A run, and what it says on stderr."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        result = flow.run(
            config.load(SHORT | SCRATCH | {"data_dir": str(folder), "baseline": "false"})
        )
    return result, said.getvalue()


def fetched(run_id, path):
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=path))


def test_predictions_and_mistakes_name_the_files_and_the_classes(told, folder):
    result, _ = told
    table = pd.read_parquet(fetched(result.run_id, "evaluate/predictions.parquet"))
    assert len(table) == result.n_test == 3 * LABELLED * 0.2
    assert set(table["class"]) | set(table["predicted_class"]) <= set(COLOURS)
    for name, file in zip(table["class"], table["file"], strict=True):
        assert (folder / file).is_file()
        assert Path(file).parent.name == name
    per_class = pd.read_csv(fetched(result.run_id, "evaluate/per_class.csv"), dtype=str)
    assert list(per_class["class"]) == ["2", "10", "größe ü"]
    assert "figures/mistakes.png" in artifacts(result.run_id, "figures")


def test_models_know_what_their_classes_are_called(told):
    result, _ = told
    for role in ("classifier", "generator"):
        found = model(result.run_id, role)
        about = mlflow.models.get_model_info(f"models:/{found.model_id}")
        assert about.metadata["class_names"] == ["2", "10", "größe ü"]
        assert "2, 10, größe ü" in found.tags["mlflow.note.content"]


def test_the_report_names_every_file_that_was_left_out_and_says_that_a_test_part_was_drawn(told):
    result, said = told
    report = pd.read_csv(fetched(result.run_id, "data/report.csv"))
    rows = report[report["finding"] == "unreadable"]
    assert "unlabelled/broken.png" in set(rows["file"])
    assert {"unreadable", "drawn_test"} <= set(report["finding"])
    run = mlflow.MlflowClient().get_run(result.run_id)
    for sentence in report.loc[report["file"].isna(), "what"]:
        assert sentence in said
        assert sentence in run.data.tags["ssgan.data_findings"]


def test_unlabelled_pictures_of_another_kind_are_told(told):
    result, said = told
    metrics = mlflow.MlflowClient().get_run(result.run_id).data.metrics
    assert metrics["data/unlabelled_told_apart"] > 0.75
    assert metrics["data/unlabelled_p_value"] < 1e-3
    assert "differ from those with one: a classifier tells" in said


def test_the_split_as_a_table_reads_back_as_the_same_data(told, folder, tmp_path):
    result, _ = told
    table = pd.read_csv(fetched(result.run_id, "split/labels.csv"), dtype=str).fillna("")
    assert table["part"].value_counts().to_dict() == {
        "labelled": 15,
        "": 3 * LABELLED * 0.8 - 15 + UNLABELLED,
        "test": 24,
    }
    copy = shutil.copytree(folder, tmp_path / "copy")
    shutil.copy(fetched(result.run_id, "split/labels.csv"), copy / "labels.csv")
    again = data.load("folder", copy)
    shown = table.set_index("path")
    assert again.class_names == ("2", "10", "größe ü")
    assert sorted(again.test_files) == sorted(shown.index[shown["part"] == "test"])
    labels = again.train_labels.read(np.arange(len(again.train_files)), "test")
    for file, label in zip(again.train_files, labels, strict=True):
        expected = shown["label"].get(file, "")
        assert (again.class_names[label] if label >= 0 else "") == expected
    # A label that somebody fills in is one to train on.
    filled = table["part"].eq("") & table["path"].str.startswith("unlabelled/")
    table.loc[filled, "label"] = "10"
    table.to_csv(copy / "labels.csv", index=False)
    filled_in = data.load("folder", copy)
    known = len(filled_in.train_files) - len(filled_in.train_labels.unknown())
    assert known == 15 + filled.sum() == 15 + UNLABELLED


def test_a_split_alone_leaves_the_table_too(module_store, folder):
    result = flow.split(config.load(SHORT | {"data_dir": str(folder)}))
    table = pd.read_csv(fetched(result.run_id, "split/labels.csv"), dtype=str)
    assert (folder / table["path"][0]).is_file()


@pytest.fixture
def large(module_store, tmp_path, monkeypatch):
    """A folder of pictures of 100 pixels; and a backbone's weights are at hand for `split`."""
    random = np.random.default_rng(1)
    for name, colour in COLOURS.items():
        (tmp_path / name).mkdir()
        for number in range(8):
            picture(random, colour).resize((100, 100)).save(tmp_path / name / f"{number}.png")
    monkeypatch.setattr(backbones, "at_hand", lambda weights=None: "efficientnet_lite0")
    return tmp_path


SPLIT = {"dataset": "folder", "labels_per_class": "2"}
TINY = {"steps": "2", "report_every": "2", "batch_size": "4", "unlabelled_batch_size": "4"}
TINY |= {"network": "dense", "dense_units": "[16]", "baseline": "false"}


@pytest.mark.parametrize(
    "other", [{"method": "sgan"}, {"method": "supervised", "backbone": "none"}], ids=str
)
def test_a_stage_reads_the_pictures_of_its_split_in_the_size_it_needs(large, other):
    split = flow.split(config.load(SPLIT | {"data_dir": str(large)})).run_id
    trained = flow.train({"run_id": split, **TINY, **other})
    assert trained.n_labels == 6
    tables = [pd.read_csv(fetched(run, LABELS), dtype=str) for run in (split, trained.run_id)]
    pd.testing.assert_frame_equal(*tables)
    digests = {
        mlflow.MlflowClient().get_run(run).data.tags["ssgan.data_digest"]
        for run in (split, trained.run_id)
    }
    assert len(digests) == 2, "one of 96 pixels, one of 64"
    if other["method"] == "supervised":
        assert flow.evaluate({"run_id": trained.run_id}).n_labels == 6


def test_other_pictures_than_those_of_the_split_are_refused(large):
    split = flow.split(config.load(SPLIT | {"data_dir": str(large)})).run_id
    picture(np.random.default_rng(9), COLOURS["2"]).resize((100, 100)).save(large / "2" / "0.png")
    with pytest.raises(UserError, match="these are not the data of run"):
        flow.train({"run_id": split, **TINY, "method": "sgan"})


def test_going_on_with_other_pictures_names_the_key_that_was_typed(large, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    said = SPLIT | TINY | {"data_dir": str(large), "method": "supervised", "backbone": "none"}
    words = [word for key, value in said.items() for word in (f"--{key}", value)]
    with monkeypatch.context() as patch:
        patch.setattr(logged, "evaluate", interrupted)
        assert main(["run", *words, "--checkpoint_every", "0"]) == 130
    run_id = capsys.readouterr().err.split()[-1]
    picture(np.random.default_rng(9), COLOURS["2"]).resize((100, 100)).save(large / "2" / "0.png")
    assert main(["run", "--resume", run_id]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert f"these are not the data of run {run_id}" in line
    assert line.endswith("give the same data_dir, or start again without resume.")


def test_keys_for_pictures_are_refused_where_there_are_none():
    for key, value in {"image_size": "32", "fit": "pad", "strict": "true"}.items():
        with pytest.raises(UserError, match=f"{key} = .*dataset=digits has images of its own"):
            data.of(config.load({key: value}))
