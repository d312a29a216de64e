"""A folder of photographs through the pipeline with `backbone: auto`, whole and stage by stage."""

import os
import shutil
import subprocess
import sys

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.faults.resume import Scene, difference, ended, kill_in
from pipeline import data
from pipeline.__main__ import main
from pipeline.config import layers as configuration
from pipeline.networks import backbones
from pipeline.networks.backbones import efficientnet_lite0
from pipeline.runs import flow, logged, resume
from pipeline.runs.clock import Clock
from pipeline.stages import choose as choosing
from pipeline.stages import train as training
from pipeline.stages.choose import Choice
from pipeline.stages.split import choose_split
from pipeline.stages.train import identity
from tests.runs.stored import model

pytestmark = [
    pytest.mark.skipif(backbones.at_hand() == backbones.NONE, reason="needs the extra pretrained"),
    pytest.mark.slow,
]
LITE = "efficientnet_lite0"
COLOURS = {"red": (200, 60, 40), "blue": (60, 40, 200)}
SHORT = {"dataset": "folder", "method": "supervised", "steps": "4", "report_every": "2"}
SHORT |= {"batch_size": "4", "unlabelled_batch_size": "4"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of 15 pictures, plain colours under noise, 64 x 64."""
    root, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for number in range(15):
            pixels = np.array(colour) + random.integers(-40, 40, (64, 64, 3))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(root / name / f"{number}.png")
    return root


@pytest.fixture(autouse=True)
def _brief(monkeypatch):
    shorter = {**choosing.BRIEF, "steps": 2, "report_every": 2}
    monkeypatch.setattr(choosing, "BRIEF", shorter)


def words(folder, **flags):
    pairs = {**SHORT, "data_dir": str(folder), **flags}
    return [word for key, value in pairs.items() for word in (f"--{key}", value)]


def the_run():
    (run,) = mlflow.MlflowClient().search_runs(
        [e.experiment_id for e in mlflow.MlflowClient().search_experiments()]
    )
    return run


def test_a_run_measures_chooses_and_tells_it(store, folder, capsys, monkeypatch):
    said = words(folder, labels_per_class="6", run_name="mine")
    assert main(["run", *said]) == 0
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    run = the_run()
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.runName"] == "mine"
    reason = run.data.tags[flow.CHOICE]
    assert reason in told.err
    # Two steps from scratch do not beat it on colours that its features tell apart.
    assert reason.startswith(f"backbone {LITE}, by the error in 2-fold cross-validation on 12 ")
    assert run.data.params["backbone"] == LITE
    metrics = run.data.metrics
    assert metrics["choice/backbone_error"] <= metrics["choice/from_scratch_error"]
    assert metrics["labels_read"] == metrics["n_labels"] == 12
    assert metrics["test/error"] < 0.35
    loaded = mlflow.pyfunc.load_model(f"models:/{model(run.info.run_id, 'classifier').model_id}")
    pictures = [np.asarray(Image.open(folder / name / "0.png")) for name in ("blue", "red")]
    found = loaded.predict(np.stack(pictures))
    assert np.argmax(found, axis=1).tolist() == [0, 1]
    # Loaded by a later stage, it is called with as many pixels at a time as the backbone sees.
    sizes, real = [], np.pad
    monkeypatch.setattr(training, "CALL_PIXELS", 2 * 128**2 + 5)
    monkeypatch.setattr(training.np, "pad", lambda *given: sizes.append(real(*given)) or sizes[-1])
    model_of_run = resume.load_model(run.info.run_id).model
    np.testing.assert_allclose(model_of_run.classify(np.stack(pictures * 2)), [*found] * 2, 1e-4)
    assert [len(padded) for padded in sizes] == [2, 2]


@pytest.fixture
def large(folder, tmp_path):
    """The same pictures, larger than a network from scratch sees them."""
    large = tmp_path / "large"
    for path in folder.glob("*/*.png"):
        target = large / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((120, 100)).save(target)
    return large


@pytest.mark.parametrize("change", ["a picture", "a class", "a label"])
def test_pictures_that_change_while_the_backbone_is_chosen_end_the_run(
    change, store, large, capsys, monkeypatch
):
    def meanwhile(config, dataset, split):
        one = large / "red" / "0.png"
        if change == "a picture":
            shutil.copy(one, large / "red" / "another.png")
        elif change == "a class":
            (large / "red").rename(large / "green")
        else:
            (large / "labels.csv").write_text("path,label\n" + table.replace(",blue", ",red", 1))
        return Choice(backbones.NONE, "measured")

    names = sorted(str(path.relative_to(large)) for path in large.glob("*/*.png"))
    table = "".join(f"{name},{name.partition('/')[0]}\n" for name in names)
    if change == "a label":
        (large / "labels.csv").write_text("path,label\n" + table)
    monkeypatch.setattr(flow, "choose", meanwhile)
    assert main(["run", *words(large, labels_per_class="4")]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ssgan: data_dir = {large}: its pictures or labels have changed")


def test_pictures_that_stay_are_read_anew_and_arrays_are_not(store, large, monkeypatch):
    loaded, real = [], data.load
    monkeypatch.setattr(data, "load", lambda *given: loaded.append(given) or real(*given))
    monkeypatch.setattr(flow, "choose", lambda *given: Choice(backbones.NONE, "measured"))
    array = large.parent / "some.npz"
    images = np.random.default_rng(0).integers(0, 256, (30, 9, 9, 3), np.uint8)
    labels = np.arange(30) % 2
    np.savez(array, x_train=images, y_train=labels, x_test=images[::-1], y_test=labels[::-1])
    for flags, times in (({}, 2), ({"dataset": "npz", "data_dir": str(array)}, 1)):
        said = {**SHORT, "data_dir": str(large), "labels_per_class": "4", **flags}
        config = configuration.load({**said, "backbone": "auto", "kind": "photos"})
        clock = Clock()
        loaded.clear()
        _, dataset, _, _ = flow._chosen(config, *flow._split(config, clock), clock)
        assert len(loaded) == times
        assert dataset.train_images.shape[1:3] in ((64, 64), (9, 9))


def test_training_goes_on_from_a_split_of_large_pictures(store, large):
    flags = {**SHORT, "data_dir": str(large), "labels_per_class": "1"}
    split = flow.split(configuration.load(flags))
    config, source = resume.continue_from({"run_id": split.run_id}, "train", ("split",))
    assert config.backbone == backbones.AUTO
    assert config.given >= {"steps", "batch_size", "labels_per_class"}
    dataset, again = resume.dataset_and_manifest(config, source)
    assert dataset.train_images.shape[1:] == (96, 96, 3)
    assert len(again.labelled) == 2
    # Named, it is as fine; without one, the pictures are read as the networks from scratch like it.
    for backbone, side in ((LITE, 96), ("none", 64)):
        settled = configuration.with_backbone(config, backbone)
        assert data.of(settled).train_images.shape[1] == side


@pytest.mark.parametrize("backbone", ["auto", LITE])
def test_a_missing_file_of_weights_is_told_in_a_line(backbone, store, folder, capsys, tmp_path):
    missing = tmp_path / "missing.h5"
    said = words(folder, labels_per_class="2", backbone=backbone, backbone_weights=str(missing))
    assert main(["run", *said]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "missing.h5" in line]
    assert len(told) == 1
    assert told[0].startswith("ssgan: ")
    assert "no such file" in told[0].lower()


@pytest.mark.parametrize("at", ["fit", "evaluate"])
def test_a_run_notes_its_weights_and_goes_on_with_the_same_alone(
    at, store, folder, capsys, tmp_path, monkeypatch
):
    weights = tmp_path / "own.pth"
    weights.write_bytes(efficientnet_lite0.found().read_bytes())

    def interrupted(*given, **named):
        if at == "fit":
            real(*given, **named)
        raise KeyboardInterrupt

    real = getattr(logged, at)
    said = {"method": "fixmatch", "labels_per_class": "4", "checkpoint_every": "0"}
    said |= {"backbone": LITE, "backbone_weights": str(weights), "backbone_side": "32"}
    with monkeypatch.context() as patch:
        patch.setattr(logged, at, interrupted)
        assert main(["run", *words(folder, **said)]) == 130
    run = the_run()
    noted = run.data.tags[logged.WEIGHTS]
    assert noted == backbones.described(LITE, None)
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    capsys.readouterr()
    assert main(["run", "--resume", run.info.run_id]) == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ssgan: backbone = {LITE}: run {run.info.run_id} began on {noted}")
    assert "put those back, or start again without resume" in line
    weights.write_bytes(content)
    assert main(["run", "--resume", run.info.run_id]) == 0


def test_a_trainings_checkpoint_is_not_taken_up_on_other_weights(folder, tmp_path):
    weights = tmp_path / "own.pth"
    said = {**SHORT, "data_dir": str(folder), "labels_per_class": "4", "backbone": LITE}
    config = configuration.load({**said, "backbone_weights": str(weights)})
    dataset = data.of(config)
    split, found = choose_split(config, dataset), set()
    content = efficientnet_lite0.found().read_bytes()
    for last in (b"\1", b"\2", b"\1"):
        weights.write_bytes(content[:-1] + last)
        found.add(identity(dataset, split, config))
    assert len(found) == 2


def test_killed_in_the_training_and_in_the_baseline_it_ends_the_same_and_its_model_loads(
    folder, tmp_path
):
    scene = Scene(tmp_path)
    given = {**SHORT, "data_dir": str(folder), "method": "fixmatch", "labels_per_class": "4"}
    given |= {"backbone": LITE, "backbone_side": "32", "steps": "12", "checkpoint_every": "0"}
    said = [word for key, value in given.items() for word in (f"--{key}", value)]
    command = scene.start(*said)
    whole = scene.run_id(command, set())
    code, told = ended(command)
    assert code == 0, told
    command = scene.start(*said)
    run_id = scene.run_id(command, {whole})
    for phase in ("step", "baseline"):
        kill_in(scene, command, run_id, phase, 0)
        command = scene.start("--resume", run_id)
    code, told = ended(command)
    assert code == 0, told
    assert scene.client.get_run(run_id).info.status == "FINISHED"
    assert difference(scene.numbers(whole), scene.numbers(run_id)) == ""

    # In a process that has loaded nothing of ours, its model answers as it did in the run.
    told = pd.read_parquet(
        mlflow.artifacts.download_artifacts(
            run_id=run_id,
            artifact_path="evaluate/predictions.parquet",
            tracking_uri=scene.uri,
            dst_path=str(tmp_path),
        )
    )
    pictures = np.stack([np.asarray(Image.open(folder / name)) for name in told["file"]])
    np.save(tmp_path / "pictures.npy", pictures)
    script = (
        "import sys, mlflow, numpy as np\n"
        "model = mlflow.pyfunc.load_model(f'models:/{sys.argv[1]}')\n"
        "np.save('found.npy', model.predict(np.load('pictures.npy')))\n"
    )
    (entry,) = scene.client.search_logged_models(
        [scene.client.get_run(run_id).info.experiment_id],
        f"source_run_id = '{run_id}' AND tags.`ssgan.role` = 'classifier'",
    )
    there = {**os.environ, "MLFLOW_TRACKING_URI": scene.uri}
    command = [sys.executable, "-c", script, entry.model_id]
    subprocess.run(command, cwd=tmp_path, env=there, check=True, capture_output=True)
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found.max(axis=1), told["confidence"], atol=1e-5)
    of_label = found[np.arange(len(told)), told["label"]]
    np.testing.assert_allclose(of_label, told["p_label"], atol=1e-5)
