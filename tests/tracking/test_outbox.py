"""A store that is away loses nothing: a real store, locked by another connection or refused."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline import interrupts, progress, tracking
from pipeline.__main__ import main
from pipeline.command_line import EXIT_FAILURE, guarded
from pipeline.errors import RunFailure
from pipeline.tracking import outbox, spool
from pipeline.tracking.run import Run
from pipeline.tracking.sending import Delivery, images

ROOT = Path(__file__).resolve().parents[2]
IMAGE = np.full((8, 8, 3), 7, np.uint8)
STEPS = range(5)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a store that says at once when it is locked, and is tried again at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db?timeout=0.1")
    monkeypatch.setattr(outbox, "PAUSES", (0.05, 0.05))
    outbox.unsent()
    return tmp_path / "mlflow.db"


@contextlib.contextmanager
def away(store: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(store, timeout=60)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


def until(asked: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not asked():
        assert time.monotonic() < end
        time.sleep(0.02)


def write(run: Run, step: int) -> None:
    run.metrics({"loss": step / 2, "error": 1.0}, step)
    run.image(IMAGE, "samples", step)


def points(run_id: str, key: str = "loss") -> list[tuple[int, float]]:
    history = mlflow.MlflowClient().get_metric_history(run_id, key)
    return [(point.step, point.value) for point in sorted(history, key=lambda p: p.timestamp)]


def status(run_id: str) -> str:
    return str(mlflow.MlflowClient().get_run(run_id).info.status)


def text(run_id: str, path: str, folder: Path) -> str:
    return tracking.fetch(run_id, path, folder).read_text()


@pytest.mark.slow
def test_what_is_told_while_the_store_is_away_comes_in_order_and_once(quick, tmp_path):
    with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
        write(run, 0)
        run.outbox.sent()
        with away(quick):
            for step in STEPS[1:]:
                write(run, step)
            run.params({"seed": 3})
            run.tags({"said": "now"})
            run.text("held", "inside/a.txt")
            run.table(pd.DataFrame({"n": [1, 2]}), "inside/b.csv")
            until(lambda: run.outbox.away)
            assert len(run.outbox.spool.waiting()) >= len(STEPS)
    assert points(run.id) == [(step, step / 2) for step in STEPS]
    client = mlflow.MlflowClient()
    assert images(client, run.id) == {("samples", step) for step in STEPS}
    assert len(client.list_artifacts(run.id, "images")) == 2 * len(STEPS)
    known = client.get_run(run.id)
    assert known.data.params == {"seed": "3"}
    assert known.data.tags["said"] == "now"
    assert known.info.status == "FINISHED"
    assert text(run.id, "inside/a.txt", tmp_path) == "held"
    assert not spool.folders()
    assert outbox.unsent() == ""


def test_every_record_may_be_sent_twice(quick):
    with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
        send = Delivery.send

        def twice(self: Delivery, entry: spool.Entry, again: bool) -> None:
            send(self, entry, again)
            send(self, entry, True)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Delivery, "send", twice)
            for step in STEPS:
                write(run, step)
            run.params({"seed": 3})
            run.dataset("digits", "0123abcd", IMAGE[None])
            begun = {"parent": run.id, "name": "child", "begun": 5, "tried": False}
            begun["tags"] = {"ssgan.kind": "c"}
            run.outbox.put("child", "begun-1", **begun)
            run.outbox.put(
                "metrics", "begun-1", values={"n": 1.0}, step=0, time=7, model="", dataset=("", "")
            )
            assert run.outbox.sent()
    client = mlflow.MlflowClient()
    assert points(run.id) == [(step, step / 2) for step in STEPS]
    assert len(client.list_artifacts(run.id, "images")) == 2 * len(STEPS)
    assert len(client.get_run(run.id).inputs.dataset_inputs) == 1
    (child,) = client.search_runs([run.experiment_id], f"tags.`mlflow.parentRunId` = '{run.id}'")
    assert points(child.info.run_id, "n") == [(0, 1.0)]


@pytest.mark.slow
def test_a_store_that_stays_away_leaves_the_records_for_sync(quick, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(outbox, "HURRIED", 0.1)
    with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
        run.outbox.sent()
    with contextlib.ExitStack() as gone:
        gone.enter_context(progress.shown(0))
        with tracking.open_run("pipeline", experiment="mine", name="a run", patience=0.2) as run:
            write(run, 0)
            run.outbox.sent()
            gone.enter_context(away(quick))
            write(run, 1)
            until(lambda: run.outbox.away)
            with tracking.open_run("baseline", experiment=None, name="b", parent=run) as child:
                child.metrics({"loss": 9.0}, 4)
                assert child.id.startswith("begun-")
        with pytest.raises(tracking.StoreAway, match="python -m pipeline sync") as left:
            tracking.check_sent()
        assert str(run.outbox.spool.folder) in str(left.value)
        said = capsys.readouterr().err
        assert "Meanwhile the work goes on" in said
        assert said.count("waiting up to 0 s for the MLflow store; Ctrl-C ends the wait") == 1
        assert main(["sync"]) == 1  # still locked
        assert "another process has locked it" in capsys.readouterr().err
    assert status(run.id) == "RUNNING"
    assert main(["sync"]) == 0
    assert "records of 1 run sent" in capsys.readouterr().out
    assert points(run.id) == [(0, 0.0), (1, 0.5)]
    assert status(run.id) == "FINISHED"
    client = mlflow.MlflowClient()
    (there,) = client.search_runs([run.experiment_id], f"tags.`mlflow.parentRunId` = '{run.id}'")
    assert there.info.status == "FINISHED"
    assert points(there.info.run_id) == [(4, 9.0)]
    assert main(["sync"]) == 0
    assert "Nothing waits." in capsys.readouterr().out


def test_what_is_used_of_a_value_that_was_typed_stands_in_a_tag(quick):
    client = mlflow.MlflowClient()
    with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
        for key, value in {"backbone": "auto", "seed": "3"}.items():  # by `mlflow run`
            client.log_param(run.id, key, value)
        run.params({"backbone": "none", "seed": 3, "steps": 60})
    there = client.get_run(run.id).data
    assert there.params == {"backbone": "auto", "seed": "3", "steps": "60"}
    assert there.tags["ssgan.used"] == "backbone=none"


def test_a_run_that_is_done_again_counts_for_nothing_once_the_store_is_back(quick, monkeypatch):
    monkeypatch.setattr(outbox, "HURRIED", 0.1)
    with contextlib.ExitStack() as gone:
        with tracking.open_run("trial", experiment="mine", name="a run", patience=0.2) as run:
            run.outbox.sent()
            gone.enter_context(away(quick))
            write(run, 1)
        with pytest.raises(tracking.StoreAway):
            tracking.check_sent()
        tracking.disown(run, "trained again")
    until(lambda: not run.outbox._sender.is_alive())
    assert main(["sync"]) == 0
    assert points(run.id) == [(1, 0.5)]
    assert status(run.id) == "KILLED"
    assert mlflow.MlflowClient().get_run(run.id).data.tags["ssgan.reason"] == "trained again"


KILLED = """
import os, sqlite3, sys
from pipeline import progress, interrupts, tracking
with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
    run.metrics({"loss": 0.0}, 0)
    run.outbox.sent()
    database = sqlite3.connect(sys.argv[1]); database.execute("BEGIN EXCLUSIVE")
    run.metrics({"loss": 0.5}, 1)
    print(run.id, flush=True)
    os._exit(9)
