"""What surrounds the code agrees with it, and `mlflow run` reaches a result."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import mlflow
import pytest
import yaml
from mlflow.projects import _project_spec
from mlflow.utils.environment import _PythonEnv

from experiments import plan as plans
from pipeline.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def text(path):
    return (ROOT / path).read_text(encoding="utf-8")


def pins(path):
    """(name, version) of every pin, in order, names as package indexes compare them."""
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", text(path), re.MULTILINE)
    return [(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in found]


# ---------------------------------------------------------------- pins


def test_conda_and_pyproject_take_the_pins_of_requirements():
    environment = _PythonEnv.from_conda_yaml(str(ROOT / "conda.yaml"))
    lines = (text("requirements.txt") + text("requirements-pretrained.txt")).splitlines()
    required = [line for line in lines if line and line[0] != "#"]
    assert environment.dependencies == required
    assert all(re.fullmatch(r"[a-z0-9_-]+==[\d.]+", line) for line in required)
    assert PYPROJECT["tool"]["setuptools"]["dynamic"] == {
        "dependencies": {"file": ["requirements.txt"]},
        "optional-dependencies": {
            "dev": {"file": ["requirements-dev.txt"]},
            "poisson": {"file": ["requirements-poisson.txt"]},
            "pretrained": {"file": ["requirements-pretrained.txt"]},
            "ray": {"file": ["requirements-ray.txt"]},
        },
    }
    ray = [line for line in text("requirements-ray.txt").splitlines() if line[0] != "#"]
    assert all(re.fullmatch(r"[a-z\[\]]+==[\d.]+", line) for line in ray)
    assert "dependencies" in PYPROJECT["project"]["dynamic"]


def test_the_lock_holds_every_pin_with_hashes_and_names_no_index():
    locked = pins("requirements.lock")
    files = ("requirements.txt", "requirements-pretrained.txt", "requirements-dev.txt")
    ours = [pin for file in files for pin in pins(file)]
    names = {name for name, _ in ours}
    # In one version each, whatever the platform.
    assert sorted(pin for pin in locked if pin[0] in names) == sorted(ours)
    lock = text("requirements.lock")
    assert not re.search(r"https?:|--(extra-)?index|--find-links|--trusted-host", lock)
    requirements = re.findall(r"^\S.*==.*\\\n +--hash=sha256:", lock, re.MULTILINE)
    assert len(requirements) == len(locked)


def test_python_versions_agree():
    # Any 3.11.x, so that uv takes the one that is there.
    minor = _PythonEnv.from_conda_yaml(str(ROOT / "conda.yaml")).python
    lowest, highest = re.fullmatch(
        r">=(3\.\d+),<(3\.\d+)", PYPROJECT["project"]["requires-python"]
    ).groups()
    assert minor == lowest == PYPROJECT["tool"]["mypy"]["python_version"]
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{lowest.replace('.', '')}"
    makefile = text("Makefile")
    assert f"--python-version {lowest} " in makefile
    allowed = "({}) <= v < ({})".format(*(v.replace(".", ", ") for v in (lowest, highest)))
    assert allowed in makefile
    for step in steps_of_the_workflow():
        assert step.get("with", {}).get("python-version", lowest) == lowest


# ---------------------------------------------------------------- MLproject and checks


def test_the_entry_points_are_the_commands():
    project = _project_spec.load_project(str(ROOT))
    called = {}
    for name, entry in project._entry_points.items():
        # A declared default would overrule the file of -P config=<file>; a quoted placeholder
        # lets a value out into the shell; a path that is missing leaves a run RUNNING.
        assert not [p.name for p in entry.parameters.values() if p.default is not None]
        assert "path" not in [parameter.type for parameter in entry.parameters.values()]
        assert not re.search(r"""['"]\s*\{|\}\s*['"]""", entry.command)
        python, flag, module, command, *_ = shlex.split(entry.command)
        assert (python, flag) == ("python", "-m")
        assert (ROOT / module / "__main__.py").is_file()
        called.setdefault(module, {})[name] = command
    assert called["pipeline"] == {"main" if c == "run" else c: c for c in COMMANDS}


