"""`run --resume`: a run that was killed in every phase ends as if it had been left alone."""

import errno
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest

from benchmarks.faults.resume import FLAGS, PHASES, Scene, difference, ended, kill_in
from pipeline.__main__ import main
from pipeline.config import layers as configuration
from pipeline.runs import flow, kept, provenance, resume
from pipeline.runs.differences import FINDINGS
from pipeline.runs.logged import Measured
from pipeline.tracking import CHECKPOINTS, dead
from pipeline.tracking.store import REASON
from pipeline.training.checkpoints import Checkpoints
from tests.runs.test_differences import unbalanced

pytestmark = pytest.mark.slow

SHORT = {"steps": "150", "report_every": "25"}
RESUME = "python -m pipeline run --resume"


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A store and a home, with a run that was left alone."""
    return Scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def whole(scene):
    command = scene.new(**SHORT)
    run_id = scene.run_id(command, set())
    code, said = ended(command)
    assert code == 0, said
    assert not (scene.checkpoints() / run_id).exists()  # a run that has ended well leaves none
    return run_id


@pytest.fixture
def here(scene, monkeypatch):
    """Commands of this process see the scene."""
    monkeypatch.chdir(scene.folder)
    monkeypatch.setenv("HOME", str(scene.folder))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{scene.folder}/mlflow.db")


@pytest.fixture
def told(here, capsys):
    """Runs a command that must fail with a user's mistake; the line that it ends with."""

    def run(*argv):
        capsys.readouterr()
        assert main(argv) == 2
        return capsys.readouterr().err.splitlines()[-1]

    return run


def begun(scene, **flags):
    known = {folder.name for folder in scene.checkpoints().glob("*")}
    command = scene.new(**{**SHORT, **flags})
    return command, scene.run_id(command, known)


def until_it_trains(scene, command, run_id):
    end = time.monotonic() + 300
    while not scene.client.get_run(run_id).data.metrics.get("train/contrastive_loss"):
        assert command.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)


def artifacts(scene, run_id, folder=""):
    found = scene.client.list_artifacts(run_id, folder)
    inside = [path for item in found if item.is_dir for path in artifacts(scene, run_id, item.path)]
    return sorted([*(item.path for item in found if not item.is_dir), *inside])


def named(paths):
    """Without what MLflow puts into names at random."""
    return [re.sub(r".timestamp.*", "", path) for path in paths]


def test_killed_in_every_phase_one_after_the_other_it_ends_the_same(scene, whole, here):
    (command, run_id), waits = begun(scene), random.Random(0)
    for phase in PHASES:
        kill_in(scene, command, run_id, phase, waits.uniform(0, 0.3))
        assert scene.client.get_run(run_id).info.status == "RUNNING"
        command = scene.start("--resume", run_id)
    code, said = ended(command)
    assert code == 0, said
    assert difference(scene.numbers(whole), scene.numbers(run_id)) == ""
    expected, found = scene.arms(whole), scene.arms(run_id)
    assert [arm.info.status for arm in found] == ["FINISHED", "FINISHED"]
    for one, other in zip(expected, found, strict=True):
        assert one.data.params == other.data.params
        assert one.data.tags.keys() == other.data.tags.keys()
        assert REASON not in other.data.tags
        pair = [named(artifacts(scene, arm.info.run_id)) for arm in (one, other)]
        assert sorted([*pair[0], "environment-resumed.json"]) == pair[1]  # of who went on
        models = [
            scene.client.search_logged_models(
                [arm.info.experiment_id], f"source_run_id = '{arm.info.run_id}'"
            )
            for arm in (one, other)
        ]
        assert len(models[0]) == len(models[1])
    assert not (scene.checkpoints() / run_id).exists()
    assert main(["evaluate", "--run_id", run_id]) == 0  # its models and tables are whole


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_says_the_command_that_goes_on(scene, whole, sign, here):
    command, run_id = begun(scene, checkpoint_every="3600")
    until_it_trains(scene, command, run_id)
    begin = time.monotonic()
    os.killpg(command.pid, sign)
    code, said = ended(command)
    took = time.monotonic() - begin
    assert code == 130
    assert said.splitlines()[-1] == (
        "ssgan: interrupted; a run that had begun is KILLED and keeps what it had; go on with: "
        f"{RESUME} {run_id}"
    )
    run = scene.client.get_run(run_id)
    assert run.info.status == "KILLED"
    assert run.data.tags[REASON] == f"interrupted; go on with: {RESUME} {run_id}"
    assert took < 60
    code, said = ended(scene.start("--resume", run_id))
    assert code == 0, said
    assert difference(scene.numbers(whole), scene.numbers(run_id)) == ""