"""


def test_a_killed_process_leaves_what_it_has_told(quick, capsys):
    words = [sys.executable, "-c", KILLED, str(quick)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(words, capture_output=True, text=True, check=False, env=env)
    run_id = found.stdout.strip()
    assert found.returncode == 9, found.stderr
    assert points(run_id) == [(0, 0.0)]
    with tracking.open_run("pipeline", experiment="mine", name="the next"):
        pass  # sends what others have left, and then ends whose process is gone
    assert points(run_id) == [(0, 0.0), (1, 0.5)]
    assert status(run_id) == "KILLED"  # it had not ended


class EndpointError(Exception):
    """As botocore's: of no kind that MLflow or Python has."""


def failing(run: Run, monkeypatch: pytest.MonkeyPatch, said: str, times: int) -> list[int]:
    """Let the store of the artifacts fail so many times; the attempts."""
    send, tried = run.client.log_artifact, []

    def log_artifact(*args: object) -> None:
        tried.append(1)
        if len(tried) <= times:
            raise EndpointError(said)
        send(*args)

    monkeypatch.setattr(run.client, "log_artifact", log_artifact)
    return tried


@pytest.mark.parametrize(
    ("said", "times"), [("no such kind", 1), ('Could not connect to the endpoint URL: "s"', 9)]
)
def test_a_store_of_artifacts_that_is_away_is_tried_again(quick, monkeypatch, said, times):
    with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
        tried = failing(run, monkeypatch, said, times)
        run.text("held", "a.txt")
        run.metrics({"loss": 1.0})
    assert len(tried) == times + 1
    assert [file.path for file in mlflow.MlflowClient().list_artifacts(run.id)] == ["a.txt"]
    assert status(run.id) == "FINISHED"


