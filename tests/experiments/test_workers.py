"""What a cluster is given, and what it is not."""

from pathlib import Path

import pytest

from experiments import workers
from pipeline.errors import UserError

DATABASE = "postgresql+psycopg://ssgan@database/optuna"


def test_only_the_code_travels_and_no_run_of_ours(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "OTHER"):
        monkeypatch.setenv(name, "http://store")
    given = workers._environment()
    packed = {path.name for path in Path(given["working_dir"]).iterdir()}
    packed -= {name.removeprefix("/") for name in given["excludes"]}
    assert packed == {"pipeline", "experiments", "configs"}
    assert given["env_vars"]["MLFLOW_TRACKING_URI"] == "http://store"
    assert not {"MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "OTHER"} & set(given["env_vars"])


@pytest.mark.parametrize(
    ("storage", "store", "data_dir", "said"),
    [
        ("/home/me/studies/journal.log", "http://store", None, "storage = /home/me"),
        ("sqlite:////home/me/optuna.db", "http://store", None, "storage = sqlite"),
        (DATABASE, "", None, "MLFLOW_TRACKING_URI = not set"),
        (DATABASE, "sqlite:////home/me/mlflow.db", None, "MLFLOW_TRACKING_URI = sqlite"),
        (DATABASE, "http://store", Path("mnist"), "data_dir = mnist"),
    ],
)
def test_a_place_of_this_machine_alone_is_told(monkeypatch, storage, store, data_dir, said):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    with pytest.raises(UserError, match=said):
        workers.require_shared(storage, data_dir)


def test_places_that_every_machine_reaches_are_taken(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://store:5000")
    workers.require_shared("grpc://database:13000", Path("/data/mnist"))
