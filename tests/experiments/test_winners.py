"""Winners are tested on a study's data, wherever they lie now, and in the store it began in."""

import contextlib

import pytest
from mlflow import MlflowClient

from experiments import trial as trials
from experiments.search import conduct, winners
from experiments.search.lead import Lead
from pipeline import data, progress, tracking
from pipeline.errors import UserError
from pipeline.ops import runtime
from tests.data.pictures import write_classes
from tests.experiments.studies import finished, opened

SPACE = """\
dataset: folder
method: supervised
network: dense
dense_units: [8]
steps: 4
report_every: 2
batch_size: 4
image_size: 8
valid_labels: 4
labels_per_class: {choices: [2, 3]}
"""


@pytest.fixture
def space(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(SPACE)
    return str(path)


@pytest.mark.slow
def test_winners_are_tested_on_data_that_were_moved_since(store, tmp_path, space):
    runtime.start(0, None, True)
    before, after = (tmp_path / name for name in ("before", "after"))
    write_classes(before, n=8)
    study = opened(str(tmp_path / "j.log"), search=space, data_dir=str(before))
    study.fill()
    config = study.claim().config(0, None)
    run_ids = []
    trials.train(config, data.of(config).digest, "trial: {}", (), {}, run_ids.append, lambda *_: "")
    before.rename(after)
    moved = opened(str(tmp_path / "j.log"), search=space, data_dir=str(after))
    with winners.tested(moved, run_ids, None):
        assert tracking.evaluation_of(run_ids[0]) is None
    assert 0 <= tracking.evaluation_of(run_ids[0])["test/error"] <= 1


def test_another_mlflow_store_is_told_before_anything_is_trained(
    store, place, tmp_path, monkeypatch
):
    study = opened(place)
    study.fill()
    run = tracking.study_run(study.plan.experiment, "s", [], study.id)
    study.note(summary=run.id, store=tracking.store_name())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/another.db")
    conduct._check_store(study, study.notes())  # no trial has a run that is needed
    finished(study.claim())
    with pytest.raises(UserError, match=r"^study = 's': [^\n]*mlflow\.db[^\n]*another\.db"):
        conduct._check_store(study, study.notes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    conduct._check_store(study, study.notes())


def test_who_takes_over_the_lead_says_that_the_study_goes_on(store, place):
    first, second = opened(place), opened(place)
    client, leads = MlflowClient(), [Lead(first), Lead(second)]

    def told():
        run = client.get_run(runs[0].id)
        return run.info.status, "ssgan.reason" in run.data.tags

    with leads[1].released():
        with contextlib.suppress(KeyboardInterrupt), leads[0].released():
            assert leads[0].held()
            runs = [conduct._summary(first, leads[0])]
            first.note(summary=runs[0].id)
            runs.append(conduct._summary(second, leads[1]))
            assert runs[0].id == runs[1].id
            with tracking.closed(runs[0], lambda: leads[0].ours):
                raise KeyboardInterrupt
        assert told() == ("KILLED", True)
        assert leads[1].held()
        assert told() == ("RUNNING", False)


def test_fewer_trials_than_before_are_told_to_take_none_away(store, place, capsys):
    opened(place).want(7)
    fewer = opened(place, trials="2")
    fewer.want(2)
    run = tracking.study_run(fewer.plan.experiment, "s", [], fewer.id)
    with progress.shown(silence=20.0):
        progress.phase("trials")
        conduct._greet(fewer.plan, fewer, place, run)
        conduct._greet(opened(place, trials="8").plan, fewer, place, run)
    assert capsys.readouterr().err.count("trials = 2: 7 were asked for before, and stay") == 1
