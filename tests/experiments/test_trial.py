"""A trial that is repeated goes on from the checkpoint of the lost one, in a run of its own."""

import contextlib

import mlflow
import pytest

from experiments import trial as trials
from pipeline import data
from pipeline.config import layers as configuration
from pipeline.errors import Stopped
from pipeline.ops import runtime
from pipeline.training import steps

FLAGS = {"method": "supervised", "network": "dense", "dense_units": "[16]", "steps": "12"}
FLAGS |= {"report_every": "3", "valid_labels": "20", "labels_per_class": "5"}


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


@pytest.fixture
def trained(store, tmp_path):
    """Trains a trial; returns the run's id and what is known of its curve."""
    digest = data.load("digits", None).digest

    def train(goes_on=lambda step, error: "", **flags):
        place = {"checkpoint_dir": str(tmp_path / "kept")}
        config = configuration.load({**FLAGS, **place, **flags})
        begun = []
        with contextlib.suppress(KeyboardInterrupt, Stopped):
            trials.train(config, digest, "trial: {}", (), {}, begun.append, goes_on)
        client, (run_id,) = mlflow.MlflowClient(), begun
        run = client.get_run(run_id)
        return run.info.status, {
            key: [(point.step, point.value) for point in client.get_metric_history(run_id, key)]
            for key in run.data.metrics
            if not key.startswith(("time/", "memory/", "train/images_per_second"))
        }

    return train


def at(step, end):
    def goes_on(now, error):
        if now == step:
            return end()
        return ""

    return goes_on


def interrupted():
    raise KeyboardInterrupt


@pytest.mark.slow
def test_a_lost_trial_goes_on_when_it_is_repeated(trained, tmp_path, monkeypatch):
    expected = trained()
    assert expected[0] == "FINISHED"
    assert not list((tmp_path / "kept").iterdir())
    assert trained(at(6, interrupted))[0] == "KILLED"
    done = []
    taken = steps.State.took
    monkeypatch.setattr(
        steps.State, "took", lambda self, n, rows: done.append(n) or taken(self, n, rows)
    )
    assert trained() == expected
    assert sum(done) == 6
    assert not list((tmp_path / "kept").iterdir())


@pytest.mark.slow
def test_another_trial_and_one_that_was_pruned_begin_anew(trained, tmp_path):
    assert trained(at(6, lambda: "it falls behind"))[0] == "KILLED"
    assert not list((tmp_path / "kept").iterdir())
    trained(at(6, interrupted))
    (kept,) = (tmp_path / "kept").iterdir()
    assert trained(seed="1")[0] == "FINISHED"
    assert list((tmp_path / "kept").iterdir()) == [kept]
