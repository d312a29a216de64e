"""A real search by the real command line: two workers, one of them killed in the middle."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from tests.data.files import write_npz

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["--steps", "60", "--report_every", "20", "--valid_labels", "60", "--lease", "30"]
TRIALS = 5


def command(*words, study="s"):
    full = [sys.executable, "-m", "experiments", "search", "--study", study, *SHORT, *words]
    return subprocess.Popen(
        full,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def trials(study="s"):
    try:
        storage = JournalStorage(JournalFileBackend("studies/journal.log"))
        return optuna.load_study(study_name=study, storage=storage).get_trials()
    except (KeyError, FileNotFoundError):
        return []


def runs(study="s", **tags):
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(f"ssgan/{study}")
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    return [r for r in found if all(r.data.tags.get(f"ssgan.{k}") == v for k, v in tags.items())]


def eventually(found, seconds=120):
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        there = tmp_path_factory.mktemp("search")
        patch.chdir(there)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{there}/mlflow.db")
        yield there


@pytest.fixture(scope="module")
def searched(folder):
    """The command's output, and the number of the trial whose worker was killed."""
    process = command("--trials", str(TRIALS), "--workers", "2")
    try:

        def busy():
            running = [t for t in trials() if t.state == TrialState.RUNNING]
            return next((t for t in running if t.user_attrs.get("run_ids")), None)

        victim = eventually(busy)
        os.kill(victim.user_attrs["alive"]["pid"], signal.SIGKILL)
        out, err = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, err
    return out, err, victim.number


def test_a_killed_worker_costs_no_trial(searched):
    lost = trials()[searched[2]]
    assert lost.state == TrialState.FAIL
    assert "the worker was lost" in lost.user_attrs["reason"]
    (again,) = [t for t in trials() if t.user_attrs.get("replaces") == lost.number]
    assert again.state == TrialState.COMPLETE
    assert lost.params.items() <= again.params.items()
    assert [t.state for t in trials()].count(TrialState.COMPLETE) == TRIALS
    run = mlflow.MlflowClient().get_run(lost.user_attrs["run_ids"][0])
    assert run.info.status == "KILLED"
    assert "the worker was lost" in run.data.tags["ssgan.reason"]
    assert not [r for r in runs() if r.info.status == "RUNNING"]


def test_without_a_terminal_a_search_tells_how_far_it_is_and_its_workers_nothing(searched):
    short, *lines = searched[1].splitlines()
    assert "60 steps are 3.8% of the 1,560" in short
    assert not [line for line in lines if not re.match(r"\d+:\d\d:\d\d  | +MLflow exp", line)]
    said = "\n".join(lines)
    assert re.search(
        rf"s: trials, 1/{TRIALS} trials \(20%\), \d:\d\d:\d\d left, "
        r"lowest validation error [\d.]+% at \d+ labels, 1 complete",
        said,
    )
    assert f"s: trials, {TRIALS}/{TRIALS} trials (100%), lowest" in said
    winners = len(runs(kind="evaluate"))
    assert f"s: testing {winners} winner" in said
    assert lines[-1].endswith("  s: writing the answer")


def test_each_trial_is_a_flat_run_with_curves_model_and_samples(searched):
    found = [r for r in runs(kind="trial") if r.info.status == "FINISHED"]
    assert len(found) == TRIALS
    client = mlflow.MlflowClient()
    for run in found:
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.data.tags["ssgan.study"] == "s"
        assert {"label_frac", "discriminator_lr", "generator_lr"} <= set(run.data.params)
        number, labels = run.data.tags["ssgan.trial"], int(run.data.metrics["n_labels"])
        assert run.info.run_name.startswith(f"trial {number}: digits, ssgan, {labels} labels, seed")
        points = client.get_metric_history(run.info.run_id, "valid/error")
        assert [point.step for point in points] == [20, 40, 60]  # none in the warm-up
        assert "test/error" not in run.data.metrics
        assert any(
            "samples" in item.path for item in client.list_artifacts(run.info.run_id, "images")
        )
        assert run.data.metrics["labels_read"] == run.data.metrics["n_labels"]
    experiment = found[0].info.experiment_id
    models = client.search_logged_models([experiment])
    assert {m.name.rpartition("-")[2] for m in models} == {"classifier", "generator"}
    assert len(models) >= 2 * TRIALS


def test_the_answer_is_the_front_tested_once(searched, folder):
    (summary,) = runs(kind="study")
    assert summary.info.status == "FINISHED"
    client = mlflow.MlflowClient()
    paths = {item.path for item in client.list_artifacts(summary.info.run_id, "figures")}
    names = ("front", "history", "importances", "slices", "parallel_coordinates")
    assert paths == {"figures/front.html", *(f"figures/{name}.png" for name in names)}
    frame = pd.read_parquet("studies/s/trials.parquet")
    assert len(frame) == TRIALS + 1
    path = mlflow.artifacts.download_artifacts(
        run_id=summary.info.run_id, artifact_path="front.csv", dst_path=str(folder)
    )
    front = pd.read_csv(path).sort_values("labels")
    assert front["validation_error"].is_monotonic_decreasing
    evaluated = runs(kind="evaluate")
    assert {r.data.tags["ssgan.source"] for r in evaluated} == set(front["run_id"])
    assert len(evaluated) == len(front)
    assert all(run.info.run_name.startswith("test of trial ") for run in evaluated)
    assert "ssgan.reason" not in summary.data.tags
    for row in front.itertuples():
        assert f"{row.test_error:.2%}" in searched[0]