def test_a_killed_run_is_told_by_the_next_command_with_what_goes_on(scene, whole, here, capsys):
    command, run_id = begun(scene)
    kill_in(scene, command, run_id, "step", 0.1)
    dead.sweep.cache_clear()
    assert main(["split"]) == 0
    line = capsys.readouterr().err.splitlines()
    assert any(one.endswith(f"go on with: {RESUME} {run_id}") for one in line)
    reason = scene.client.get_run(run_id).data.tags[REASON]
    assert reason.endswith(f"Go on with: {RESUME} {run_id}")
    files = sorted((scene.checkpoints() / run_id / "method").glob("*.npz"))
    for file in files:
        file.write_bytes(file.read_bytes()[:-7])
    command = scene.start("--resume", run_id)
    code, said = ended(command)
    assert code == 0, said
    assert "is damaged" in said
    assert "the training begins anew" in said
    assert difference(scene.numbers(whole), scene.numbers(run_id)) == ""


def test_going_on_keeps_what_the_run_has_noted_and_where_it_lies(scene, here, tmp_path):
    data = unbalanced(tmp_path / "digits.npz")
    arrays = dict(np.load(data))
    arrays["x_test"][0] = arrays["x_train"][0]
    np.savez(data, **arrays)
    flags = {"dataset": "npz", "data_dir": str(data), "labels_per_class": "25", "generator": "no"}
    command, run_id = begun(scene, **flags, steps="60")
    kill_in(scene, command, run_id, "baseline", 0)
    before = scene.client.get_run(run_id).data.tags
    assert "steps" in before[resume.TYPED].split()
    assert "test images" in before[FINDINGS]
    assert "another mix of classes" in before[FINDINGS]
    scene.client.set_tag(run_id, provenance.CODE, "older")
    moved = tmp_path / "new"
    shutil.move(scene.checkpoints() / run_id, moved / run_id)
    command = scene.start("--resume", run_id, "--checkpoint_dir", str(moved))
    code, said = ended(command)
    assert code == 0, said
    after = scene.client.get_run(run_id).data.tags
    noted = (resume.TYPED, FINDINGS)
    assert [after[key] for key in noted] == [before[key] for key in noted]
    assert after[CHECKPOINTS] == str(moved / run_id)
    assert after[provenance.CODE] == f"older {before[provenance.CODE]}"
    assert "ssgan has changed since the run began" in said
    names = {file.path for file in scene.client.list_artifacts(run_id)}
    assert {"environment.json", "environment-resumed.json"} <= names


def test_what_cannot_go_on_is_told_in_one_line(scene, whole, told):
    assert "there is no such run" in told("run", "--resume", "0" * 32)
    assert "has finished" in told("run", "--resume", whole)
    child = scene.arms(whole)[1].info.run_id
    assert f"resume = {whole}, whose child it is" in told("run", "--resume", child)
    line = told("run", "--resume", whole, "--seed", "1")
    assert line.startswith("ssgan: seed = '1' (from --seed): resume goes on with the run's own")
    assert "--resume" in told("train", "--resume", whole)
    assert main(["split"]) == 0
    client = mlflow.MlflowClient()
    experiment = client.get_run(whole).info.experiment_id
    [split, *_] = client.search_runs([experiment], "tags.`ssgan.kind` = 'split'")
    assert "of kind 'split'" in told("run", "--resume", split.info.run_id)
    foreign = client.create_run(experiment).info.run_id
    assert "not made by ssgan" in told("run", "--resume", foreign)
    client.delete_run(foreign)
    assert "was deleted" in told("run", "--resume", foreign)


def test_a_run_at_work_and_one_without_checkpoint_are_refused(scene, told):
    command, run_id = begun(scene, checkpoint_every="3600", steps="1000000")
    until_it_trains(scene, command, run_id)
    assert "is still at work" in told("run", "--resume", run_id)
    os.killpg(command.pid, signal.SIGKILL)
    command.communicate()
    line = told("run", "--resume", run_id)
    assert f"there is no checkpoint of that run in {scene.checkpoints() / run_id}" in line
    assert "python -m pipeline run --config <file>" in line


# ---------------------------------------------------------------- folders


def config(tmp_path, **flags):
    return configuration.load({"checkpoint_dir": str(tmp_path / "kept"), **flags})


