"""A run whose process was killed is ended by the next command; one that lives is left alone."""

import builtins
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from pipeline import life
from pipeline.tracking import dead
from pipeline.tracking.runs import open_run
from pipeline.tracking.store import REASON, connect

ROOT = Path(__file__).resolve().parent.parent
LONG = ["--method", "supervised", "--steps", "1000000", "--baseline", "false"]


@pytest.fixture(autouse=True)
def _looks_anew():
    dead.sweep.cache_clear()


def running():
    client = connect()
    places = [e.experiment_id for e in client.search_experiments()]
    return client.search_runs(places, "attributes.status = 'RUNNING'")


def next_command():
    with open_run("split", experiment="e", name="the next one"):
        pass


def test_a_killed_run_is_ended_and_says_why(store, tmp_path, capsys):
    command = [sys.executable, "-m", "pipeline", "run", *LONG]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 120
    while not running():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.5)
    next_command()
    [run] = running()  # it lives
    dead.sweep.cache_clear()
    process.send_signal(signal.SIGKILL)
    process.wait()
    capsys.readouterr()
    next_command()
    ended = mlflow.MlflowClient().get_run(run.info.run_id)
    assert ended.info.status == "KILLED"
    assert "its process is gone" in ended.data.tags[REASON]
    assert capsys.readouterr().err.startswith("ssgan: 1 run left RUNNING by a process that is gone")


def made(**changes):
    """A run whose sign of life says something else."""
    client = connect()
    sign = json.dumps({**life.sign(), **changes})
    return client.create_run("0", tags={dead.PROCESS: sign}).info.run_id


def test_only_runs_of_this_machine_whose_process_is_gone_are_ended(store):
    gone = made(started="long ago")
    kept = [made(), made(host="another", started="long ago")]
    client = connect()
    kept.append(client.create_run("0").info.run_id)
    kept.append(client.create_run("0", tags={dead.PROCESS: "no pid of json"}).info.run_id)
    trial = {dead.PROCESS: json.dumps({**life.sign(), "started": "x"}), "ssgan.kind": "trial"}
    kept.append(client.create_run("0", tags=trial).info.run_id)
    next_command()
    assert client.get_run(gone).info.status == "KILLED"
    assert {client.get_run(run).info.status for run in kept} == {"RUNNING"}


def test_a_process_that_another_user_may_not_look_at_lives(monkeypatch):
    """As under `mount -o hidepid=2 /proc`."""
    seen = {**life.sign(), "pid": os.getppid(), "started": life._started(os.getppid())}
    hidden = {**seen, "started": life.UNREADABLE}  # of an owner without /proc
    assert not life.gone(seen)
    assert not life.gone(hidden)
    assert life.gone({**seen, "started": "1"})
    opened = builtins.open

    def kill(pid, number):
        raise PermissionError(1, "Operation not permitted")

    def shown(file, *args, **options):
        if str(file).startswith("/proc/"):
            raise FileNotFoundError(2, "No such file or directory")
        return opened(file, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "kill", kill)
        patch.setattr(builtins, "open", shown)
        assert not life.gone(seen)
        assert not life.gone(hidden)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert life.gone({**seen, "pid": ended.pid})
    assert life.gone({**hidden, "pid": ended.pid})