def test_an_error_that_nobody_knows_is_believed_in_the_end(quick, monkeypatch, capsys):
    opened = tracking.open_run("pipeline", experiment="mine", name="a run")
    run = opened.__enter__()
    failing(run, monkeypatch, "no such kind", 99)
    run.text("held", "a.txt")
    until(lambda: run.outbox._refused)
    with pytest.raises(RunFailure, match="no such kind") as told:
        run.metrics({"loss": 2.0})
    assert not opened.__exit__(RunFailure, told.value, None)
    until(lambda: not run.outbox._sender.is_alive())


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("413 Client Error: Request Entity Too Large for url: http://h/a", "client_max_body_size"),
        ("API request to endpoint /a failed with error code 403 != 200.", "MLFLOW_TRACKING_TOKEN"),
        ("401 Client Error: Unauthorized for url: http://h/a", "MLFLOW_TRACKING_TOKEN"),
    ],
)
def test_sync_names_the_record_and_what_helps(quick, monkeypatch, capsys, said, advice):
    monkeypatch.setattr(outbox, "HURRIED", 0.0)
    with tracking.open_run("pipeline", experiment="mine", name="a run", patience=0.0) as run:
        run.outbox.sent()

        def refuse(self: mlflow.MlflowClient, *args: object) -> None:
            raise OSError(said)

        monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", refuse)
        run.text("held", "a.txt")
    assert advice in outbox.unsent()
    until(lambda: not run.outbox._sender.is_alive())
    assert main(["sync"]) == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert re.search(rf"record \d of {run.outbox.spool.folder}: ", line)
    assert advice in line


def test_what_the_store_refuses_ends_the_run_in_one_line(quick, capsys):
    opened = tracking.open_run("pipeline", experiment="mine", name="a run")
    run = opened.__enter__()
    mlflow.MlflowClient().delete_run(run.id)
    run.metrics({"loss": 1.0})
    until(lambda: run.outbox._refused)
    with pytest.raises(RunFailure, match="refuses") as told:
        run.metrics({"loss": 2.0})
    assert not opened.__exit__(RunFailure, told.value, None)
    said = capsys.readouterr().err
    assert "refuses" in said
    assert str(run.outbox.spool.folder) in said
    assert not outbox.unsent()  # the next run's end is not asked for it
    folder = run.outbox.spool.folder
    assert main(["sync"]) == 1  # told again, and kept
    assert folder.is_dir()


def test_what_is_not_sent_is_told_without_a_password(quick, capsys, monkeypatch):
    monkeypatch.setattr(outbox, "HURRIED", 0.0)
    monkeypatch.setattr(outbox, "SILENCE", 0.0)
    opened = tracking.open_run("pipeline", experiment="mine", name="a run", patience=0.0)
    run = opened.__enter__()
    run.outbox.sent()
    with away(quick):
        run.outbox.uri = "https://me:s3cret-of-mine@host"
        run.metrics({"loss": 1.0})
        assert not opened.__exit__(RunFailure, RunFailure("lost"), None)
    said = capsys.readouterr().err
    assert f"not all records of run {run.id} are sent" in said
    assert "https://me:…@host" in said
    assert "s3cret" not in said
    until(lambda: not run.outbox._sender.is_alive())


def interrupted(folder: Path) -> None:
    (folder / "a.txt").write_text("x")
    signal.raise_signal(signal.SIGTERM)


def test_an_interrupt_while_a_record_is_written_loses_none(quick):
    def stopped(run: Run) -> None:
        run.outbox.put("artifact", run.id, interrupted, path="a.txt")

    opened = tracking.open_run("pipeline", experiment="mine", name="a run")
    with interrupts.listening():
        run = opened.__enter__()
        with pytest.raises(KeyboardInterrupt) as raised:
            stopped(run)
        assert not opened.__exit__(KeyboardInterrupt, raised.value, None)
    assert [file.path for file in mlflow.MlflowClient().list_artifacts(run.id)] == ["a.txt"]
    assert status(run.id) == "KILLED"
    assert not spool.folders()


