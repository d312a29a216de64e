"""A store that is away loses nothing: a real store, locked by another connection."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from pipeline import interrupts, progress, tracking
from pipeline.__main__ import main
from pipeline.command_line import EXIT_FAILURE, guarded
from pipeline.tracking import outbox, spool
from pipeline.tracking.run import Run
from pipeline.tracking.sending import Delivery, images
from tests.tracking.stores import IMAGE, STEPS, away, points, status, text, until, write

ROOT = Path(__file__).resolve().parents[2]


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
