"""Every mistake gets one line and its exit code; no run is left half-written."""

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest

from experiments.__main__ import main as experiments
from experiments.curve import grid
from pipeline.__main__ import COMMANDS, main
from pipeline.config import layers as config
from pipeline.config import named
from pipeline.data._idx import FILES
from pipeline.progress import SILENCE

ROOT = Path(__file__).resolve().parent.parent
PROGRESS = re.compile(r"\d+:\d\d:\d\d  \S")
# The smallest training there is, long enough to be interrupted.
ENDLESS = ["--method", "supervised", "--network", "dense", "--dense_units", "[8]"]
ENDLESS += ["--augment_rotation", "0", "--augment_scale", "0", "--augment_shear", "0"]
ENDLESS += ["--augment_shift", "0", "--deterministic", "false", "--threads", "1"]
ENDLESS += ["--steps", "10000000", "--report_every", "100"]


@pytest.fixture
def told(capsys):
    """Runs a command that must fail; returns the one line that it says."""

    def run(*argv, code=2):
        capsys.readouterr()
        begin = time.monotonic()
        assert main(argv) == code
        out, err = capsys.readouterr()
        assert out == ""
        waited = time.monotonic() - begin > SILENCE and PROGRESS.match(err)
        return last_line(err) if waited else one_line(err)

    return run


def one_line(err):
    *before, last = err.splitlines()
    assert not before, err
    assert last.startswith("ssgan: ")
    return last


def last_line(err):
    """What has ended a command that had begun: the last line, after those of its progress."""
    *before, last = err.splitlines()
    assert before
    assert all(map(PROGRESS.match, before)), err
    return one_line(last)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A store for the module, with the run of a real split in it."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("store")
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        assert main(["split", "--label_frac", "0.1"]) == 0
        yield folder


@pytest.fixture
def split_run(shared):
    """The id of that run."""
    return next(run.info.run_id for run in runs() if run.data.tags["ssgan.kind"] == "split")


def runs(**tags):
    client = mlflow.MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments)
    return [run for run in found if tags.items() <= run.data.tags.items()]


# ---------------------------------------------------------------- what --help tells


@pytest.fixture
def shown(capsys):
    """Runs a command with --help; returns the default that each flag shows, and the whole text."""

    def run(*argv, main=main):
        with pytest.raises(SystemExit) as ended:
            main([*argv, "--help"])
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (0, "")
        text = " ".join(out.split())
        flags = re.split(r" --(?=\w+ (?!\w+ --))", text)
        found = [re.fullmatch(r"(\w+) (.*) \(default: (.*?)\)(?: .*)?", flag) for flag in flags]
        return {match[1]: match[3] for match in found if match}, text

    return run


@pytest.mark.parametrize("dataset", named.names("dataset"))
@pytest.mark.parametrize("method", named.names("method"))
def test_help_shows_the_values_that_a_run_would_have(dataset, method, shown):
    values, text = shown("run", "--dataset", dataset, "--method", method)
    resolved = config.load({"dataset": dataset, "method": method}).flat()
    assert (values.pop("dataset"), values.pop("method")) == ("digits", "ssgan")
    assert set(values) == set(resolved) - {"dataset", "method", "run_id"}
    assert config.load({"dataset": dataset, "method": method, **values}).flat() == resolved
    assert f"are those of --dataset {dataset} --method {method}." in text
    assert (f"method {method} alone:" in text) == bool(set(resolved) - set(config.SHARED))


