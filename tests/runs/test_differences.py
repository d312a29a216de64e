"""A pool with another mix of classes than its labels: told, kept as a table, followed."""

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from pipeline.config import layers as config
from pipeline.runs import flow

PER_CLASS = 25
COUNTS = [160, 140, 100, 80, 60, 50, 40, 36, 33, 30]  # of the pool's digits 0..9
FLAGS = {"labels_per_class": str(PER_CLASS), "steps": "60"}
ALONE = {"baseline": "false", "generator": "false"}


def unbalanced(path):
    images, labels = load_digits(return_X_y=True)
    images = np.uint8(images.reshape(-1, 8, 8) * 15)
    of_class = [np.flatnonzero(labels == k) for k in range(10)]
    train = np.concatenate([rows[:n] for rows, n in zip(of_class, COUNTS, strict=True)])
    test = np.concatenate([rows[-10:] for rows in of_class])
    arrays = {"x_train": images[train], "y_train": labels[train]}
    np.savez(path, **arrays, x_test=images[test], y_test=labels[test])
    return path


@pytest.mark.slow
def test_an_unbalanced_pool_is_told_and_estimated(store, tmp_path, capsys):
    data = unbalanced(tmp_path / "digits.npz")
    result = flow.run(config.load({"dataset": "npz", "data_dir": str(data), **FLAGS, **ALONE}))
    run = mlflow.MlflowClient().get_run(result.run_id)
    assert run.data.metrics["data/class_shift_p_value"] < 0.005
    assert "another mix of classes than the labels: about 0 " in capsys.readouterr().err
    assert "another mix of classes" in run.data.tags["ssgan.data_findings"]
    path = mlflow.artifacts.download_artifacts(
        run_id=result.run_id, artifact_path="train/class_shares.csv", dst_path=str(tmp_path)
    )
    found = pd.read_csv(path)["estimated_share"]
    assert not any(name.startswith("data/pool_share") for name in run.data.metrics)
    true = np.array(COUNTS) / sum(COUNTS)
    assert np.abs(found - true).sum() < 0.6 * np.abs(0.1 - true).sum()


@pytest.mark.slow
def test_an_equal_pool_is_not(store, capsys):
    flags = {"dataset": "digits", "labels_per_class": "10", "steps": "60", **ALONE}
    result = flow.run(config.load(flags))
    run = mlflow.MlflowClient().get_run(result.run_id)
    assert run.data.metrics["data/class_shift_p_value"] > 0.005
    files = mlflow.MlflowClient().list_artifacts(result.run_id, "train")
    assert "train/class_shares.csv" not in {item.path for item in files}
    assert "another mix" not in capsys.readouterr().err
