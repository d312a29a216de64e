"""Storages that a study may lie in; data and a store for curves."""

import mlflow
import pytest

from pipeline import data, tracking


@pytest.fixture(params=["journal.log", "sqlite"])
def place(request, tmp_path):
    """A new storage of each kind, as `open_storage` takes it."""
    return f"sqlite:///{tmp_path}/s.db" if request.param == "sqlite" else str(tmp_path / "j.log")


@pytest.fixture(scope="module")
def digits():
    """The bundled data set."""
    return data.load("digits", None)


@pytest.fixture
def client(store):
    """Of a store that holds the ended summary run of a curve c."""
    tracking.end(tracking.curve_run("ssgan/c", "c"), "FINISHED")
    return mlflow.MlflowClient()
