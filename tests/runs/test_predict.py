"""The command `predict` on a run of a few steps: the table, and what it refuses in one line."""

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from pipeline.__main__ import main
from pipeline.config import layers as config
from pipeline.runs import flow
from pipeline.runs.predict import tabled

CLASSES = {"10": (200, 60, 40), "2": (40, 200, 60), "größe, ü": (60, 40, 200)}
LABELLED = 10
SHORT = {"dataset": "folder", "backbone": "none", "network": "dense", "dense_units": "[16]"}
SHORT |= {"method": "supervised", "steps": "60", "labels_per_class": "5", "fit": "pad"}


def picture(random: np.random.Generator, colour: tuple[int, ...]) -> Image.Image:
    """A plain picture of some colour under noise, 20 x 24."""
    pixels = np.array(colour) + random.integers(-30, 30, (24, 20, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The labelled pictures of a training."""
    root, random = tmp_path_factory.mktemp("pictures") / "mine", np.random.default_rng(0)
    for name, colour in CLASSES.items():
        (root / name).mkdir(parents=True)
        for number in range(LABELLED):
            picture(random, colour).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def trained(module_store: Path, folder: Path) -> str:
    return flow.run(config.load({**SHORT, "data_dir": str(folder)})).run_id


@pytest.fixture
def place(module_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_run_s_own_test_pictures_get_what_the_evaluation_gave_them(
    trained: str, folder: Path, place: Path, capsys
) -> None:
    assert main(["predict", "--run_id", trained, "--data_dir", str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{3 * LABELLED} pictures classified (")
    assert said.endswith(f"the table is predictions-{trained}.csv.\n")
    assert [path.name for path in place.iterdir()] == [f"predictions-{trained}.csv"]
    table = pd.read_csv(f"predictions-{trained}.csv", dtype={"predicted_class": str})
    names = [f"p_{name}" for name in CLASSES]
    assert sorted(table.columns[3:]) == sorted(names)
    np.testing.assert_allclose(table[names].sum(axis=1), 1, atol=1e-3)
    assert (table["predicted_class"] == table["file"].str.partition("/")[0]).mean() > 0.9
    evaluated = pd.read_parquet(
        mlflow.artifacts.download_artifacts(
            run_id=trained, artifact_path="evaluate/predictions.parquet", dst_path=str(place)
        )
    )
    both = evaluated.merge(table, on="file", suffixes=("", "_new"))
    assert len(both) == len(evaluated) > 0
    assert (both["predicted_class"] == both["predicted_class_new"]).all()
    np.testing.assert_allclose(both["confidence"], both["confidence_new"], atol=1e-3)


def test_pictures_of_twelve_bits_get_what_the_evaluation_gave_them(
    module_store: Path, place: Path, capsys
) -> None:
    random = np.random.default_rng(2)
    for name, grey in (("dark", 800), ("bright", 3200)):
        (place / "deep" / name).mkdir(parents=True)
        for number in range(LABELLED):
            pixels = (grey + random.integers(-700, 700, (24, 20))).astype(np.uint16)
            Image.fromarray(pixels).save(place / "deep" / name / f"{number}.png")
    run = flow.run(config.load({**SHORT, "data_dir": str(place / "deep")})).run_id
    flags = ["--run_id", run, "--data_dir", str(place / "deep" / "dark"), "--out", "t.csv"]
    assert main(["predict", *flags]) == 0
    assert "darker or brighter" not in capsys.readouterr().err
    (place / "brighter").mkdir()
    Image.fromarray(np.full((9, 9), 65_535, np.uint16)).save(place / "brighter" / "new.png")
    more = ["--run_id", run, "--data_dir", "brighter", "--out", "brighter.csv"]
    assert main(["predict", *more]) == 0
    assert "1 of 1 pictures has darker or brighter values than any that" in capsys.readouterr().err
    table = pd.read_csv(place / "t.csv")
    table["file"] = "dark/" + table["file"]
    evaluated = pd.read_parquet(
        mlflow.artifacts.download_artifacts(
            run_id=run, artifact_path="evaluate/predictions.parquet", dst_path=str(place)
        )
    )
    both = evaluated.merge(table, on="file", suffixes=("", "_new"))
    assert len(both) == 2
    np.testing.assert_allclose(both["confidence"], both["confidence_new"], atol=1e-3)


def test_pictures_far_beyond_the_pixels_trained_on_are_told(
    module_store: Path, place: Path, capsys
) -> None:
    random, labels = np.random.default_rng(3), np.arange(20) % 2
    images = random.integers(0, 9, (20, 16, 16)) + 8 * labels[:, None, None]
    arrays = {"x_train": np.uint8(images), "y_train": labels}
    np.savez("own.npz", **arrays, x_test=arrays["x_train"][:4], y_test=labels[:4])
    npz = {**SHORT, "dataset": "npz", "data_dir": str(place / "own.npz"), "fit": "crop"}
    run = flow.run(config.load(npz)).run_id
    for name, factor in (("same", 1), ("full", 15)):
        (place / name).mkdir()
        for number, image in enumerate(images[:3]):
            Image.fromarray(np.uint8(image * factor)).save(place / name / f"{number}.png")
        flags = ["--run_id", run, "--data_dir", name, "--out", f"{name}.csv"]
        capsys.readouterr()
        assert main(["predict", *flags]) == 0
        told = "3 of 3 pictures have pixels far outside 0..16" in capsys.readouterr().err
        assert told == (name == "full")


def test_pictures_of_any_kind_lie_in_any_folders_and_a_broken_one_is_told(
    trained: str, place: Path, capsys
) -> None:
    random, deep = np.random.default_rng(1), place / "new" / "a" / "b"
    deep.mkdir(parents=True)
    picture(random, CLASSES["2"]).resize((90, 30)).save(deep / "wide.jpg")
    picture(random, CLASSES["10"]).convert("RGBA").save(deep / "transparent.png")
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(place / "new" / "deep.png")
    (place / "new" / "broken.png").write_bytes(b"no picture")
    (place / "new" / "notes.txt").write_text("passed over")
    flags = ["--run_id", trained, "--data_dir", "new", "--out", "made/table.csv"]
    assert main(["predict", *flags]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("3 pictures classified (")
    assert "1 of 4 files left out (broken.png: not a picture of a known format" in err
    table = pd.read_csv(place / "made" / "table.csv", dtype=str).set_index("file")
    assert list(table.index) == ["a/b/transparent.png", "a/b/wide.jpg", "deep.png"]
    assert table.loc["a/b/wide.jpg", "predicted_class"] == "2"
    assert table.loc["a/b/transparent.png", "predicted_class"] == "10"


def test_under_the_launcher_its_run_keeps_the_table(
    trained: str, folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = mlflow.MlflowClient()
    made = client.create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    flags = ["--run_id", trained, "--data_dir", str(folder / "2"), "--out", "t.csv"]
    assert main(["predict", *flags]) == 0
    run = client.get_run(made)
    assert run.info.status == "FINISHED"
    assert run.data.tags["ssgan.kind"] == "predict"
    assert run.data.tags["ssgan.source"] == trained
    kept = mlflow.artifacts.download_artifacts(run_id=made, artifact_path="predictions.csv")
    pd.testing.assert_frame_equal(pd.read_csv(kept), pd.read_csv(place / "t.csv"))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"run_id": "f" * 32}, "there is no such run in sqlite:"),
        ({"run_id": ""}, "predict needs run_id: the run whose classifier is read"),
        ({"data_dir": ""}, "predict needs data_dir: the folder that is read"),
        ({"data_dir": "nowhere"}, "data_dir=nowhere does not exist (looked for "),
        ({"data_dir": "file"}, "data_dir=file is a file; name the folder it lies in: data_dir=."),
        ({"data_dir": "empty"}, "data_dir=empty holds no picture that can be read."),
        (
            {"data_dir": "bad"},
            "data_dir=bad holds no picture that can be read (no.png: not a picture",
        ),
        ({"out": "file"}, "out = 'file': that is there already"),
        ({"out": "file/below"}, "out = 'file/below'"),
        ({"out": 300 * "a"}, "(File name too long); give another file"),
        ({"run_id": 300 * "f"}, "(File name too long); give another file"),
        ({"baseline": "yes"}, "baseline = 'yes' (from --baseline): give true or false"),
        ({"baseline": "true"}, "that run has no supervised baseline that has finished"),
        ({"n": "3"}, "--n: predict does not know it; it takes --run_id, --data_dir, --out, --base"),
    ],
    ids=str,
)
def test_a_mistake_gets_one_line_and_leaves_nothing(
    flags: dict[str, str], says: str, trained: str, folder: Path, place: Path, capsys
) -> None:
    (place / "empty").mkdir()
    (place / "bad").mkdir()
    (place / "bad" / "no.png").touch()
    (place / "file").write_text("mine")
    given = {"run_id": trained, "data_dir": str(folder), **flags}
    assert main(["predict", *(f"--{key}={value}" for key, value in given.items())]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert {path.name for path in place.iterdir()} == {"empty", "bad", "file"}


def test_the_baseline_of_a_run_reads_pictures_too(
    module_store: Path, folder: Path, place: Path, capsys
) -> None:
    given = {**SHORT, "method": "vat", "steps": "4", "data_dir": str(folder)}
    run_id = flow.run(config.load(given)).run_id
    (child,) = mlflow.MlflowClient().search_runs(
        ["1"], f"tags.`mlflow.parentRunId` = '{run_id}' and tags.`ssgan.kind` = 'baseline'"
    )
    tables = []
    for flags in ((run_id, "true"), (child.info.run_id, "false"), (run_id, "false")):
        out = f"{len(tables)}.csv"
        words = ["--run_id", flags[0], "--baseline", flags[1], "--out", out]
        assert main(["predict", *words, "--data_dir", str(folder)]) == 0
        tables.append(pd.read_csv(out))
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])


def test_a_run_without_a_classifier_says_so(
    module_store: Path, folder: Path, place: Path, capsys
) -> None:
    split = flow.split(config.load({**SHORT, "data_dir": str(folder)})).run_id
    assert main(["predict", "--run_id", split, "--data_dir", str(folder)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "that run, of kind 'split', has no classifier; did it finish?" in said


@pytest.mark.parametrize("names", [None, ["10", "2"], [*CLASSES, "more"]])
def test_a_model_that_names_other_classes_than_it_knows_is_told_before_the_pictures(
    names: list[str] | None, module_store: Path, trained: str, folder: Path, place: Path, capsys
) -> None:
    client = mlflow.MlflowClient()
    (found,) = client.search_logged_models(["1"], f"source_run_id = '{trained}'")
    file = Path(found.artifact_location.removeprefix("file://"), "MLmodel")
    kept = file.read_text()
    said = yaml.safe_load(kept)
    said["metadata"]["class_names"] = names
    file.write_text(yaml.safe_dump(said))
    assert main(["predict", "--run_id", trained, "--data_dir", str(folder)]) == 2
    file.write_text(kept)
    expected = f"tells 3 classes apart and names {len(names or [])};"
    assert expected in capsys.readouterr().err.splitlines()[-1]
    assert not list(place.iterdir())


def test_a_class_may_be_called_as_a_column_is() -> None:
    table = tabled(["a.png"], np.array([[0.25, 0.75]], np.float32), ["file", "confidence"])
    first, *each = ["file", "p_file", "p_confidence"]
    assert table.columns.tolist() == [first, "predicted_class", "confidence", *each]
    assert table.iloc[0].tolist() == ["a.png", "confidence", 0.75, 0.25, 0.75]
