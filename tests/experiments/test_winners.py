"""Winners are tested on a study's data, wherever they lie now, and in the store it began in."""

import pytest

from experiments import trial as trials
from experiments.search import conduct, winners
from pipeline import data, tracking
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
    runtime.start(0, 1, True)
    before, after = (tmp_path / name for name in ("before", "after"))
    write_classes(before, n=8)
    study = opened(str(tmp_path / "j.log"), search=space, data_dir=str(before))
    study.fill()
    config = study.claim().config(0, 1)
    run_ids = []
    trials.train(config, data.of(config).digest, "trial: {}", (), {}, run_ids.append, lambda *_: "")
    before.rename(after)
    moved = opened(str(tmp_path / "j.log"), search=space, data_dir=str(after))
    with winners.tested(moved, run_ids, 1):
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
