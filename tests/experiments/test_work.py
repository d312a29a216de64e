"""What is not a trial's fault gives it back: it runs again, and nothing is held against it."""

import pytest

from experiments.search.work import Job, work
from pipeline import data, tracking
from pipeline.tracking import StoreAway
from tests.experiments.studies import opened


def test_a_trial_is_given_back_where_the_store_stays_away(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(tracking, "PATIENCE", 0.0)
    digest = data.load("digits", None).digest
    study = opened(place, digest, trials="1")
    study.fill()
    with pytest.raises(StoreAway):
        work(Job(study.plan, place, digest, threads=None))
    assert study.claim() is None  # until whoever leads makes it again
    study.fill()
    assert study.failures_in_a_row() == []
    assert study.claim() is not None