@pytest.mark.slow
def test_an_interrupt_of_the_wait_at_the_end_ends_nothing_else(quick, monkeypatch, capsys):
    monkeypatch.setattr(outbox, "HURRIED", 0.1)
    runs = []

    def command() -> None:
        with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
            runs.append(run)
            run.outbox.sent()
            gone.enter_context(away(quick))
            write(run, 1)
            until(lambda: run.outbox.away)
            close = run.outbox.close

            def closing(patience: float) -> bool:
                signal.raise_signal(signal.SIGINT)
                return close(patience)

            monkeypatch.setattr(run.outbox, "close", closing)
        print("the result")
        tracking.check_sent()

    with contextlib.ExitStack() as gone:
        assert guarded(command) == EXIT_FAILURE
    out, err = capsys.readouterr()
    assert out == "the result\n"
    assert "python -m pipeline sync" in err.splitlines()[-1]
    until(lambda: not runs[0].outbox._sender.is_alive())
    assert main(["sync"]) == 0
    assert status(runs[0].id) == "FINISHED"


def test_a_full_disk_is_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(spool, "LOOK", 0.01)
    tried = []

    def save() -> None:
        tried.append(1)
        place = "/dev/full" if len(tried) < 3 else str(tmp_path / "held")
        Path(place).write_text("x" * 10)

    spool.with_room(save, tmp_path)
    assert (tmp_path / "held").read_text() == "x" * 10
    monkeypatch.setattr(spool, "ROOM", 0.03)
    with pytest.raises(RunFailure, match="the disk is full"):
        spool.with_room(lambda: Path("/dev/full").write_text("x"), tmp_path)


def test_records_are_kept_in_no_folder_that_another_user_may_write(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/proc/none")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = spool.root()
    assert made.parent == tmp_path
    assert made.stat().st_mode & 0o777 == 0o700
    assert spool.root() == made  # ours
    made.chmod(0o777)
    with pytest.raises(RunFailure, match="no folder that this user alone may write"):
        spool.root()
    made.rmdir()
    (tmp_path / "another's").mkdir(mode=0o700)
    made.symlink_to(tmp_path / "another's")
    with pytest.raises(RunFailure, match="no folder that this user alone may write"):
        spool.folders()


def test_a_spool_that_somebody_removes_is_made_anew(quick):
    with tracking.open_run("pipeline", experiment="mine", name="a run") as run:
        run.metrics({"loss": 0.0}, 0)
        assert run.outbox.sent()
        shutil.rmtree(spool.root().parent)
        run.metrics({"loss": 0.5}, 1)
        run.text("held", "a.txt")
        assert run.outbox.spool.about()["run"] == run.id
        assert spool.Spool.opened(run.outbox.spool.folder) is None  # it is locked
    assert points(run.id) == [(0, 0.0), (1, 0.5)]
    assert status(run.id) == "FINISHED"
    assert not spool.folders()


def test_records_that_somebody_removes_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    held = spool.Spool.make("r", "1", "s")
    held.put("tags", "r", {}, None)
    shutil.rmtree(held.folder)
    with pytest.raises(RunFailure, match="records that the MLflow store had not got"):
        held.put("tags", "r", {}, None)
    held.lock.release()


def test_a_damaged_spool_is_named(quick, capsys):
    with tracking.open_run("pipeline", experiment="mine", name="a run"):
        pass
    folder = spool.root() / "damaged"
    folder.mkdir()
    (folder / spool.ABOUT).write_text("[")
    assert main(["sync"]) == 1
    assert str(folder) in capsys.readouterr().err
    assert main(["sync", "--run_id", "x"]) == 2
    about = {"run": "r", "experiment": "1", "store": tracking.store_name()}
    (folder / spool.ABOUT).write_text(json.dumps(about))
    for held in ("{", '{"kind": "model_id", "run": "r", "fields": {}}', '{"kind": "end"}'):
        (folder / "1.json").write_text(held)
        capsys.readouterr()
        assert main(["sync"]) == 1
        assert "to give the records of this folder up" in capsys.readouterr().err