def test_the_best_configuration_reproduces_to_the_digit(searched, folder):
    best = min(Path("studies/s").glob("best-*.yaml"))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", "--config", str(best)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("ssgan").experiment_id
    (again,) = client.search_runs([experiment])
    labels = again.data.metrics["n_labels"]
    (tested,) = [r for r in runs(kind="evaluate") if r.data.metrics["n_labels"] == labels]
    assert again.data.metrics["test/error"] == tested.data.metrics["test/error"]
    assert again.data.metrics["test/nll"] == pytest.approx(
        tested.data.metrics["test/nll"], rel=1e-4
    )


def test_the_same_command_goes_on_and_a_changed_one_is_refused(searched):
    changed = command("--trials", str(TRIALS), "--seed", "1")
    again = command("--trials", str(TRIALS))
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert f"goes on after {TRIALS} trials" in err
    assert len(trials()) == TRIALS + 1
    assert len(runs(kind="study")) == 1
    said = changed.communicate(timeout=60)[1].splitlines()
    assert changed.returncode == 2
    assert "seed: 0 → 1" in said[-1]
    front = {r.data.tags["ssgan.source"] for r in runs(kind="evaluate")}
    assert len(runs(kind="evaluate")) == len(front)


def test_trials_on_data_of_any_size_have_the_steps_of_their_number(folder):
    random = np.random.default_rng(0)
    known = {"x_train": random.integers(0, 256, (90, 5, 6, 3), np.uint8)}
    path = write_npz(folder / "any.npz", **known, y_train=np.arange(90) % 3)
    (folder / "any.yaml").write_text("valid_labels: 9\nlabel_frac: {low: 0.3, high: 0.5}\n")
    flags = ["--dataset", "npz", "--data_dir", str(path), "--method", "supervised"]
    flags += ["--network", "dense", "--dense_units", "[8]", "--valid_labels", "9"]
    flags += ["--search", "any.yaml", "--steps", "0", "--trials", "1"]
    process = command(*flags, study="any")
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    (trial,) = runs(study="any", kind="trial")
    assert trial.data.params["steps"] == "340"
    assert "training steps" not in err  # a trial tells no time


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("label_frac: {low: 0.001, high: 0.1}\n", ["label_frac = 0.001", "line 1", "one each"]),
        ("label_frac: {low: 0.02, high: 0.99}\n", ["label_frac = 0.99", "line 1", "valid_labels"]),
        ("labels_per_class: {low: 1, high: 900}\n", ["labels_per_class = 900", "only"]),
    ],
)
def test_label_counts_that_the_data_cannot_give_are_refused_before_anything_is_made(
    folder, space, said
):
    (folder / "few.yaml").write_text(space)
    process = command("--search", "few.yaml", "--trials", "2", study="few")
    _, err = process.communicate(timeout=240)
    assert process.returncode == 2
    line = err.strip().splitlines()[-1]
    assert all(part in line for part in said), line
    assert not trials("few")
    assert mlflow.MlflowClient().get_experiment_by_name("ssgan/few") is None


def test_five_failures_in_a_row_end_the_study_with_their_reason(folder):
    process = command("--trials", "9", "--discriminator_lr", "1e38", study="bad")
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    line = err.strip().splitlines()[-1]
    assert "5 trials in a row failed" in line
    assert "training diverged" in line
    failed = [t for t in trials("bad") if t.user_attrs.get("failed")]
    assert 5 <= len(failed) < 9
    assert all("training diverged" in t.user_attrs["reason"] for t in failed)
    there = {r.info.run_id: r for r in runs("bad", kind="trial")}
    for trial in failed:
        run = there[trial.user_attrs["run_ids"][0]]
        assert run.info.status == "FAILED"
        assert "training diverged" in run.data.tags["ssgan.reason"]
    assert not [r for r in there.values() if r.info.status == "RUNNING"]
    (summary,) = runs("bad", kind="study")
    assert summary.info.status == "FAILED"
    assert "5 trials in a row" in summary.data.tags["ssgan.reason"]


def test_a_budget_trains_its_best_again_and_tests_the_winners(folder):
    (folder / "b.yaml").write_text(
        "mode: budget\nlabel_frac: {choices: [0.05]}\nmethod: {choices: [supervised, fixmatch]}\n"
        "network: dense\ndense_units: [8]\ndiscriminator_lr: {low: 0.001, high: 0.01}\n"
    )
    process = command("--search", "b.yaml", "--trials", "2", "--top", "1", study="b")
    _, err = process.communicate(timeout=480)
    assert process.returncode == 0, err
    ended = [r for r in runs("b", kind="trial") if r.info.status == "FINISHED"]
    again = [r for r in ended if " on fresh seeds" in r.info.run_name]
    assert sorted(r.data.params["method"] for r in again) == ["fixmatch", "supervised"]
    errors = {r.info.run_id: r.data.metrics["valid/error"] for r in again}
    assert {r.data.tags["ssgan.source"] for r in runs("b", kind="evaluate")} == errors.keys()
    assert len(runs("b", kind="trial")) == 2 * (2 + 1)  # methods × (trials + top)
    (summary,) = runs("b", kind="study")
    path = mlflow.artifacts.download_artifacts(
        run_id=summary.info.run_id, artifact_path="front.csv", dst_path=str(folder / "b")
    )
    front = pd.read_csv(path).set_index("run_id")
    assert front["validation_error"].to_dict() == pytest.approx(errors)
    lowest = {run_id for run_id, error in errors.items() if error == min(errors.values())}
    assert set(front.index[front["on_front"]]) == lowest
