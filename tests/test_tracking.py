"""The MLflow store, written by several at once."""

import threading
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.models import Model
from PIL import Image

from pipeline import tracking
from pipeline.errors import UserError
from pipeline.tracking import Run, models, open_run, runs

WRITERS = 4


def test_a_report_reads_the_experiment_that_the_environment_names_by_its_id(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracking.open_run("pipeline", experiment="another", name="a run") as run:
        pass
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", run.experiment_id)
    assert [found.id for found in tracking.chosen("", None)] == [run.id]
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    with pytest.raises(UserError, match="MLFLOW_EXPERIMENT_ID = '77'"):
        tracking.chosen("", None)
    assert [found.id for found in tracking.chosen("", "another")] == [run.id]


def test_an_artifact_that_cannot_be_fetched_is_not_taken_for_one_that_is_missing(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracking.open_run("pipeline", experiment="e", name="a run") as run:
        run.text("held", "inside/a.txt")
    assert tracking.fetch(run.id, "inside/a.txt", tmp_path).read_text() == "held"
    for missing in ("inside/b.txt", "b.txt", "other/b.txt"):
        with pytest.raises(UserError, match=f"no artifact {missing}; did it finish"):
            tracking.fetch(run.id, missing, tmp_path)

    def away(**options: object) -> None:
        raise ConnectionError("Connection refused")

    monkeypatch.setattr("mlflow.artifacts.download_artifacts", away)
    with pytest.raises(tracking.StoreAway, match="does not answer"):
        tracking.fetch(run.id, "inside/a.txt", tmp_path)


def test_an_experiment_s_first_runs_may_log_the_same_data_at_once(store: str) -> None:
    images = np.zeros((10, 8, 8), np.uint8)
    client, refused = MlflowClient(store), []

    def log(run: Run, ready: threading.Barrier) -> None:
        ready.wait()
        try:
            run.dataset("digits", "0123abcd", images)
            assert run.outbox.close()
        except Exception as error:
            refused.append(error)

    for number in range(3):  # the collision is likely, not certain
        there = client.create_experiment(f"raced {number}")
        runs = [Run(client.create_run(there).info.run_id, there, client) for _ in range(WRITERS)]
        ready = threading.Barrier(WRITERS)
        writers = [threading.Thread(target=log, args=(run, ready)) for run in runs]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert not refused
        logged = [client.get_run(run.id).inputs.dataset_inputs for run in runs]
        assert [len(inputs) for inputs in logged] == [1] * WRITERS


@pytest.mark.parametrize("shape", [(1, 3000, 3), (3000, 2, 3), (40, 50, 3)])
def test_images_of_any_shape_are_logged(store: str, shape: tuple[int, int, int]) -> None:
    with open_run("run", experiment="images", name="one") as run:
        run.image(np.full(shape, 7, np.uint8), "samples", 100)
        assert run.outbox.sent()
        logged = [each.path for each in run.client.list_artifacts(run.id, "images")]
        (file,) = [path for path in logged if path.endswith(".png")]
        found = np.asarray(Image.open(run.client.download_artifacts(run.id, file)))
    assert (found[: shape[0], : shape[1]] == 7).all()


def test_a_run_whose_opening_was_not_answered_is_opened_once(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store makes the run, its answer is lost; the next attempt finds it."""
    create, lost_answers = MlflowClient.create_run, [ConnectionError("timed out")]

    def create_run(self, *arguments, **named):
        made = create(self, *arguments, **named)
        if lost_answers:
            raise lost_answers.pop()
        return made

    monkeypatch.setattr(MlflowClient, "create_run", create_run)
    with open_run("trial", experiment="e", name="one", patience=30) as run:
        run.metrics({"loss": 1.0})
    client = MlflowClient()
    place = client.get_experiment_by_name("e").experiment_id
    (found,) = client.search_runs([place])
    assert found.info.run_id == run.id
    assert found.info.status == "FINISHED"
    with open_run("trial", experiment="e", name="two"):
        pass
    assert len(client.search_runs([place])) == 2


def test_of_runs_that_a_slow_store_has_made_twice_one_stays(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's client asks a server again by itself; both of its requests are heard."""
    create = MlflowClient.create_run

    def create_run(self, *arguments, **named):
        create(self, *arguments, **named)
        return create(self, *arguments, **named)

    monkeypatch.setattr(MlflowClient, "create_run", create_run)
    monkeypatch.setattr(runs, "SLOW", 0.0)
    with open_run("trial", experiment="e", name="one") as run:
        pass
    client = MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("e").experiment_id])
    assert (found.info.run_id, found.info.status) == (run.id, "FINISHED")


def test_a_model_whose_files_did_not_arrive_is_failed_and_sent_again(
    store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "files" / "model").mkdir(parents=True)
    Model().save(str(tmp_path / "files" / "model" / "MLmodel"))
    send, lost = MlflowClient.log_model_artifacts, [ConnectionError("timed out")]

    def log_model_artifacts(self, *arguments, **named):
        if lost:
            raise lost.pop()
        return send(self, *arguments, **named)

    monkeypatch.setattr(MlflowClient, "log_model_artifacts", log_model_artifacts)
    with open_run("pipeline", experiment="e", name="one") as run:
        named = {"name": "a-model", "role": "classifier", "params": {}, "note": ""}
        given = (run.client, run.experiment_id, run.id, tmp_path / "files")
        with pytest.raises(ConnectionError):
            models.send(*given, **named, register_as=None)
        (failed,) = run.client.search_logged_models([run.experiment_id])
        assert failed.status == LoggedModelStatus.FAILED
        assert models.logged_model(*given[:3], "classifier") is None  # and it is removed
        sent = models.send(*given, **named, register_as=None)
        (whole,) = run.client.search_logged_models([run.experiment_id])
        assert (whole.model_id, whole.status) == (sent, LoggedModelStatus.READY)
