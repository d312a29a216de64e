"""Runs of other settings and data, and runs that are lost, in a real MLflow store."""

import os
from pathlib import Path

import mlflow
import pytest

from pipeline import progress
from pipeline.config import layers as config
from pipeline.errors import RunFailure
from pipeline.runs import flow
from tests.data.files import npz_arrays, write_npz
from tests.runs.stored import SHORT, artifacts, children


def test_training_alone_is_judged_by_validation_labels(module_store: Path, capsys) -> None:
    flags = {"method": "fixmatch", "network": "dense", "dense_units": "[32]", "label_frac": "0.1"}
    flags |= {"steps": "130", "report_every": "65", "valid_frac": "0.5"}
    split = flow.split(config.load(flags))
    result = flow.train({"run_id": split.run_id})
    run = mlflow.MlflowClient().get_run(result.run_id)
    (child,) = children(result.run_id)
    assert run.data.metrics["valid/lift"] == pytest.approx(
        child.data.metrics["valid/error"] - run.data.metrics["valid/error"]
    )
    assert run.data.metrics["valid/lift_low"] < run.data.metrics["valid/lift_high"]
    assert run.data.metrics["labels_read"] == run.data.metrics["n_labels"]
    assert run.data.tags["ssgan.verdict"] == result.verdict != ""
    assert f"{result.n_valid} validation images" in result.conclusion[0]
    assert not {"test/error", "lift"} & set(result.metrics)


def test_data_of_any_size_settle_their_steps_before_the_run_is_opened(
    module_store: Path, capsys
) -> None:
    path = write_npz(module_store / "any.npz", **npz_arrays())
    flags = {"dataset": "npz", "data_dir": str(path), "labels_per_class": "2"}
    flags |= {"method": "fixmatch", "network": "dense", "dense_units": "[8]", "backbone": "none"}
    split = flow.split(config.load(flags))
    with progress.shown():
        result = flow.train({"run_id": split.run_id})
    said = capsys.readouterr().err.splitlines()
    for run_id in (split.run_id, result.run_id, children(result.run_id)[0].info.run_id):
        assert mlflow.MlflowClient().get_run(run_id).data.params["steps"] == "200"
        text = mlflow.artifacts.load_text(f"runs:/{run_id}/config.yaml")
        assert config.from_yaml(text)["steps"] == 200
    curve = mlflow.MlflowClient().get_metric_history(result.run_id, "train/supervised_loss")
    assert curve[-1].step == 200
    first, second = (line for line in said if "training steps" in line)
    assert "fixmatch: 200 training steps, a" in first
    assert first.endswith("; then the supervised baseline, at most as long")
    assert "supervised baseline: 200 training steps, a" in second
    assert ", at most" not in second
    typed = flow.split(config.load(flags | {"steps": "9000"}))
    assert mlflow.MlflowClient().get_run(typed.run_id).data.params["steps"] == "9000"


