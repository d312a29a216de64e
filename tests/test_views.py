"""The views that an experiment carries in MLflow's UI, and the command that serves it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import mlflow
import psutil
import pytest
from mlflow import MlflowClient

from pipeline.tracking import open_run, study_run, views

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 20_000  # characters of an experiment's tag, and of a view that the page would save


@pytest.fixture(scope="module")
def store(module_store: Path) -> str:
    """One for all tests here, each of which has an experiment of its own."""
    return f"sqlite:///{module_store}/mlflow.db"


@pytest.fixture
def experiment(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


def held(store: str, experiment: str) -> dict[str, dict[str, object]]:
    """Key → view of an experiment."""
    tags = MlflowClient(store).get_experiment_by_name(experiment).tags
    return {
        key.removeprefix(views.TAG): json.loads(value)
        for key, value in tags.items()
        if key.startswith(views.TAG)
    }


def identity(store: str, experiment: str) -> str:
    return str(MlflowClient(store).get_experiment_by_name(experiment).experiment_id)


def run_in(experiment: str, kind: str = "pipeline") -> None:
    with open_run(kind, experiment=experiment, name="a run"):
        pass


def test_an_experiment_s_first_run_brings_its_views(store: str, experiment: str) -> None:
    run_in(experiment)
    found = held(store, experiment)
    assert set(found) == {views.LABELS, views.CURVES, views.SAMPLES}
    state, there = json.loads(str(found[views.LABELS]["state"])), identity(store, experiment)
    assert state["orderByKey"] == "metrics.`n_labels`"
    assert "metrics.`test/error`" in state["selectedColumns"]
    MlflowClient(store).search_runs([there], state["searchFilter"], order_by=[state["orderByKey"]])


def test_the_columns_that_the_docs_explain_are_in_the_view(store: str, experiment: str) -> None:
    run_in(experiment)
    shown = json.loads(str(held(store, experiment)[views.LABELS]["state"]))["selectedColumns"]
    text = (ROOT / "docs/comparing-runs.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (`.+?) \|", text.split("Its columns")[1].split("\n\n`valid")[0], re.MULTILINE
    )
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert len(named) > 10
    assert named <= {re.findall(r"`(.+)`", column)[0] for column in shown if "`" in column}


def test_a_study_has_views_of_its_own_whatever_runs_in_it(store: str, experiment: str) -> None:
    study_run(f"ssgan/{experiment}", experiment, ["label_frac", "generator_lr"])
    run_in(f"ssgan/{experiment}", "trial")
    run_in(f"ssgan/{experiment}", "evaluate")
    found = held(store, f"ssgan/{experiment}")
    assert set(found) == {views.TRIALS, views.WINNERS}
    for view in found.values():
        state = json.loads(str(view["state"]))
        assert {"params.`label_frac`", "params.`generator_lr`"} <= set(state["selectedColumns"])
        there = identity(store, f"ssgan/{experiment}")
        MlflowClient(store).search_runs([there], state["searchFilter"])
    study_run(f"ssgan/{experiment}", experiment, ["labels_per_class"])  # the plan has changed
    assert "params.`labels_per_class`" in str(held(store, f"ssgan/{experiment}")[views.TRIALS])


def test_views_are_written_once_and_mended(
    store: str, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_in(experiment)
    client, there, written = MlflowClient(store), identity(store, experiment), []
    before = held(store, experiment)
    told = MlflowClient.set_experiment_tag
    monkeypatch.setattr(
        MlflowClient,
        "set_experiment_tag",
        lambda self, its, key, value: written.append(key) or told(self, its, key, value),
    )
    run_in(experiment)
    assert not written
    client.set_experiment_tag(there, views.TAG + views.CURVES, "of an older version")
    written.clear()
    run_in(experiment)
    assert written == [views.TAG + views.CURVES]
    assert held(store, experiment) == before


def test_a_user_s_own_views_are_left_alone_and_stand_first(store: str, experiment: str) -> None:
    run_in(experiment)
    own = {"name": "my view", "createdAt": 1_790_000_000_000, "updatedAt": 1, "state": "{}"}
    there = identity(store, experiment)
    MlflowClient(store).set_experiment_tag(there, f"{views.TAG}0123", json.dumps(own))
    run_in(experiment)
    found = held(store, experiment)
    assert found["0123"] == own
    listed = sorted(found.values(), key=lambda view: -int(str(view["createdAt"])))
    names = ["my view", "error by labels", "curves", "samples side by side"]
    assert [view["name"] for view in listed] == names


def test_no_run_is_lost_for_a_view(
    store: str, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise mlflow.MlflowException("not for you")

    monkeypatch.setattr(MlflowClient, "set_experiment_tag", refuse)
    run_in(experiment)
    (run,) = MlflowClient(store).search_runs([identity(store, experiment)])
    assert run.info.status == "FINISHED"


def test_several_may_bring_them_at_once(store: str, experiment: str) -> None:
    client = MlflowClient(store)
    there, ready = client.create_experiment(experiment), threading.Barrier(4)

    def offer() -> None:
        ready.wait()
        views.offer(MlflowClient(store), there)

    threads = [threading.Thread(target=offer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run_in(experiment)
    assert set(held(store, experiment)) == {views.LABELS, views.CURVES, views.SAMPLES}


def test_views_are_short_enough_for_a_tag_and_their_charts_have_a_place(
    store: str, experiment: str
) -> None:
    run_in(experiment)
    study_run(f"ssgan/{experiment}", experiment, [f"a_key_of_a_method_{n}" for n in range(20)])
    for name in (experiment, f"ssgan/{experiment}"):
        for view in held(store, name).values():
            assert len(json.dumps(view)) < LONGEST
            state = json.loads(str(view["state"]))
            sections = [section["uuid"] for section in state["compareRunSections"]]
            cards = state["compareRunCharts"]
            assert {card["metricSectionId"] for card in cards} <= set(sections)
            ids = sections + [card["uuid"] for card in cards]
            assert len(ids) == len(set(ids))


def test_addresses_lead_to_the_server_or_to_the_port_of_make_ui(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MLFLOW_PORT", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////tmp/some.db")
    key = f"/#/experiments/7/runs?viewStateShareKey={views.SAMPLES}&workflowType=machine_learning"
    page = f"{key}&compareRunsMode=CHART"
    assert views.address("7", views.SAMPLES) == f"http://127.0.0.1:5000{page}"
    monkeypatch.setenv("MLFLOW_PORT", "5050")
    assert views.address("7", views.SAMPLES) == f"http://127.0.0.1:5050{page}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tracking.example/")
    assert views.address("7", views.SAMPLES) == f"https://tracking.example{page}"


def test_colours_tell_methods_and_label_counts_apart() -> None:
    methods = [path.stem for path in (ROOT / "configs" / "method").glob("*.yaml")]
    colours = [views.colour(method, n) for method in methods for n in (10, 100, 1000, 10_000)]
    assert len(set(colours)) == 4 * len(methods)
    assert all(len(colour) == 7 and int(colour[1:], 16) >= 0 for colour in colours)
    assert views.colour("ssgan", 0) == views.colour("ssgan", 1)


def ui(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "ui", *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
        timeout=120,
    )


def test_a_taken_port_is_told_in_one_line_that_names_the_way_out(
    store: str, experiment: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = ui(MLFLOW_PORT=str(port))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"port {port} cannot be used" in line
    assert "make ui PORT=" in line


def test_no_command_of_the_ui_names_the_store(store: str, experiment: str) -> None:
    """Everybody on the machine reads command lines, and an address may hold a password."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run_in(experiment)
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "ui", "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout
        assert any(line.startswith("Open http") for line in process.stdout)
        started = psutil.Process(process.pid).children(recursive=True)
        commands = [" ".join(each.cmdline()) for each in started]
        assert any("mlflow ui" in command for command in commands)
        assert not any(store in command for command in commands)
        asked = f"experiments/get-by-name?experiment_name={experiment}"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/2.0/mlflow/{asked}") as answer:
            assert json.load(answer)["experiment"]["name"] == experiment
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.mark.parametrize("words", [("--port", "http"), ("--port", "70000"), ("--steps", "5")])
def test_ui_refuses_what_is_no_port(store: str, words: tuple[str, str]) -> None:
    done = ui(*words)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "port" in done.stderr
