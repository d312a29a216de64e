"""Every mistake gets one line and its exit code; no run is left half-written."""

import shutil
import socket
import struct
import time

import mlflow
import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.data._idx import FILES
from tests.command_line.common import runs, write_npz

# ---------------------------------------------------------------- before any store is touched


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "--label_frac", "0"], "label_frac = '0' (from --label_frac)"),
        (["run", "--label_frac", "-0.1"], "label_frac = '-0.1' (from --label_frac)"),
        (["split", "--label_frac=nan"], "label_frac = 'nan' (from --label_frac)"),
        (["run", "--label_farc", "0.1"], "did you mean label_frac?"),
        (["run", "--penalty_weight", "much"], "penalty_weight = 'much' (from --penalty_weight)"),
        (["run", "--penalty_weight=-1"], "penalty_weight = '-1' (from --penalty_weight)"),
        (["run", "--dataset", "mnsit"], "did you mean mnist?"),
        (["run", "--method", "gan"], "known: "),
        (["run", "--config", "none.yaml"], "(No such file or directory) (looked for /"),
        (["run", "--label_frac", "0.001"], "use label_frac=0.007 or more"),
        (
            ["run", "--dataset", "mnist", "--data_dir", "lost"],
            "data_dir=lost does not exist (looked for /",
        ),
        (["run", "--split_file", "none.parquet"], "none.parquet does not exist (looked for /"),
        (["run", "garbage"], "'garbage'"),
        (["run", "--label_frac", "0.1", "0.2"], "'0.2'"),
        (["run", "--label_frac"], "--label_frac: expected one argument"),
        (["run", "--label_frac", ""], "--label_frac: expected a value, it is empty"),
        (["split", "--config", ""], "--config: expected a value, it is empty"),
        (["run", "--penalty_weight"], "--penalty_weight: expected a value"),
        (["fly"], "'fly'"),
        ([], "command"),
        (["train"], "train needs run_id"),
        (["evaluate", "--run_id", ""], "evaluate needs run_id"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_gets_one_line_and_makes_no_store(argv, says, told, store, tmp_path):
    assert says in told(*argv)
    assert not list(tmp_path.iterdir())


def test_damaged_data_get_one_line_and_make_no_store(told, store, tmp_path):
    idx, npz = tmp_path / "idx", tmp_path / "own.npz"
    idx.mkdir()
    for name, shape in zip(FILES, [(40, 28, 28), (40,), (20, 28, 28), (20,)], strict=True):
        header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
        (idx / name).write_bytes(header + bytes(int(np.prod(shape)) - 1))
    line = told("run", "--dataset", "mnist", "--data_dir", str(idx))
    assert str(idx / FILES[0]) in line
    write_npz(npz, np.array([0, 1, 3] * 4))
    line = told("run", "--dataset", "npz", "--data_dir", str(npz))
    assert "class 2 has no label among the training images" in line
    assert not (tmp_path / "mlflow.db").exists()


# ---------------------------------------------------------------- continuing from a run


def test_a_run_id_that_cannot_be_continued(told, split_run):
    client, before = mlflow.MlflowClient(), len(runs())
    foreign = client.create_run("0").info.run_id
    assert "there is no such run in sqlite:" in told("train", "--run_id", "f" * 32)
    assert "there is no such run in sqlite:" in told("train", "--run_id", "../x' or 1")
    assert "not made by ssgan" in told("train", "--run_id", foreign)
    line = told("evaluate", "--run_id", split_run)
    assert "of kind 'split'; evaluate continues from train or pipeline" in line
    others = {"label_frac": "0.2", "split_seed": "1", "dataset": "npz", "labels_per_class": "10"}
    for key, value in others.items():
        line = told("train", "--run_id", split_run, f"--{key}", value)
        assert key in line
        assert value in line
        assert split_run in line
    assert "gann_weight" in told("train", "--run_id", split_run, "--gann_weight", "1")
    client.delete_run(foreign)
    assert len(runs()) == before


def test_data_that_changed_under_a_run_id(told, shared, tmp_path):
    npz, labels = tmp_path / "own.npz", np.arange(30) % 3
    write_npz(npz, labels)
    flags = ["--dataset", "npz", "--data_dir", str(npz), "--label_frac", "0.5"]
    assert main(["split", *flags, "--experiment", "npz"]) == 0
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("npz").experiment_id
    (source,) = client.search_runs([experiment])
    write_npz(npz, labels[::-1])
    line = told("train", "--run_id", source.info.run_id)
    assert str(npz) in line
    assert "not the data of run" in line
    assert len(client.search_runs([experiment])) == 1


# ---------------------------------------------------------------- a store that cannot be used


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("place", ["under a file", "a folder", "no database", "no server"])
def test_a_store_that_cannot_be_used_is_told_within_seconds(place, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "file"
    file.write_text("this is no database" * 1000)
    uri = {
        "under a file": f"sqlite:///{file}/mlflow.db",
        "a folder": f"sqlite:///{tmp_path}",  # SQLite says of it what it says of a locked folder
        "no database": f"sqlite:///{file}",
        "no server": f"http://127.0.0.1:{free_port()}",
    }[place]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    begin = time.monotonic()
    code = 1 if place == "no server" else 2  # a server may come back, the others are mistakes
    assert f"the MLflow store {uri} cannot be used" in told("split", code=code)
    assert time.monotonic() - begin < 15  # the default of MLflow waits for four minutes
    if place == "a folder":  # the run of `mlflow run` cannot be ended: still one line
        monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
        assert "label_frac" in told("run", "--label_frac", "0")


def test_an_artifact_folder_that_cannot_be_written(told, shared, tmp_path, monkeypatch):
    shutil.copy(shared / "mlflow.db", tmp_path)
    (tmp_path / "mlruns").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    line = told("split", "--experiment", "no artifacts")
    assert f"keeps its artifacts in {tmp_path}/mlruns" in line
    assert "cannot be written (Not a directory)" in line
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("no artifacts").experiment_id
    assert not client.search_runs([experiment])
    # The run of `mlflow run` is there already.
    launched = client.create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", launched)
    assert told("split") == line
    run = client.get_run(launched)
    assert run.info.status == "FAILED"
    assert f"ssgan: {run.data.tags['ssgan.reason']}" == line.strip()


def test_a_value_that_changes_nothing_is_told(shared, capsys):
    assert main(["split", "--labels_per_class", "3", "--stratified", "no"]) == 0
    assert "stratified = False changes nothing: labels_per_class" in capsys.readouterr().err


def test_a_run_id_in_a_file_is_that_of_the_command_line(told, shared, tmp_path, split_run):
    file = tmp_path / "own.yaml"
    file.write_text(f"seed: 1\nrun_id: {split_run}\n")
    given = ("--config", str(file))
    for command in ("run", "split"):
        line = told(command, *given)
        assert f"run_id = '{split_run}' (from {file}, line 2): {command} starts anew" in line
    assert "of kind 'split'; evaluate continues from" in told("evaluate", *given)
    assert "there is no such run" in told("train", *given, "--run_id", "f" * 32)