def test_help_heeds_a_file_and_outlives_a_mistake(shown, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = Path("own.yaml")
    file.write_text("method: vat\nsteps: 77\nxi: 0.5\n")
    values, text = shown("run", "--config", str(file), "--dataset", "mnist")
    assert [values[key] for key in ("method", "steps", "xi")] == ["vat", "77", "0.5"]
    assert f"--dataset mnist --method vat --config {file}." in text
    values, text = shown("run", "--dataset", "mnist", "--steps", "300")
    short = config.load({"dataset": "mnist", "steps": "300"})
    assert values["steps"] == "10670"
    assert values["warm_up_share"] == str(short.own["warm_up_share"])
    file.write_text("method: vat\nstepps: 77\n")
    for flags, says, steps in [
        (["--dataset", "mnits", "--method", "fixmatch"], "did you mean mnist?", "1000"),
        (["--dataset", "mnist", "--method", "ssgann"], "did you mean ssgan?", "10670"),
        (["--dataset", "mnist", "--config", str(file)], "line 2", "10670"),
        (["--dataset", "mnits", "--method", "ssgann"], "did you mean", "1560"),
        (["--steps", "many"], "steps = 'many'", "1560"),
    ]:
        values, text = shown("train", *flags)
        assert says in text.partition("Not allowed: ")[2]
        assert values["steps"] == steps


def test_help_of_a_search_shows_its_settings_and_what_it_searches(shown):
    values, text = shown("search", "--search", "mnist", main=experiments)
    assert values["dataset"] == "mnist"
    assert (values["steps"], values["valid_labels"], values["trials"]) == ("2670", "500", "30")
    assert values["label_frac"] == "searched from 0.00167 to 0.05, on a log scale"
    assert (values["search"], values["study"]) == ("pareto", "mnist-mnist")
    assert "--dataset mnist --method ssgan --search mnist." in text
    assert (
        shown("search", "--search", "mnist", "--steps", "9", main=experiments)[0]["steps"] == "2670"
    )
    values, text = shown("search", "--mode", "budget", "--method", "vat", main=experiments)
    assert (values["search"], values["mode"]) == ("budget", "pareto")
    assert values["method"] == "searched among ssgan, supervised"
    assert values["xi"] == str(config.load({"method": "vat"}).own["xi"])
    assert "no such file" in shown("search", "--search", "nope", main=experiments)[1]


@pytest.mark.parametrize(
    ("dataset", "steps"), [("digits", "1560"), ("mnist", "10670"), ("folder", "0"), ("npz", "0")]
)
def test_help_of_a_curve_shows_the_steps_of_its_data_set(dataset, steps, shown):
    flags = ["--dataset", dataset]
    for more in ([], ["--steps", "9"]):
        values, text = shown("curve", *flags, *more, main=experiments)
        assert (values["dataset"], values["steps"]) == ("digits", steps)
        assert f"are those of --dataset {dataset} --method ssgan" in text
    values, _ = shown("curve", *flags, "--curve", "quick", main=experiments)
    quick = grid.read({"dataset": dataset, "curve": "quick"})
    assert values["steps"] == str(quick.config(quick.settings.methods[-1]).flat()["steps"])


# ---------------------------------------------------------------- before any store is touched


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "--label_frac", "0"], "label_frac = '0' (from --label_frac)"),
        (["run", "--label_frac", "-0.1"], "label_frac = '-0.1' (from --label_frac)"),
        (["split", "--label_frac=nan"], "label_frac = 'nan' (from --label_frac)"),
        (["run", "--label_farc", "0.1"], "did you mean label_frac?"),
        (["run", "--penalty_weight", "much"], "penalty_weight = 'much' (from --penalty_weight)"),
        (["run", "--penalty_weight=-1"], "penalty_weight = '-1' (from --penalty_weight)"),
        (["run", "--dataset", "mnsit"], "did you mean mnist?"),
        (["run", "--method", "gan"], "known: "),
        (["run", "--config", "none.yaml"], "(No such file or directory) (looked for /"),
        (["run", "--label_frac", "0.001"], "use label_frac=0.007 or more"),
        (
            ["run", "--dataset", "mnist", "--data_dir", "lost"],
            "data_dir=lost does not exist (looked for /",
        ),
        (["run", "--split_file", "none.parquet"], "none.parquet does not exist (looked for /"),
        (["run", "garbage"], "'garbage'"),
        (["run", "--label_frac", "0.1", "0.2"], "'0.2'"),
        (["run", "--label_frac"], "--label_frac: expected one argument"),
        (["run", "--label_frac", ""], "--label_frac: expected a value, it is empty"),
        (["split", "--config", ""], "--config: expected a value, it is empty"),
        (["run", "--penalty_weight"], "--penalty_weight: expected a value"),
        (["fly"], "'fly'"),
        ([], "command"),
        (["train"], "train needs run_id"),
        (["evaluate", "--run_id", ""], "evaluate needs run_id"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_gets_one_line_and_makes_no_store(argv, says, told, store, tmp_path):
    assert says in told(*argv)
    assert not list(tmp_path.iterdir())


def test_damaged_data_get_one_line_and_make_no_store(told, store, tmp_path):
    idx, npz = tmp_path / "idx", tmp_path / "own.npz"
    idx.mkdir()
    for name, shape in zip(FILES, [(40, 28, 28), (40,), (20, 28, 28), (20,)], strict=True):
        header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
        (idx / name).write_bytes(header + bytes(int(np.prod(shape)) - 1))
    line = told("run", "--dataset", "mnist", "--data_dir", str(idx))
    assert str(idx / FILES[0]) in line
    write_npz(npz, np.array([0, 1, 3] * 4))
    line = told("run", "--dataset", "npz", "--data_dir", str(npz))
    assert "class 2 has no label among the training images" in line
    assert not (tmp_path / "mlflow.db").exists()


def write_npz(path, labels):
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 6, 6), np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)


