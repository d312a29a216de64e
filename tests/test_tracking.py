"""The MLflow store, written by several at once."""

import threading

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from pipeline.tracking import Run, open_run, runs

WRITERS = 4


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
