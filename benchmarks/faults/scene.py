"""A temporary folder with a store and a storage of its own, the real command line, and checks."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from rich.console import Console
from rich.table import Table

from experiments.search import open_storage

ROOT = Path(__file__).resolve().parent.parent.parent
STUDY = "faults"
EXPERIMENT = f"ssgan/{STUDY}"
# The smallest network there is; `steps` decides how long a trial takes.
SMALL = {"method": "supervised", "network": "dense", "dense_units": "[8]", "threads": "1"}
SMALL |= {f"augment_{how}": "0" for how in ("rotation", "scale", "shear", "shift")}
SMALL |= {"deterministic": "false", "study": STUDY}
SHORT = {"steps": "60", "report_every": "20"}  # too short to be judged as collapsed
WARNED = r"ssgan: [\d,]+ steps are [\d.]+% of the [\d,]+ that "  # what a search says of that
LONG = {"steps": "4000", "report_every": "250"}  # long enough to be killed in
SPACE = {
    "valid_labels": 100,
    "label_frac": {"low": 0.01, "high": 0.3, "log": True},
    "discriminator_lr": {"low": 1e-4, "high": 1e-2, "log": True},
}
PATIENCE = 300  # seconds for whatever has to happen
NOTICED = 3.0  # seconds until a dead process of this machine is noticed, at most

# What is started in the background ignores Ctrl-C, and so would the searches that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Scene:
    """One study and all that happens to it."""

    name: str
    folder: Path
    storage: str | None = None
    checks: list[tuple[str, bool, str]] = field(default_factory=list)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def uri(self) -> str:
        """The MLflow store."""
        return f"sqlite:///{self.folder}/mlflow.db"

    def space(self, **changes: object) -> None:
        """Write the search's file: the usual space with changes; None leaves a key out."""
        held = {key: value for key, value in {**SPACE, **changes}.items() if value is not None}
        (self.folder / "space.yaml").write_text(yaml.safe_dump(held))

    def start(self, module: str = "experiments", /, **flags: object) -> subprocess.Popen[str]:
        """Start the command, or another module's, in a process group of its own."""
        given = {**SMALL, **SHORT, "search": "space.yaml", **flags}
        if self.storage:
            given["storage"] = self.storage
        words = [part for key, value in given.items() for part in (f"--{key}", str(value))]
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
        process = subprocess.Popen(
            [sys.executable, "-m", module, "search", *words],
            cwd=self.folder,
            env={**kept, "MLFLOW_TRACKING_URI": self.uri, "HOME": str(self.folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[str]) -> tuple[int, list[str]]:
        """Wait for a command: its exit code, and what it said but greeting, progress, WARNED."""
        _, said = process.communicate(timeout=PATIENCE)
        lines = said.splitlines()
        return process.returncode, [
            line for line in lines if not re.match(rf"\d+:\d\d:\d\d  |\s|{WARNED}", line)
        ]

    def check(self, what: str, holds: object, figures: object = "") -> None:
        """Note whether something holds."""
        self.checks.append((what, bool(holds), str(figures)))

    # --- what the two stores say

    def trials(self, study: str = STUDY) -> list[Any]:
        """Optuna's trials of a study or cell, as they are now."""
        storage = open_storage(self.storage or str(self.folder / "studies" / "journal.log"))
        names = {s.study_name: s._study_id for s in storage.get_all_studies()}
        return storage.get_all_trials(names[study]) if study in names else []

    def runs(self, **tags: str) -> list[Run]:
        """The study's MLflow runs that have these tags."""
        client = MlflowClient(self.uri)
        held = client.get_experiment_by_name(EXPERIMENT)
        found = client.search_runs([held.experiment_id]) if held else []
        return [run for run in found if tags.items() <= run.data.tags.items()]

    def run_of(self, trial: Any) -> Run:
        """The MLflow run of a trial."""
        (run,) = self.runs(**{"ssgan.kind": "trial", "ssgan.trial": str(trial.number)})
        return run

    def training(self, command: subprocess.Popen[str]) -> Any:
        """Wait until a worker of this command is training; returns its trial."""

        def found() -> Any:
            ours = group(command)
            for trial in self.trials():
                sign = trial.user_attrs.get("alive", {})
                if trial.state.name == "RUNNING" and sign.get("pid") in ours:
                    runs = self.runs(**{"ssgan.trial": str(trial.number)})
                    if runs and "train/supervised_loss" in runs[0].data.metrics:
                        return trial
            return None

        return self.until(found)

    def until(self, asked: Callable[[], Any]) -> Any:
        """Ask again until the answer is true; returns it.

        Raises:
            TimeoutError: it does not come, or every command has ended meanwhile.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if answer := asked():
                return answer
            if all(process.poll() is not None for process in self.processes):
                if answer := asked():
                    return answer
                raise TimeoutError("every command has ended before what was waited for")
            time.sleep(0.1)
        raise TimeoutError("what was waited for did not come")

    def counts(self, wanted: int, *, complete: int | None = None) -> None:
        """Check the number of trials, that lost ones ran again once, and that no run is open."""
        trials = self.trials()
        counted = [t for t in trials if not t.user_attrs.get("replaced")]
        states = [t.state.name for t in counted]
        done = states.count("COMPLETE")
        self.check(f"{wanted} trials count", len(counted) == wanted, len(counted))
        self.check("as many complete as should be", done == (complete or wanted), done)
        lost = sorted(t.number for t in trials if t.user_attrs.get("replaced"))
        again = sorted(t.user_attrs["replaces"] for t in trials if "replaces" in t.user_attrs)
        self.check("each lost trial ran again once", lost == again, f"{lost} {again}")
        summaries = self.runs(**{"ssgan.kind": "study"})
        self.check("one summary run", len(summaries) == 1, len(summaries))
        self.check("no run is left open", not self.open_runs(), self.open_runs() or "")

    def open_runs(self) -> list[str]:
        """Names of MLflow runs that are RUNNING."""
        return [run.info.run_name for run in self.runs() if run.info.status == "RUNNING"]

    def lost(self, trial: Any, reason: str) -> None:
        """Check how an interrupted trial is marked on both sides."""
        (now,) = (t for t in self.trials() if t.number == trial.number)
        said = now.user_attrs.get("reason", "")
        self.check(f"trial {trial.number} is marked", reason in said, f"{now.state.name}: {said}")
        run = self.run_of(trial)
        why = run.data.tags.get("ssgan.reason", "no reason")
        self.check("its run is KILLED", run.info.status == "KILLED", f"{run.info.status}: {why}")


def seconds(asked: Callable[[], Any]) -> float:
    """Seconds until the answer is true, at most `PATIENCE`."""
    begin = time.monotonic()
    while not asked() and time.monotonic() - begin < PATIENCE:
        time.sleep(0.05)
    return time.monotonic() - begin


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def group(process: subprocess.Popen[str]) -> list[int]:
    """Living processes of a command's group."""
    found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in found if alive(pid) and _group(pid) == process.pid]


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


@contextmanager
def scene(name: str) -> Iterator[Scene]:
    """A new scene; whatever it has started is ended with it."""
    with tempfile.TemporaryDirectory(prefix="ssgan-") as folder:
        made = Scene(name, Path(folder))
        made.space()
        try:
            yield made
        except TimeoutError as error:
            made.check("went on", False, error)
        finally:
            for process in made.processes:
                if group(process):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def told(scenes: Sequence[Scene]) -> int:
    """Print the checks as tables; 1 if one does not hold."""
    console = Console(soft_wrap=False, width=None if sys.stdout.isatty() else 140)
    for each in scenes:
        table = Table("check", "", "found", title=each.name, title_justify="left")
        for what, holds, figures in each.checks:
            table.add_row(what, "ok" if holds else "[bold]NOT OK[/]", figures)
        console.print(table)
    return int(any(not holds for each in scenes for _, holds, _ in each.checks))