# ---------------------------------------------------------------- continuing from a run


def test_a_run_id_that_cannot_be_continued(told, split_run):
    client, before = mlflow.MlflowClient(), len(runs())
    foreign = client.create_run("0").info.run_id
    assert "there is no such run in sqlite:" in told("train", "--run_id", "f" * 32)
    assert "there is no such run in sqlite:" in told("train", "--run_id", "../x' or 1")
    assert "not made by ssgan" in told("train", "--run_id", foreign)
    line = told("evaluate", "--run_id", split_run)
    assert "of kind 'split'; evaluate continues from train or pipeline" in line
    others = {"label_frac": "0.2", "split_seed": "1", "dataset": "npz", "labels_per_class": "10"}
    for key, value in others.items():
        line = told("train", "--run_id", split_run, f"--{key}", value)
        assert key in line
        assert value in line
        assert split_run in line
    assert "gann_weight" in told("train", "--run_id", split_run, "--gann_weight", "1")
    client.delete_run(foreign)
    assert len(runs()) == before


def test_data_that_changed_under_a_run_id(told, shared, tmp_path):
    npz, labels = tmp_path / "own.npz", np.arange(30) % 3
    write_npz(npz, labels)
    flags = ["--dataset", "npz", "--data_dir", str(npz), "--label_frac", "0.5"]
    assert main(["split", *flags, "--experiment", "npz"]) == 0
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("npz").experiment_id
    (source,) = client.search_runs([experiment])
    write_npz(npz, labels[::-1])
    line = told("train", "--run_id", source.info.run_id)
    assert str(npz) in line
    assert "not the data of run" in line
    assert len(client.search_runs([experiment])) == 1


# ---------------------------------------------------------------- a store that cannot be used


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("place", ["under a file", "a folder", "no database", "no server"])
def test_a_store_that_cannot_be_used_is_told_within_seconds(place, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "file"
    file.write_text("this is no database" * 1000)
    uri = {
        "under a file": f"sqlite:///{file}/mlflow.db",
        "a folder": f"sqlite:///{tmp_path}",  # SQLite says of it what it says of a locked folder
        "no database": f"sqlite:///{file}",
        "no server": f"http://127.0.0.1:{free_port()}",
    }[place]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    begin = time.monotonic()
    code = 1 if place == "no server" else 2  # a server may come back, the others are mistakes
    assert f"the MLflow store {uri} cannot be used" in told("split", code=code)
    assert time.monotonic() - begin < 15  # the default of MLflow waits for four minutes
    if place == "a folder":  # the run of `mlflow run` cannot be ended: still one line
        monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
        assert "label_frac" in told("run", "--label_frac", "0")


def test_an_artifact_folder_that_cannot_be_written(told, shared, tmp_path, monkeypatch):
    shutil.copy(shared / "mlflow.db", tmp_path)
    (tmp_path / "mlruns").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    line = told("split", "--experiment", "no artifacts")
    assert f"keeps its artifacts in {tmp_path}/mlruns" in line
    assert "cannot be written (Not a directory)" in line
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("no artifacts").experiment_id
    assert not client.search_runs([experiment])
    # The run of `mlflow run` is there already.
    launched = client.create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", launched)
    assert told("split") == line
    run = client.get_run(launched)
    assert run.info.status == "FAILED"
    assert f"ssgan: {run.data.tags['ssgan.reason']}" == line.strip()


def test_a_value_that_changes_nothing_is_told(shared, capsys):
    assert main(["split", "--labels_per_class", "3", "--stratified", "no"]) == 0
    assert "stratified = False changes nothing: labels_per_class" in capsys.readouterr().err


def test_a_run_id_in_a_file_is_that_of_the_command_line(told, shared, tmp_path, split_run):
    file = tmp_path / "own.yaml"
    file.write_text(f"seed: 1\nrun_id: {split_run}\n")
    given = ("--config", str(file))
    for command in ("run", "split"):
        line = told(command, *given)
        assert f"run_id = '{split_run}' (from {file}, line 2): {command} starts anew" in line
    assert "of kind 'split'; evaluate continues from" in told("evaluate", *given)
    assert "there is no such run" in told("train", *given, "--run_id", "f" * 32)


# ---------------------------------------------------------------- the run that `mlflow run` makes


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


# ---------------------------------------------------------------- real processes


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
