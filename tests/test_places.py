"""Where runs and their artifacts go: real stores, real files, MLflow's own launcher."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline import tracking
from pipeline.__main__ import main
from pipeline.config import layers as config
from pipeline.errors import UserError
from pipeline.tracking import launched
from pipeline.tracking.store import sqlite_file

ROOT = Path(__file__).resolve().parent.parent
SPLIT = ["split", "--label_frac", "0.05"]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, which MLflow takes seconds to make."""
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: Path) -> Path:
    """The folder of a store that MLflow has made for a command typed in another folder."""
    (tmp_path / "typed").mkdir()
    monkeypatch.chdir(tmp_path / "typed")
    (tmp_path / "store").mkdir()
    shutil.copy(empty, tmp_path / "store/mlflow.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "store/mlflow.db")) as database:
        default = (str(Path.cwd() / "mlruns/0"),)
        database.execute("UPDATE experiments SET artifact_location = ?", default)
        database.commit()
    use(monkeypatch, tmp_path / "store")
    return tmp_path / "store"


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")


def write(experiment: str | None = "mine") -> str:
    """A run of ours with one artifact; returns its id."""
    with tracking.open_run("pipeline", experiment=experiment, name="a run") as run:
        run.text("held", "a.txt")
    return run.id


def read(run_id: str, folder: Path) -> str:
    assert tracking.source_kind(run_id) == "pipeline"
    return tracking.fetch(run_id, "a.txt", folder).read_text()


def launch(monkeypatch: pytest.MonkeyPatch, experiment: str = "0") -> str:
    """What `mlflow run` does before it starts our command."""
    run_id: str = MlflowClient().create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    return run_id


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


# ---------------------------------------------------------------- beside the store


def test_artifacts_go_beside_the_store_wherever_the_command_is_typed(place, capsys, monkeypatch):
    place = place / "new"  # where nothing is yet
    use(monkeypatch, place)
    run_id = write()
    assert (place / "mlruns/1" / run_id / "artifacts/a.txt").read_text() == "held"
    assert not files(Path.cwd())
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("experiment", ["Default", "named"])
def test_so_do_those_of_a_run_that_the_launcher_has_made(place, monkeypatch, capsys, experiment):
    client = MlflowClient()
    there = "0" if experiment == "Default" else client.create_experiment(experiment)
    run_id = launch(monkeypatch, there)
    assert str(Path.cwd()) in client.get_run(run_id).info.artifact_uri  # what MLflow does
    assert write() == run_id
    (found,) = place.rglob("a.txt")
    assert found == place / "mlruns" / there / run_id / "artifacts/a.txt"
    assert not files(Path.cwd())
    assert capsys.readouterr().err == ""  # nobody had anything there
    monkeypatch.delenv("MLFLOW_RUN_ID")
    assert str(place) in client.get_run(launch(monkeypatch, there)).info.artifact_uri


def test_models_follow_and_earlier_runs_stay_where_they_are(place, monkeypatch, capsys):
    client = MlflowClient()
    there = client.create_experiment("mine")
    earlier = client.create_run(there).info.run_id
    client.log_text(earlier, "old", "a.txt")
    write()
    assert "those of 1 earlier run stay in" in capsys.readouterr().err
    location = client.create_logged_model(there, "classifier").artifact_location
    assert location.startswith(str(place / "mlruns" / there))
    assert Path(client.download_artifacts(earlier, "a.txt")).read_text() == "old"
    write()
    assert capsys.readouterr().err == ""  # said once


def test_a_place_that_somebody_chose_stays(place, tmp_path):
    chosen = tmp_path / "big disk" / "mlruns" / "of mine"
    MlflowClient().create_experiment("mine", artifact_location=str(chosen))
    run_id = write()
    assert (chosen / run_id / "artifacts/a.txt").exists()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_made(place, tmp_path):
    blocked = tmp_path / "a file"
    blocked.touch()
    client = MlflowClient()
    there = client.create_experiment("mine", artifact_location=str(blocked / "inside"))
    with pytest.raises(UserError, match=r"'mine' keeps its artifacts in .*a file.*choose another"):
        write()
    assert not client.search_runs([there])


@pytest.mark.parametrize("uri", ["http://host:5000", "postgresql://host/db", "sqlite:///:memory:"])
def test_a_store_that_is_no_file_has_nothing_beside_it(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert sqlite_file() is None


# ---------------------------------------------------------------- moved


@pytest.fixture
def held(place: Path) -> str:
    """A run with an artifact, a model and a registered version of it."""
    run_id = write()
    client = MlflowClient()
    model = client.create_logged_model("1", "classifier", source_run_id=run_id)
    folder = Path(model.artifact_location)
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text("a model")
    client.create_registered_model("best")
    client.create_model_version("best", f"models:/{model.model_id}")
    return run_id


def test_a_moved_folder_says_so_and_everything_is_found_again(
    held, place, monkeypatch, capsys, tmp_path
):
    moved = tmp_path / "moved"
    place.rename(moved)
    use(monkeypatch, moved)
    assert read(held, tmp_path) == "held"
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{moved}/mlflow.db was moved" in line
    assert f"from {place}/mlruns: those of 1 earlier run are found again" in line
    client = MlflowClient()
    (model,) = client.search_logged_models(["1"])
    assert Path(model.artifact_location, "MLmodel").read_text() == "a model"
    version = client.get_model_version_download_uri("best", "1")
    assert Path(version) == Path(model.artifact_location)
    assert files(moved / "mlruns" / "1" / write()) == ["a.txt"]
    assert not place.exists()
    assert capsys.readouterr().err == ""


def test_the_launcher_s_run_of_a_moved_folder_goes_to_the_new_one(
    held, place, monkeypatch, capsys, tmp_path
):
    moved = tmp_path / "moved"
    place.rename(moved)
    use(monkeypatch, moved)
    run_id = launch(monkeypatch, "1")
    assert str(place) in MlflowClient().get_run(run_id).info.artifact_uri
    assert write() == run_id
    assert files(moved / "mlruns" / "1" / run_id) == ["a.txt"]
    assert not place.exists()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_copy_leaves_the_original_alone(held, place, monkeypatch, capsys, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    before = sorted(place.rglob("*"))
    use(monkeypatch, copy)
    run_id = write()
    assert files(copy / "mlruns" / "1" / run_id) == ["a.txt"]
    assert f"those of 1 earlier run stay in {place}/mlruns/1" in capsys.readouterr().err
    assert sorted(place.rglob("*")) == before
    shutil.rmtree(place)
    assert read(held, tmp_path) == "held"


def test_artifacts_that_were_left_behind_are_found_when_they_follow(
    held, place, monkeypatch, capsys, tmp_path
):
    """A path is never changed without its files in the new place."""
    moved = tmp_path / "moved"
    moved.mkdir()
    (place / "mlflow.db").rename(moved / "mlflow.db")
    (place / "mlruns").rename(tmp_path / "elsewhere")
    use(monkeypatch, moved)
    write()
    assert f"are lost: {place}/mlruns/1 is gone" in capsys.readouterr().err
    assert str(place) in MlflowClient().get_run(held).info.artifact_uri
    shutil.copytree(tmp_path / "elsewhere", moved / "mlruns", dirs_exist_ok=True)
    assert read(held, tmp_path) == "held"


# ---------------------------------------------------------------- which run, which experiment


def ended(client: MlflowClient) -> str:
    return write()


def deleted(client: MlflowClient) -> str:
    run_id: str = client.create_run("0").info.run_id
    client.delete_run(run_id)
    return run_id


def begun(client: MlflowClient) -> str:
    """Another process writes it."""
    return client.create_run("0", tags={tracking.KIND: "pipeline"}).info.run_id  # type: ignore[no-any-return]


def missing(client: MlflowClient) -> str:
    return "0" * 32


@pytest.mark.parametrize(
    ("named", "why"),
    [
        (ended, "has ended (FINISHED)"),
        (deleted, "was deleted"),
        (begun, "another command writes that run"),
        (missing, "there is no such run"),
    ],
)
@pytest.mark.parametrize("mistake", [[], ["--label_frac", "7"]])
def test_a_run_that_is_not_to_be_begun_is_refused_and_left_as_it_is(
    place, monkeypatch, capsys, named, why, mistake
):
    client = MlflowClient()
    run_id = named(client)
    there = None if named is missing else client.get_run(run_id).to_dictionary()
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    assert main([*SPLIT, *mistake]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    if not mistake:
        assert f"MLFLOW_RUN_ID = '{run_id}': " in line
        assert why in line
        assert "unset MLFLOW_RUN_ID" in line
    if there:
        assert client.get_run(run_id).to_dictionary() == there


def test_a_search_does_not_write_to_a_run_that_has_ended(place, monkeypatch):
    run_id = write()
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    with pytest.raises(UserError, match="has ended"):
        tracking.study_run("ssgan/study", "study", ["label_frac"])
    assert MlflowClient().get_experiment_by_name("ssgan/study") is None


@pytest.mark.parametrize(
    ("flag", "name", "by_id", "expected"),
    [
        (None, None, False, "ssgan"),
        (None, "named", False, "named"),
        (None, None, True, "numbered"),
        (None, "named", True, "named"),
        ("flagged", "named", True, "flagged"),
        ("ssgan", "named", False, "ssgan"),
    ],
)
def test_flag_over_environment_over_default(place, monkeypatch, flag, name, by_id, expected):
    client = MlflowClient()
    if name:
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    if by_id:
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", client.create_experiment("numbered"))
    run_id = write(config.load({"experiment": flag} if flag else {}).experiment)
    held_in = client.get_experiment(client.get_run(run_id).info.experiment_id)
    assert held_in.name == expected


def test_an_experiment_s_number_that_is_not_there(place, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    assert main(SPLIT) == 2
    assert "MLFLOW_EXPERIMENT_ID = '77': there is no such experiment" in capsys.readouterr().err


# ---------------------------------------------------------------- what the launcher leaves


@pytest.fixture
def building(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """`mlflow run`, as it waits for conda to make the environment."""
    conda = place.parent / "conda"
    conda.write_text("#!/bin/sh\nexec sleep 600\n")
    conda.chmod(0o755)
    monkeypatch.setenv("MLFLOW_CONDA_HOME", "")
    paths = (str(place.parent), str(Path(sys.executable).parent), os.environ["PATH"])
    process = subprocess.Popen(
        ["mlflow", "run", str(ROOT), "-e", "split"],
        env={**os.environ, "PATH": os.pathsep.join(paths), "MLFLOW_CONDA_HOME": ""},
        start_new_session=True,
    )
    yield process
    os.killpg(process.pid, signal.SIGKILL)


def test_a_launched_run_is_ended_once_its_launcher_is_gone(building, place, monkeypatch, capsys):
    client = MlflowClient()
    deadline = time.monotonic() + 60
    query = "tags.`mlflow.project.env` = 'conda'"
    while not (found := client.search_runs(["0"], query)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    run_id = found[0].info.run_id

    def swept() -> str:
        launched.sweep.cache_clear()
        launched.sweep("", None)
        return client.get_run(run_id).info.status  # type: ignore[no-any-return]

    others = [
        client.create_run("0", tags=tags).info.run_id
        for tags in (
            {"mlflow.source.type": "PROJECT", "mlflow.source.name": "/of another"},
            {**found[0].data.tags, "mlflow.user": "somebody"},
            {**found[0].data.tags, tracking.KIND: "pipeline"},
        )
    ]
    assert swept() == "RUNNING"
    building.kill()
    building.wait()
    assert swept() == "FAILED"
    assert "1 run that mlflow run had left RUNNING" in capsys.readouterr().err
    assert "--env-manager local" in client.get_run(run_id).data.tags["ssgan.reason"]
    assert {client.get_run(other).info.status for other in others} == {"RUNNING"}
    # Should the launcher have lived after all, its command goes on with the run.
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    assert write() == run_id
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "ssgan.reason" not in run.data.tags