def steps_of_the_workflow():
    (workflow,) = (ROOT / ".github" / "workflows").glob("*.yml")
    return [
        step
        for job in yaml.safe_load(workflow.read_text())["jobs"].values()
        for step in job["steps"]
    ]


def test_every_check_is_the_one_of_ci_run():
    script = [line.split("#")[0].strip() for line in text(".ci/run").splitlines()]
    checks = [line.removeprefix("check ") for line in script if line.startswith("check ")]
    assert checks == [
        "make lint",
        *(f"make {each}test" for each in ("", "slow-", "cluster-", "browser-")),
    ]
    assert [step["run"] for step in steps_of_the_workflow() if "run" in step] == ["bash .ci/run"]
    hooks = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert {hook["entry"] for repo in hooks for hook in repo["hooks"]} == {"make lint"}
    recipes = dict(re.findall(r"^(\w+):.*\n((?:\t.*\n)+)", text("Makefile"), re.MULTILINE))
    assert {"lint", "test", "run", "ui", "bench"} <= set(recipes)
    assert [line.split()[:2] for line in recipes["lint"].splitlines()] == [
        ["ruff", "format"],
        ["ruff", "check"],
        ["mypy"],
    ]
    assert "mlflow run . --env-manager local" in recipes["run"]


# ---------------------------------------------------------------- Kubernetes

KUBERNETES = [
    thing
    for file in sorted((ROOT / "docs" / "kubernetes").glob("*.yaml"))
    for thing in yaml.safe_load_all(file.read_text(encoding="utf-8"))
]


def inside(thing, key):
    """Every value of a key, however deep."""
    if isinstance(thing, dict):
        yield from (value for name, value in thing.items() if name == key)
    parts = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, list) else []
    for part in parts:
        yield from inside(part, key)


def test_what_the_files_for_kubernetes_name_is_among_them():
    there = {(thing["kind"], thing["metadata"]["name"]) for thing in KUBERNETES}
    assert {kind for kind, _ in there} == {
        *("Secret", "ConfigMap", "Service", "StatefulSet", "Deployment"),
        *("PersistentVolumeClaim", "RayJob"),
    }
    assert len(there) == len(KUBERNETES)
    assert all(thing["apiVersion"] for thing in KUBERNETES)
    for reference in inside(KUBERNETES, "secretKeyRef"):
        (secret,) = [thing for thing in KUBERNETES if thing["kind"] == "Secret"]
        assert reference["name"] == secret["metadata"]["name"]
        assert reference["key"] in secret["stringData"]
    for claim in inside(KUBERNETES, "persistentVolumeClaim"):
        assert ("PersistentVolumeClaim", claim["claimName"]) in there
    for name in re.findall(r"ssgan-(?:mlflow|postgres)(?=[:/])", str(KUBERNETES)):
        assert ("Service", name) in there
    for volumes, mounts in zip(
        inside(KUBERNETES, "volumes"), inside(KUBERNETES, "volumeMounts"), strict=True
    ):
        named = {volume["name"] for volume in volumes}
        templates = {name["name"] for name in inside(KUBERNETES, "metadata") if "name" in name}
        assert {mount["name"] for mount in mounts} <= named | templates


def test_the_search_on_kubernetes_is_one_that_is_read():
    (job,) = [thing for thing in KUBERNETES if thing["kind"] == "RayJob"]
    _, _, called = job["spec"]["entrypoint"].partition(" -m experiments search ")
    words = shlex.split(called)
    plan = plans.read(
        {key.removeprefix("--"): value for key, value in zip(words[::2], words[1::2], strict=True)}
    )
    assert plan.settings.workers == "ray"
    assert str(plan.settings.storage).startswith("postgresql+psycopg://")


# ---------------------------------------------------------------- mlflow run

