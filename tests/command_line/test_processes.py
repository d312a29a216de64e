"""Commands as real processes: at once, on poor terminals, ended early."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from pipeline.__main__ import COMMANDS
from tests.command_line.common import last_line, one_line, runs

ROOT = Path(__file__).resolve().parents[2]
# The smallest training there is, long enough to be interrupted.
ENDLESS = ["--method", "supervised", "--network", "dense", "--dense_units", "[8]"]
ENDLESS += ["--augment_rotation", "0", "--augment_scale", "0", "--augment_shear", "0"]
ENDLESS += ["--augment_shift", "0", "--deterministic", "false", "--threads", "1"]
ENDLESS += ["--steps", "10000000", "--report_every", "100"]


def python(*arguments, **options):
    environment = {key: os.environ[key] for key in os.environ if key != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["pipeline", "--help"], 0),
        (["pipeline", "train", "--dataset", "mnist", "--help"], 0),
        (["experiments", "search", "--help"], 0),
        (["pipeline", "run", "--label_frac", "0"], 2),
    ],
    ids=["help", "help of a command", "help of a search", "mistake"],
)
def test_help_and_mistakes_are_told_at_once(argv, code, tmp_path):
    process = python("-X", "importtime", "-m", *argv, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    timings = [line for line in err.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in timings}
    assert "pydantic" in imported
    slow = {"tensorflow", "keras", "mlflow", "optuna", "numpy", "pandas", "matplotlib"}
    assert not imported & slow
    if code:
        one_line(re.sub(r"^import time:.*\n", "", err, flags=re.M))
    elif len(argv) == 2:
        assert all(re.search(rf"^ +{command} ", out, re.M) for command in COMMANDS)
    else:
        assert "--label_frac" in out


RESULT = """
from pipeline.command_line import guarded
from pipeline.runs import summary
metrics = {"test/error": 0.05, "test/error_low": 0.03, "test/error_high": 0.07}
metrics |= {"lift": 0.01, "lift_low": -0.01, "lift_high": 0.02}
result = summary.Result(
    stage="run", run_id="a", address="http://x", view="http://y", dataset="digits", method="ssgan",
    n_labels=10, n_valid=0, n_test=100, n_pool=1000, seeds=(0, 0), metrics=metrics, model="m-1",
    baseline=metrics,
)
raise SystemExit(guarded(lambda: summary.show(result)))
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-c", RESULT], r"3.00% \u2013 7.00%"),
        (["-m", "pipeline", "run", "--help"], r"\u2265 0"),
    ],
    ids=["result", "help"],
)
def test_a_terminal_that_lacks_a_letter_ends_nothing(words, said, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    process = python(*words, cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert said in out


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_closed_streams_end_nothing(closed, tmp_path):
    """What is opened next does not get their numbers: TensorFlow would write into it."""
    script = (
        "import os, sys; from pipeline.command_line import guarded; from pipeline import progress\n"
        "def work():\n"
        "    with progress.shown(), open('held', 'w') as held:\n"
        "        progress.note('begun')\n"
        "        progress.warn('warned')\n"
        "        os.write(2, b'native')\n"
        "        os.system('echo child >&2')\n"
        "    open('done', 'w').close()\n"
        "sys.exit(guarded(work))\n"
    )
    words = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, script]
    done = subprocess.run(
        words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == 0
    assert (tmp_path / "done").exists()
    assert (tmp_path / "held").read_text() == ""


@pytest.mark.slow
def test_a_training_that_ends_early_is_told_and_closed(shared):
    """Ctrl-C, SIGTERM and a diverging run, in three processes at once."""
    flags = {"INT": [], "TERM": [], "": ["--discriminator_lr", "1e38", "--report_every", "5"]}
    processes = {
        name: python("-m", "pipeline", "run", *ENDLESS, *more, "--run_name", f"ends {name}")
        for name, more in flags.items()
    }
    try:
        for name in ("INT", "TERM"):
            wait_for_curves(f"ends {name}", processes[name])
            processes[name].send_signal(getattr(signal, f"SIG{name}"))
        said = {name: process.communicate(timeout=60) for name, process in processes.items()}
    finally:
        for process in processes.values():
            process.kill()
    for name, process in processes.items():
        line = last_line(said[name][1])
        (run,) = runs(**{"mlflow.runName": f"ends {name}"})
        if name:
            assert process.returncode == 130
            assert "interrupted" in line
            assert run.info.status == "KILLED"
            how = f"interrupted; go on with: python -m pipeline run --resume {run.info.run_id}"
            assert run.data.tags["ssgan.reason"] == how
            assert run.data.metrics["train/images_per_second"] > 0
        else:
            assert process.returncode == 1
            assert "training diverged" in line
            assert run.info.status == "FAILED"
            assert line == f"ssgan: {run.data.tags['ssgan.reason']}"
    assert not [run for run in runs() if run.info.status == "RUNNING"]


def wait_for_curves(run_name, process):
    """Until the run has two points of its curves."""
    client, end = mlflow.MlflowClient(), time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        for run in runs(**{"mlflow.runName": run_name}):
            if len(client.get_metric_history(run.info.run_id, "train/supervised_loss")) >= 2:
                return
        time.sleep(0.5)
    pytest.fail(f"{run_name} logs no curves: {process.poll()}")
