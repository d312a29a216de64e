"""Several commands make one new SQLite store, and some are killed meanwhile: it works for all."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import mlflow
import pytest

from pipeline.tracking import new_store
from pipeline.tracking.store import connect

ROOT = Path(__file__).resolve().parent.parent
OPEN = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from pipeline.tracking.store import connect
print("ready", flush=True)
sys.stdin.readline()
client = connect()
client.create_run(client.get_experiment_by_name("Default").experiment_id)
"""


def begun(count):
    """Processes that wait for a line, and then open the store of this folder."""
    each = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", OPEN, str(ROOT)]
    processes = [subprocess.Popen(command, text=True, **each) for _ in range(count)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    return processes


def go(processes):
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def runs():
    client = connect()
    return len(client.search_runs([client.get_experiment_by_name("Default").experiment_id]))


@pytest.mark.slow
def test_commands_that_make_a_store_at_once_all_succeed(store, tmp_path):
    processes = begun(4)
    go(processes)
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, "")
    assert runs() == len(processes)
    assert not list(tmp_path.glob(f"*{new_store.UNFINISHED}*"))


def test_a_command_killed_while_it_makes_a_store_leaves_no_ruin(store, tmp_path):
    [process] = begun(1)
    go([process])
    end = time.monotonic() + 60
    while not list(tmp_path.glob(f".mlflow.db{new_store.UNFINISHED}*")):
        assert time.monotonic() < end
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "mlflow.db").exists()
    assert list(tmp_path.glob(f".mlflow.db{new_store.UNFINISHED}*"))
    assert runs() == 0
    assert not list(tmp_path.glob(f".mlflow.db{new_store.UNFINISHED}*"))


def test_an_empty_file_becomes_a_store_and_a_store_is_left_alone(store, tmp_path):
    file = tmp_path / "mlflow.db"
    file.touch()
    mlflow.MlflowClient()
    connect()
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE ours (x)")
    connect()
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT count(*) FROM ours").fetchone() == (0,)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(OSError, match="file"):
        new_store.make(blocked / "mlflow.db", tmp_path)


def test_a_folder_with_a_space_gets_no_twin(tmp_path):
    folder = tmp_path / "my dir ä"
    folder.mkdir()
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import mlflow, os;"
        "from pipeline.tracking.store import connect; client = connect();"
        "run = client.create_run(client.create_experiment('e'));"
        "client.log_text(run.info.run_id, 'x', 'x.txt'); print(os.environ['MLFLOW_TRACKING_URI'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-c", script, str(ROOT)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"sqlite:///{folder}/mlflow.db\n", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["my dir ä"]
    assert {"mlflow.db", "mlruns"} <= {path.name for path in folder.iterdir()}
    assert list(folder.glob("mlruns/**/x.txt"))
    # The same by the address that SQLAlchemy itself would give.
    escaped = f"sqlite:///{quote(str(folder))}/mlflow.db"
    script = script.replace("create_experiment('e')", "get_experiment_by_name('e').experiment_id")
    environment["MLFLOW_TRACKING_URI"] = escaped
    command = [sys.executable, "-c", script, str(ROOT)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"sqlite:///{folder}/mlflow.db\n", done.stderr
    assert len(list(folder.glob("mlruns/**/x.txt"))) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["my dir ä"]


@pytest.mark.parametrize("name", ["a%20b", "100%25", "what?"])
def test_a_folder_that_mlflow_would_take_for_another_is_refused(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-m", "pipeline", "split"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"ssgan: the MLflow store {folder}/mlflow.db cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert not list(folder.iterdir())