SHELL_NAME = "a; touch PWNED $(touch PWNED) `touch PWNED` 'x\" & b"


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """A run that must reach its end and one that cannot begin, at the same time."""
    folder = tmp_path_factory.mktemp("launched")
    commands = {
        "good": ["label_frac=0.1", "steps=40", "penalty_weight=0.5", f"run_name={SHELL_NAME}"],
        "bad": ["label_frac=abc", "run_name=bad"],
        "interrupted": ["method=supervised", "steps=1000000", "run_name=interrupted"],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("TMPDIR", str(folder))  # `mlflow run` leaves an empty folder there
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        # Two processes that make a store at once get in each other's way.
        mlflow.MlflowClient().search_experiments()
        processes = {
            name: subprocess.Popen(
                ["mlflow", "run", str(ROOT), "--env-manager", "local"]
                + [word for pair in pairs for word in ("-P", pair)],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            for name, pairs in commands.items()
        }
        try:
            interrupt_once_it_trains(processes["interrupted"])
            said = {name: process.communicate(timeout=240) for name, process in processes.items()}
        finally:
            for process in processes.values():
                process.kill()
        yield (
            {name: (processes[name].returncode, *said[name]) for name in commands},
            runs_by_name(),
        )


def runs_by_name():
    runs = mlflow.MlflowClient().search_runs(["0"])
    return {run.data.tags["mlflow.runName"]: run for run in runs}


def eventually(found, seconds):
    """What `found` gives once it is true."""
    begin = time.monotonic()
    while not (value := found()):
        assert time.monotonic() - begin < seconds
        time.sleep(0.2)
    return value


def interrupt_once_it_trains(process):
    """Ctrl-C reaches the launcher and its command, as in a terminal."""

    def trains():
        run = runs_by_name().get("interrupted")
        return run and "train/supervised_loss" in run.data.metrics

    eventually(trains, 120)
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.slow
def test_mlflow_run_reaches_a_result(launched):
    (code, out, err), runs = launched[0]["good"], launched[1]
    assert code == 0, err
    run = runs[SHELL_NAME]
    assert run.info.status == "FINISHED"
    assert run.data.tags["ssgan.kind"] == "pipeline"
    assert run.info.run_id in out
    assert run.data.params["penalty_weight"] == "0.5"
    path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="config.yaml")
    resolved = yaml.safe_load(Path(path).read_text())
    assert (resolved["penalty_weight"], resolved["label_frac"], resolved["steps"]) == (0.5, 0.1, 40)
    (child,) = [r for r in runs.values() if "mlflow.parentRunId" in r.data.tags]
    assert child.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert child.data.tags["ssgan.kind"] == "baseline"
    assert child.info.status == "FINISHED"
    assert run.data.metrics["baseline/test_error"] == child.data.metrics["test/error"]


@pytest.mark.slow
def test_shell_characters_stay_text(launched):
    places = {ROOT, Path.cwd()}
    assert SHELL_NAME in launched[1]
    assert not [place for place in places if (place / "PWNED").exists()]


@pytest.mark.slow
def test_mlflow_run_with_a_mistake_ends_failed_with_its_reason(launched):
    (code, out, err), runs = launched[0]["bad"], launched[1]
    assert code == 1
    (line,) = [line for line in err.splitlines() if line.startswith("ssgan: ")]
    assert "label_frac = 'abc' (from --label_frac)" in line
    assert "Traceback" not in out + err
    (run,) = [run for run in runs.values() if run.data.params.get("label_frac") == "abc"]
    assert run.info.status == "FAILED"
    assert line == f"ssgan: {run.data.tags['ssgan.reason']}"
    assert len(runs) == 4  # with the good one, its baseline and the interrupted one


@pytest.mark.slow
def test_ctrl_c_leaves_the_launched_run_killed(launched):
    """MLflow's launcher marks it FAILED first; see `pipeline.tracking.experiments.keep_killed`."""
    assert launched[0]["interrupted"][0] != 0
    eventually(lambda: runs_by_name()["interrupted"].info.status == "KILLED", 60)
    run = runs_by_name()["interrupted"]
    how = f"interrupted; go on with: python -m pipeline run --resume {run.info.run_id}"
    assert run.data.tags["ssgan.reason"] == how