def test_far_too_few_steps_are_told_once_before_training_and_kept_as_a_tag(
    module_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = {"steps": "9", "label_frac": "0.05", "method": "fixmatch", "network": "dense"}
    split = flow.split(config.load(quick | {"dense_units": "[8]"}))
    assert capsys.readouterr().err == ""
    trained = flow.train({"run_id": split.run_id})
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ssgan: ")]
    assert "9 steps are 0.9% of the 1,000 that fixmatch on digits is made for" in line
    tags = mlflow.MlflowClient().get_run(trained.run_id).data.tags
    assert line == f"ssgan: {tags['ssgan.short_run']}"
    (baseline,) = children(trained.run_id)
    assert "ssgan.short_run" not in baseline.data.tags


def test_system_metrics_by_a_key(module_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.2")
    flags = {**SHORT, "steps": "20", "method": "supervised", "system_metrics": "true"}
    result = flow.run(config.load(flags))
    data = mlflow.MlflowClient().get_run(result.run_id).data
    assert data.metrics["system/system_memory_usage_megabytes"] > 0
    assert "system_metrics" not in data.params


def test_validation_is_paid_from_the_labels(module_store: Path) -> None:
    flags = {**SHORT, "method": "supervised", "label_frac": "0.2", "valid_frac": "0.25"}
    result = flow.run(config.load(flags))
    metrics = mlflow.MlflowClient().get_run(result.run_id).data.metrics
    assert result.n_labels == 287
    assert 60 <= result.n_valid <= 75
    assert metrics["labels_read"] == 287
    assert 0 <= metrics["valid/error"] < 0.5
    assert "baseline/test_error" not in metrics
    assert not children(result.run_id)


def test_what_is_unusual_in_the_data_is_said_and_logged(module_store: Path, capsys) -> None:
    arrays = npz_arrays()
    arrays["x_test"][:2] = arrays["x_train"][:2]
    path = write_npz(module_store / "shared.npz", **arrays)
    flags = {"dataset": "npz", "data_dir": str(path), "labels_per_class": "2"}
    result = flow.split(config.load(flags))
    told, few = capsys.readouterr().err.splitlines()
    assert "only 6 test images, fewer than 10 a class" in few
    assert told.startswith("ssgan: dataset=npz: 2 of 6 test images equal a training image")
    run = mlflow.MlflowClient().get_run(result.run_id)
    assert run.data.metrics["data/shared_images"] == 2
    assert "2 of 6 test images" in run.data.tags["ssgan.data_findings"]


def test_a_diverged_run_ends_failed_and_says_what_to_try(module_store: Path) -> None:
    flags = {**SHORT, "discriminator_lr": "1e30", "warmup_steps": "0", "experiment": "diverged"}
    with pytest.raises(RunFailure, match="discriminator_lr"):
        flow.run(config.load(flags))
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("diverged")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert "discriminator_lr" in run.data.tags["ssgan.reason"]


# So large a rate and an epsilon of Adam are gradient descent; the baseline has no such epsilon.
LOST = {**SHORT, "method": "feature_matching", "network": "dense", "dense_units": "[16]"}
LOST |= {"discriminator_lr": "1e6", "adam_epsilon": "1e8", "warmup_steps": "0"}


@pytest.mark.slow
def test_a_lost_baseline_costs_the_comparison_alone(module_store: Path, capsys) -> None:
    split = flow.split(config.load(LOST))
    ended = [flow.run(config.load(LOST)), flow.train({"run_id": split.run_id})]
    ended.append(flow.evaluate({"run_id": ended[1].run_id}))
    told = capsys.readouterr().err
    client = mlflow.MlflowClient()
    for result in ended:
        run = client.get_run(result.run_id)
        assert run.info.status == "FINISHED"
        assert "discriminator_lr (1e+06)" in run.data.tags["ssgan.baseline_lost"]
        assert "ssgan.verdict" not in run.data.tags
        assert "result.json" in artifacts(result.run_id)
        assert result.baseline is None
        assert result.metrics["labels_read"] == 72
        assert not result.conclusion
        if result.stage != "train":
            assert result.metrics["test/error"] < 0.9
        if result.stage != "evaluate":
            (child,) = children(result.run_id)
            assert child.info.status == "FAILED"
            assert "discriminator_lr" in child.data.tags["ssgan.reason"]
    assert told.count("no supervised baseline, so no verdict; feature_matching is not") == 3
    folder = Path.home() / ".cache" / "ssgan" / "checkpoints"
    assert not any((folder / result.run_id).exists() for result in ended)


@pytest.mark.slow
def test_a_run_that_goes_on_ends_although_its_baseline_is_lost_again(
    module_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(flow, "_conclude", interrupted)
        with pytest.raises(KeyboardInterrupt):
            flow.run(config.load({**LOST, "experiment": "interrupted"}))
    client = mlflow.MlflowClient()
    place = client.get_experiment_by_name("interrupted").experiment_id
    (run,) = client.search_runs([place], "tags.`ssgan.kind` = 'pipeline'")
    assert run.info.status == "KILLED"
    result = flow.go_on({"resume": run.info.run_id})
    assert result.run_id == run.info.run_id
    assert client.get_run(result.run_id).info.status == "FINISHED"
    assert result.metrics["test/error"] < 0.9
    (child,) = children(result.run_id)
    assert child.info.status == "FAILED"


@pytest.mark.mnist
def test_real_mnist_files_run_through(module_store: Path) -> None:
    folder = Path(os.environ.get("MNIST_DIR", ""))
    if not any(folder.glob("train-images*ubyte*")):
        pytest.skip("MNIST_DIR names no folder with the MNIST files")
    flags = {"dataset": "mnist", "data_dir": str(folder), "labels_per_class": "10", "steps": "120"}
    result = flow.run(config.load({**flags, "baseline": "false"}))
    assert result.n_labels == 100
    assert result.metrics["test/error"] < 0.5
