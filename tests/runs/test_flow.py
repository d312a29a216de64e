"""The whole pipeline on real digits and a real MLflow store, a few steps long."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from pipeline import data
from pipeline.config import layers as config
from pipeline.errors import UserError
from pipeline.runs import flow
from pipeline.runs.summary import Result
from pipeline.stages.split import choose_split
from tests.runs.stored import SHORT, artifacts, children, model

# The same numbers in one process and in several: float32 sums in another order.
TOLERANCE = 1e-5
# What a stage run on its own cannot repeat: how long it took.
# Of a run's seconds, beside those of its baseline.
PARTS = ("split", "start", "train", "evaluate", "log")
TIMES = ("time/", "memory/", "train/images_per_second", "train/recalled_steps")  # what may differ


@pytest.fixture(scope="module")
def whole(module_store: Path) -> Result:
    """All three stages in one run."""
    return flow.run(config.load(SHORT))


def test_a_run_logs_what_people_compare(whole: Result) -> None:
    run = mlflow.MlflowClient().get_run(whole.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["ssgan.kind"] == "pipeline"
    assert "test error" in run.data.tags["mlflow.note.content"]
    assert run.data.params["label_frac"] == "0.05"
    assert run.data.params["report_every"] == "25"  # away from its default
    assert len(run.data.params) <= 20
    assert "penalty_weight" not in run.data.params
    assert run.info.run_name == "digits, ssgan, 72 labels, seed 3, split 1"
    assert all(run.data.tags.values())
    assert {
        *(f"test/{name}" for name in ("error", "accuracy", "macro_f1", "nll", "ece")),
        *("test/error_low", "test/error_high", "baseline/test_error", "lift", "labels_read"),
        *(f"samples/{name}" for name in ("kid", "kid_se", "kid_real", "density", "coverage", "n")),
        *(f"time/{name}_s" for name in (*PARTS, "baseline", "total", "loop", "trace")),
        *(f"train/{name}_loss" for name in ("discriminator", "generator", "supervised")),
        *("train/unsupervised_loss", "train/consistency_loss", "train/images_per_second"),
    } <= set(run.data.metrics)
    assert run.data.metrics["labels_read"] == run.data.metrics["n_labels"] == 72
    assert run.data.metrics["test/error"] < 0.5
    assert 0 <= run.data.metrics["data/graph_error"] <= 1
    assert run.data.metrics["memory/peak_mb"] > 100  # TensorFlow alone takes more
    assert run.data.metrics["lift_low"] < run.data.metrics["lift_high"]
    assert run.data.metrics["lift"] == pytest.approx(
        run.data.metrics["baseline/test_error"] - run.data.metrics["test/error"]
    )
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    curve = mlflow.MlflowClient().get_metric_history(whole.run_id, "train/supervised_loss")
    assert [point.step for point in curve] == [25, 50, 60]


def test_the_verdict_stands_first_in_words_and_as_a_tag(whole: Result) -> None:
    tags = mlflow.MlflowClient().get_run(whole.run_id).data.tags
    low, high = whole.metrics["lift_low"], whole.metrics["lift_high"]
    word = "helps" if low > 0 else "hurts" if high < 0 else "cannot tell"
    assert tags["ssgan.verdict"] == word
    assert tags["mlflow.note.content"].startswith(f"**{whole.conclusion[0]}**")
    written = mlflow.artifacts.load_dict(f"runs:/{whole.run_id}/result.json")
    assert (written["verdict"], written["conclusion"]) == (word, whole.conclusion[0])
    assert "ssgan.verdict" not in children(whole.run_id)[0].data.tags


def test_a_run_keeps_tables_pictures_and_its_configuration(whole: Result, tmp_path: Path) -> None:
    assert {"config.yaml", "result.json", "environment.json"} <= artifacts(whole.run_id)
    assert artifacts(whole.run_id, "figures") >= {
        f"figures/{name}.png"
        for name in ("confusion_matrix", "reliability", "mistakes", "samples", "learning_curves")
    }
    assert "figures/nearest_training_images.png" in artifacts(whole.run_id, "figures")
    assert {f"evaluate/{name}" for name in ("per_class.csv", "reliability.csv")} <= {
        *artifacts(whole.run_id, "evaluate")
    }
    assert "split/label_counts.png" in artifacts(whole.run_id, "split")
    steps = {re.search(r"step[+%](\d+)", path)[1] for path in artifacts(whole.run_id, "images")}
    assert steps == {"0", "78", "100"}  # per cent of the generator's steps, which are 60 to 79

    def fetched(path: str) -> Path:
        return Path(mlflow.artifacts.download_artifacts(run_id=whole.run_id, artifact_path=path))

    assert json.loads(fetched("result.json").read_text())["n_labels"] == 72
    assert len(pd.read_csv(fetched("evaluate/per_class.csv"))) == 10
    predictions = pd.read_parquet(fetched("evaluate/predictions.parquet"))
    assert (predictions["label"] != predictions["predicted"]).mean() == pytest.approx(
        whole.metrics["test/error"]
    )
    again = config.load({"config": str(fetched("config.yaml"))})
    assert again == config.load(SHORT)
    refed = config.load({"split_file": str(fetched("split/manifest.parquet"))})
    dataset = data.load("digits", None)
    first, second = (choose_split(c, dataset) for c in (config.load(SHORT), refed))
    np.testing.assert_array_equal(first.labelled, second.labelled)


def test_the_baseline_is_a_child_run_on_the_same_labels(whole: Result) -> None:
    (child,) = children(whole.run_id)
    assert child.data.tags["ssgan.kind"] == "baseline"
    assert child.data.params["method"] == "supervised"
    assert child.data.params["split_seed"] == "1"
    assert child.data.metrics["test/error"] == whole.metrics["baseline/test_error"]


def test_the_seconds_of_the_parts_add_up_to_the_total(whole: Result) -> None:
    seconds = [s for name, s in whole.metrics.items() if name.startswith("time/")]
    assert sum(seconds[:-1]) == pytest.approx(seconds[-1])
    (child,) = children(whole.run_id)
    run, logged = mlflow.MlflowClient().get_run(whole.run_id).data.metrics, child.data.metrics
    assert sum(run[f"time/{name}_s"] for name in (*PARTS, "baseline")) == pytest.approx(
        run["time/total_s"]
    )
    of_the_child = [logged[f"time/{name}_s"] for name in ("start", "train", "evaluate", "log")]
    assert sum(of_the_child) == pytest.approx(logged["time/total_s"])
    assert logged["time/total_s"] <= run["time/baseline_s"]
    for metrics in (run, logged):
        assert 0 < metrics["time/trace_s"] <= metrics["time/loop_s"]


@pytest.mark.slow
def test_stages_alone_give_the_numbers_of_the_whole(whole: Result) -> None:
    split = flow.split(config.load(SHORT))
    trained = flow.train({"run_id": split.run_id})
    evaluated = flow.evaluate({"run_id": trained.run_id})
    assert evaluated.metrics.keys() >= {k for k in whole.metrics if not k.startswith("time/")}
    for name, value in evaluated.metrics.items():
        if not name.startswith(TIMES):
            assert value == pytest.approx(whole.metrics[name], abs=TOLERANCE), name
    client = mlflow.MlflowClient()
    alone, together = (client.get_run(r.run_id).data.metrics for r in (trained, whole))
    for name in (n for n in alone if n.startswith("train/") and n not in TIMES):
        assert alone[name] == pytest.approx(together[name], rel=TOLERANCE), name
    alone = [client.get_run(r.run_id) for r in (split, trained, evaluated)]
    assert [run.data.tags["ssgan.kind"] for run in alone] == ["split", "train", "evaluate"]
    assert [run.info.run_name for run in alone] == [
        f"{stage}: digits, ssgan, 72 labels, seed 3, split 1"
        for stage in ("split", "train", "evaluate")
    ]
    assert client.get_run(evaluated.run_id).data.tags["ssgan.source"] == trained.run_id


@pytest.mark.slow
def test_the_classifier_loads_in_a_fresh_process_elsewhere(whole: Result, tmp_path: Path) -> None:
    """From uint8 images, without our code, without unpickling, the same probabilities."""
    address = f"models:/{model(whole.run_id, 'classifier').model_id}"
    images = data.load("digits", None).test_images
    np.save(tmp_path / "images.npy", images)
    script = (
        "import mlflow, numpy, sys\n"
        f"model = mlflow.pyfunc.load_model({address!r})\n"
        "numpy.save('out.npy', model.predict(numpy.load('images.npy')))\n"
        "assert model.metadata.signature and model.input_example is not None\n"
        "assert model.predict(model.input_example).shape == (4, 10)\n"
        "assert not any(name.startswith('pipeline') for name in sys.modules)\n"
    )
    environment = {**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    probabilities = np.load(tmp_path / "out.npy")
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    uri = f"runs:/{whole.run_id}/evaluate/predictions.parquet"
    logged = pd.read_parquet(mlflow.artifacts.download_artifacts(uri))
    np.testing.assert_array_equal(probabilities.argmax(axis=1), logged["predicted"])
    np.testing.assert_allclose(probabilities.max(axis=1), logged["confidence"], atol=1e-5)
    of_the_label = probabilities[np.arange(len(logged)), logged["label"]]
    np.testing.assert_allclose(of_the_label, logged["p_label"], atol=1e-5)


def test_a_model_s_page_tells_what_it_is_and_how_good(whole: Result) -> None:
    classifier, generator = (model(whole.run_id, role) for role in ("classifier", "generator"))
    assert classifier.name == "digits-ssgan-72-labels-classifier"
    assert generator.name == "digits-ssgan-72-labels-generator"
    assert classifier.params["method"] == "ssgan"
    assert f"models:/{classifier.model_id}" in classifier.tags["mlflow.note.content"]
    measured = {metric.key: metric for metric in classifier.metrics}
    assert measured["test/error"].value == whole.metrics["test/error"]
    assert measured["test/error"].dataset_name == "digits"
    assert "samples/kid" in {metric.key for metric in generator.metrics} - measured.keys()


def test_a_registered_version_says_how_good_it_is(module_store: Path) -> None:
    flags = {**SHORT, "steps": "20", "method": "supervised", "register_as": "mine"}
    trained = flow.train({"run_id": flow.split(config.load(flags)).run_id, "register_as": "mine"})
    client = mlflow.MlflowClient()
    assert not client.get_model_version("mine", "1").description
    result = flow.evaluate({"run_id": trained.run_id})
    version = client.get_model_version("mine", "1")
    assert (version.tags["dataset"], version.tags["method"]) == ("digits", "supervised")
    assert version.tags["n_labels"] == "72"
    assert version.tags["test_error"] == f"{result.metrics['test/error']:.4f}"
    assert f"{result.metrics['test/error']:.2%}" in version.description


@pytest.mark.slow
def test_another_method_can_be_trained_on_the_same_split(whole: Result) -> None:
    flags = {"run_id": whole.run_id, "method": "seed_gan", "steps": "20", "baseline": "false"}
    result = flow.train(flags)
    data = mlflow.MlflowClient().get_run(result.run_id).data
    assert (data.params["method"], data.params["split_seed"]) == ("seed_gan", "1")
    assert data.metrics["n_labels"] == 72
    with pytest.raises(UserError, match="steps"):
        flow.evaluate({"run_id": result.run_id, "steps": "30"})
