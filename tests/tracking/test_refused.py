"""What a store refuses or does not answer: tried again, or told in one line."""

import re

import mlflow
import pytest

from pipeline import tracking
from pipeline.__main__ import main
from pipeline.errors import RunFailure
from pipeline.tracking import outbox
from pipeline.tracking.run import Run
from tests.tracking.stores import away, status, until


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
        until(lambda: run.outbox.away)
    with pytest.raises(RunFailure, match=advice) as told:
        tracking.check_sent()
    # Credentials may come; for a file that is too large no search trains anew.
    assert isinstance(told.value, tracking.StoreAway) != ("413" in said)
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
