"""The run that `mlflow run` makes, and the variables that it sets."""

import mlflow

from pipeline.__main__ import main
from tests.command_line.common import runs


def test_an_experiment_is_refused_under_mlflow_run_wherever_it_stands(told, tmp_path, monkeypatch):
    file = tmp_path / "own.yaml"
    file.write_text("experiment: mine\n")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_RUN_ID", client.create_run("0").info.run_id)
    for given in (("--config", str(file)), ("--experiment", "mine")):
        for command in ("run", "train"):
            line = told(command, *given)
            assert "experiment = 'mine'" in line
            assert "call it with --experiment-name mine" in line


def test_the_run_that_mlflow_has_made_is_used(told, shared, monkeypatch):
    client, before = mlflow.MlflowClient(), len(runs())
    good, bad = (client.create_run("0", run_name=f"{name}-owl-7") for name in ("calm", "sad"))
    client.log_param(good.info.run_id, "label_frac", "0.10")
    monkeypatch.setenv("MLFLOW_RUN_ID", good.info.run_id)
    assert main(["split", "--label_frac", "0.10"]) == 0
    run = client.get_run(good.info.run_id)
    assert (run.info.status, run.data.tags["ssgan.kind"]) == ("FINISHED", "split")
    assert run.data.params["label_frac"] == "0.10"  # as typed: it cannot be logged again
    assert run.info.run_name == "split: digits, ssgan, 144 labels, seed 0"

    monkeypatch.setenv("MLFLOW_RUN_ID", bad.info.run_id)
    line = told("run", "--label_frac", "x" * 9000)
    run = client.get_run(bad.info.run_id)
    assert run.info.status == "FAILED"
    assert line.removeprefix("ssgan: ").startswith(run.data.tags["ssgan.reason"][:4000])
    assert len(runs()) == before + 2


def test_variables_that_are_empty_are_not_set(told, shared, monkeypatch, capsys, tmp_path):
    """As compose files make them of variables that nobody has given."""
    for name in ("RUN_ID", "EXPERIMENT_ID", "EXPERIMENT_NAME", "PORT"):
        monkeypatch.setenv(f"MLFLOW_{name}", "")
    before = len(runs())
    assert main(["split", "--label_frac", "0.1", "--experiment", "ssgan"]) == 0
    assert len(runs()) == before + 1
    assert "http://127.0.0.1:5000/" in capsys.readouterr().out
    told("predict", "--run_id", "none", "--data_dir", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new.db")
    told("run", "--label_frac", "0")
    assert not (tmp_path / "new.db").exists()
