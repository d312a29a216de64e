"""A real curve by the real command line: killed in the middle, gone on with by two at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("supervised", "ssgan", "supervised_all", "label_spreading")
COUNTS, SEEDS, IMAGES = (20, 50), (0, 1), 1437
CELLS = {(m, n, s) for m in METHODS[:2] + METHODS[3:] for n in COUNTS for s in SEEDS}
CELLS |= {("supervised_all", IMAGES, seed) for seed in SEEDS}
GRID = ["--name", "c", "--methods", ",".join(METHODS), "--label_counts", "20,50"]
GRID += ["--seeds", "2", "--steps", "40", "--report_every", "20"]


def command(*words, verb="curve"):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", verb, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def ended(*words, verb="curve", code=0):
    process = command(*words, verb=verb)
    out, err = process.communicate(timeout=500)
    assert process.returncode == code, err
    return out, err


def runs(kind="cell", experiment="ssgan/c"):
    if not Path("mlflow.db").is_file():  # which the command makes, whole; two would be in the way
        return []
    client = mlflow.MlflowClient()
    there = client.get_experiment_by_name(experiment)
    if there is None:
        return []
    found = client.search_runs([there.experiment_id], max_results=1000)
    return [run for run in found if run.data.tags.get("ssgan.kind") == kind]


def of(status, found):
    return [run for run in found if run.info.status == status]


def cell_of(run):
    return (
        run.data.tags["ssgan.method"],
        int(run.data.metrics["n_labels"]),
        int(run.data.params["seed"]),
    )


def artifact(run, name, folder):
    return mlflow.artifacts.download_artifacts(
        run_id=run.info.run_id, artifact_path=name, dst_path=str(folder)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        there = tmp_path_factory.mktemp("curve")
        patch.chdir(there)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{there}/mlflow.db")
        yield there


@pytest.fixture(scope="module")
def drawn(folder):
    """What one of two commands says that have gone on with a curve whose command was killed."""
    process = command(*GRID, "--workers", "2")
    try:
        end = time.monotonic() + 300
        while not (of("FINISHED", runs()) and of("RUNNING", runs())):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the command and its workers
        process.communicate()
    before = {run.info.run_id for run in of("FINISHED", runs())}
    both = [command(*GRID), command(*GRID)]
    said = [process.communicate(timeout=500) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    return before, *said[0]


def test_every_cell_is_trained_once_whatever_was_killed_and_however_many_go_on(drawn):
    before, _, _ = drawn
    finished = of("FINISHED", runs())
    assert sorted(cell_of(run) for run in finished) == sorted(CELLS)
    assert before <= {run.info.run_id for run in finished}
    killed = of("KILLED", runs())
    assert killed
    assert all("its process is gone" in run.data.tags["ssgan.reason"] for run in killed)
    assert len(finished) + len(killed) == len(runs())
    assert not of("RUNNING", runs("curve"))


def test_each_cell_is_a_flat_run_that_was_measured_on_the_test_images(drawn):
    for run in of("FINISHED", runs()):
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.data.tags["ssgan.curve"] == "c"
        method, labels, _ = cell_of(run)
        metrics = run.data.metrics
        assert 0 <= metrics["test/error"] < 0.95
        assert (metrics["n_test"], metrics["labels_read"]) == (360, labels)
        assert metrics["time/total_s"] > 0
        assert run.data.params["split_seed"] == run.data.params["seed"]
        named = "supervised" if method == "supervised_all" else method
        assert run.data.params["method"] == named
        assert not any(key.startswith("samples/") for key in metrics)


def test_methods_share_their_splits_and_small_ones_lie_in_large_ones(drawn, tmp_path):
    labelled = {}
    for run in of("FINISHED", runs()):
        table = pd.read_parquet(artifact(run, "split/manifest.parquet", tmp_path))
        labelled[cell_of(run)] = set(table.loc[table["part"] == "labelled", "index"])
    for (method, labels, seed), found in labelled.items():
        assert len(found) == labels
        if method != "supervised_all":
            assert found == labelled["supervised", labels, seed]
    for seed in SEEDS:
        assert labelled["ssgan", 20, seed] < labelled["ssgan", 50, seed]


def test_it_tells_the_time_and_what_is_known(drawn):
    _, out, err = drawn
    assert "curve c: supervised, ssgan, supervised_all, label_spreading at 20, 50 labels" in err
    assert " trainings, about " in err
    assert f"c: cells, {len(CELLS)}/{len(CELLS)} cells (100%)" in err
    assert "median error at 50 labels: supervised" in err
    assert out.splitlines()[0]
    assert "report  curves/c/report.html" in out


def test_the_report_lies_in_the_summary_run_and_beside_it(drawn, folder, tmp_path):
    (summary,) = runs("curve")
    assert summary.info.status == "FINISHED"
    for name in ("report.html", "report.md", "cells.csv"):
        kept = Path(artifact(summary, name, tmp_path)).read_text(encoding="utf-8")
        assert kept == (folder / "curves" / "c" / name).read_text(encoding="utf-8")
    table = pd.read_csv(folder / "curves" / "c" / "cells.csv")
    assert len(table) == len(CELLS)
    assert set(table["method"]) == set(METHODS)
    assert set(table["n_test"]) == {360}
    errors = {run.info.run_id: run.data.metrics["test/error"] for run in of("FINISHED", runs())}
    assert all(
        errors[i] == pytest.approx(e) for i, e in zip(table.run_id, table.error, strict=True)
    )


def test_the_same_command_trains_nothing_again(drawn):
    before = len(runs())
    out, err = ended(*GRID, "--out", "elsewhere/page.html")
    assert len(runs()) == before
    assert f"{len(CELLS)} of {len(CELLS)} trainings are there already" in err
    assert Path("elsewhere/page.html").is_file()
    assert "report  elsewhere/page.html" in out


def test_a_budget_that_is_spent_keeps_what_is_there(drawn):
    before = len(runs())
    words = [*GRID[:-6], "--seeds", "4", *GRID[-4:], "--budget", "1s"]
    _, err = ended(*words)
    assert len(runs()) == before
    assert "into 1 s fit 2 of 2 label counts (20, 50) with 2 of 4 seeds" in err
    assert "fewer than 7 seeds give no verdict at 2 label counts" in err


def test_a_method_whose_first_training_failed_is_planned_as_dear_as_the_others(folder):
    words = ["--name", "dear", "--label_counts", "20,50", "--seeds", "2", "--steps", "40"]
    words += ["--discriminator_lr", "1e9", "--against", "label_spreading"]
    ended(*words, "--methods", "label_spreading")
    _, err = ended(*words, "--methods", "label_spreading,supervised", "--budget", "1s")
    assert "all of it fits" not in err
    assert "too short" in err or "into 1 s fit" in err
    _, err = ended(*words, "--name", "none", "--methods", "supervised", "--budget", "1h", code=1)
    assert "fits" not in err.replace("what fits", "")
    assert "every method's first training failed" in err


def test_the_report_is_made_of_any_runs_that_a_filter_chooses(drawn, tmp_path):
    where = "metrics.n_labels < 100 and tags.`ssgan.method` != 'label_spreading'"
    out, _ = ended("--filter", where, "--experiment", "ssgan/c", verb="report")
    table = pd.read_csv("reports/cells.csv")
    assert set(table["method"]) == {"supervised", "ssgan"}
    assert len(table) == 8
    (run,) = runs("report")
    assert Path(artifact(run, "report.html", tmp_path)).is_file()
    assert run.info.run_id in out
    out, _ = ended("--curve", "c", verb="report")
    assert len(pd.read_csv("curves/c/cells.csv")) == len(CELLS)
    assert "differ in" not in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--filter", "metrics.n_labels <"], "filter = 'metrics.n_labels <': "),
        (["--filter", "metrics.n_labels > 1e9"], "chooses no finished run"),
        (["--experiment", "nowhere"], "there is no such experiment"),
        (["--curve", "nowhere"], "there is no such experiment"),
        (["--against", "vat"], "against = 'vat': none of the runs is of that method"),
        (["--curve", "c", "--experiment", "ssgan/c"], "give one of them"),
        (["--seeds", "3"], "--seeds: report knows --filter"),
    ],
)
def test_a_mistake_in_a_report_is_one_line(drawn, words, said):
    there = [] if {"--experiment", "--curve"} & {*words} else ["--experiment", "ssgan/c"]
    _, err = ended(*words, *there, verb="report", code=2)
    (line,) = [line for line in err.splitlines() if line.startswith("ssgan: ")]
    assert said in line
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "ssgn"], "no such method as 'ssgn'"),
        (["--label_counts", "20,9999"], "9,999 labels are more than the 1,437 there are"),
        (["--dataset", "folder"], "data_dir"),
    ],
)
def test_a_mistake_in_a_curve_is_one_line_and_no_run(folder, words, said):
    _, err = ended("--name", "wrong", *words, code=2)
    (line,) = [line for line in err.splitlines() if line.startswith("ssgan: ")]
    assert said in line
    assert not runs(experiment="ssgan/wrong")


def test_a_curve_whose_trainings_all_fail_says_why(folder):
    words = ["--name", "lost", "--label_counts", "20", "--seeds", "4", "--steps", "40"]
    words += ["--discriminator_lr", "1e9", "--max_failures", "2", "--methods", "supervised"]
    _, err = ended(*words, code=1)
    (line,) = [line for line in err.splitlines() if line.startswith("ssgan: curve lost")]
    lost = runs(experiment="ssgan/lost")
    assert len(of("FAILED", lost)) >= 2
    assert {run.info.status for run in lost} <= {"FAILED", "KILLED"}
    reasons = {run.data.tags["ssgan.reason"][:40] for run in of("FAILED", lost)}
    assert any(reason in line for reason in reasons), (line, reasons)
    assert "Traceback" not in err
    (summary,) = runs("curve", "ssgan/lost")
    assert summary.info.status == "FAILED"
    assert not of("RUNNING", lost)