def run_id_of(name):
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def folder_of(tmp_path, name, days, size=1000):
    with kept.opened(kept.place(config(tmp_path), run_id_of(name)), config(tmp_path)) as folder:
        folder.checkpoints("method").save({"key": ""}, {})
        (folder.path / "large").write_bytes(bytes(size))
    then = time.time() - days * kept.A_DAY
    for file in folder.path.rglob("*"):
        os.utime(file, (then, then))
    return folder.path


def test_folders_go_after_some_days_and_beyond_a_total_size(tmp_path, monkeypatch):
    recent = [folder_of(tmp_path, f"{i} days", i, 20_000) for i in (3, 2, 1)]
    old = folder_of(tmp_path, "old", kept.DAYS + 1)
    trial = old.rename(old.parent / f"trial-{'0' * 16}-{old.name}")
    old = folder_of(tmp_path, "old", kept.DAYS + 1)
    foreign = tmp_path / "kept" / "somebody's"
    foreign.mkdir()
    with kept._locked(old, needed=True):
        folder_of(tmp_path, "new", 0)
        assert old.exists()  # somebody works on it
    folder_of(tmp_path, "newer", 0)
    assert [path.exists() for path in (*recent, old, foreign)] == [True, True, True, False, True]
    assert not trial.exists()
    monkeypatch.setattr(kept, "BYTES", 50_000)
    folder_of(tmp_path, "newest", 0)
    assert [path.exists() for path in (*recent, foreign)] == [False, True, True, True]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("thesis", ("lock", "data/a.txt")),
        ("thesis", ("lock", "record.json", "data/a.txt")),
        ("a" * 32, ("lock", "data/a.txt")),
        ("A" * 32, ("lock", "record.json", "data/a.txt")),
        ("a" * 32, ("record.json", "data/a.txt")),
    ],
)
def test_what_is_not_a_runs_folder_stays_however_old_it_is(name, files, tmp_path):
    then = time.time() - 10 * kept.DAYS * kept.A_DAY
    for file in files:
        path = tmp_path / "kept" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("years of work")
        os.utime(path, (then, then))
    folder_of(tmp_path, "new", 0)
    assert path.read_text() == "years of work"


@pytest.mark.parametrize("written", [0, 1])
def test_on_a_full_disk_an_arm_that_is_done_keeps_its_checkpoints(written, tmp_path, monkeypatch):
    measured = Measured({"test/error": 0.1}, np.zeros(2, bool), np.zeros(0, bool), "classifier")
    left, real = [None] * written, Checkpoints._write

    def full(self, arrays):
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left.pop()
        real(self, arrays)

    with kept.opened(kept.place(config(tmp_path), run_id_of("a run")), config(tmp_path)) as folder:
        folder.checkpoints(kept.METHOD).save({"key": ""}, {})
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "_write", full)
            folder.keep(kept.METHOD, measured)
        assert folder.goes_on()
        assert (folder.recall(kept.METHOD) is not None) == bool(written)
        assert folder.checkpoints(kept.METHOD).exist() == (not written)


def test_a_folder_that_goes_while_it_is_looked_at_is_passed_over(tmp_path, monkeypatch):
    other, real = folder_of(tmp_path, "other", 0), Path.is_file

    def is_file(path):
        there = real(path)
        if path == other / kept.LOCK:  # now another process ends well
            shutil.rmtree(other)
        return there

    monkeypatch.setattr(Path, "is_file", is_file)
    assert folder_of(tmp_path, "new", 0).exists()
    assert not other.exists()


def test_only_one_process_works_on_a_folder(tmp_path):
    path = kept.place(config(tmp_path), "a run")
    script = (
        "import sys; from pathlib import Path; from pipeline.runs import kept\n"
        "from pipeline.config import layers as configuration\n"
        "with kept.opened(Path(sys.argv[1]), configuration.load({})) as folder:\n"
        "    print(folder.path)\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    with kept.opened(path, config(tmp_path)):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "another process works on this run" in done.stderr
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(path)


def test_where_no_folder_can_be_made_the_run_goes_on_without(store, tmp_path, capsys):
    (tmp_path / "kept").write_text("in the way")
    flags = FLAGS | {"steps": "8", "method": "supervised", "network": "dense"}
    flags = {key: flags[key] for key in ("steps", "method", "network", "dense_units")}
    flags |= {"labels_per_class": "5", "checkpoint_dir": str(tmp_path / "kept")}
    result = flow.run(configuration.load(flags))
    assert mlflow.MlflowClient().get_run(result.run_id).info.status == "FINISHED"
