"""Hours of mixed work on one store, with kills and a server that goes away; then what must hold.

    python -m benchmarks.soak --minutes 120

At random: a run; a run that is killed; one of those gone on with; a search; a curve; the server
killed and started again; the store asked as the UI asks it. At the end all killed runs are gone on
with, and the checks are printed. 1 if one does not hold.
"""

import argparse
import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from mlflow.exceptions import MlflowException
from rich.console import Console
from rich.table import Table

from benchmarks.faults.lost_store import Server
from benchmarks.faults.resume import PATIENCE, ROOT, Scene
from benchmarks.faults.scene import SMALL

SEARCH = {key: value for key, value in SMALL.items() if key != "study"}
SEARCH |= {"trials": "3", "workers": "2", "steps": "60", "report_every": "20"}
CURVE = {"dataset": "digits", "methods": "supervised,label_spreading", "label_counts": "20,50"}
CURVE |= {"seeds": "2", "steps": "60"}
WORK = ("run", "kill", "kill", "go_on", "search", "curve", "restart", "ask")
SAMPLE = 1.0  # seconds between two looks at the memory of a command


@dataclass
class Soak:
    """The work that is done, and what it used."""

    scene: Scene
    server: Server
    draw: random.Random
    killed: list[str] = field(default_factory=list)  # runs that are still to be gone on with
    known: set[str] = field(default_factory=set)
    did: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[tuple[float, int, int]] = field(default_factory=list)  # time, bytes, files

    def step(self) -> None:
        """Do one thing."""
        what = self.draw.choice(WORK)
        if what == "go_on" and not self.killed:
            what = "kill"
        self.did[what] += 1
        print(f"{sum(self.did.values())} {what}", file=sys.stderr, flush=True)
        getattr(self, what)()

    def run(self) -> None:
        """A run, left alone."""
        command = self.scene.new()
        self.known.add(self.scene.run_id(command, self.known))
        self.ended("run", command)

    def kill(self) -> None:
        """A run that is killed at a random moment."""
        command = self.scene.new()
        run_id = self.scene.run_id(command, self.known)
        self.known.add(run_id)
        time.sleep(self.draw.uniform(1, 20))
        sign = self.draw.choice([signal.SIGKILL, signal.SIGTERM])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.pid, sign)
        command.communicate(timeout=PATIENCE)
        if command.returncode:
            self.killed.append(run_id)

    def go_on(self) -> None:
        """Go on with a killed run; one that had no checkpoint yet is refused in one line."""
        run_id = self.killed.pop(self.draw.randrange(len(self.killed)))
        command = self.scene.start("--resume", run_id)
        said = self.watched(command)
        if command.returncode and "no checkpoint" not in said:
            self.wrong.append(f"go_on {command.returncode}: {said[-300:]}")

    def search(self) -> None:
        """A search with a new study."""
        given = {**SEARCH, "study": f"soak-{self.did['search']}"}
        self.ended("search", self.experiments("search", given))

    def curve(self) -> None:
        """A curve with another seed."""
        self.ended("curve", self.experiments("curve", {**CURVE, "name": f"c{self.did['curve']}"}))

    def restart(self) -> None:
        """Kill the server while a run is at work, and start it again."""
        command = self.scene.new()
        self.known.add(self.scene.run_id(command, self.known))
        time.sleep(self.draw.uniform(0, 10))
        self.server.go("killed")
        time.sleep(self.draw.uniform(1, 30))
        self.server.come_back("killed")
        self.ended("restart", command)

    def ask(self) -> None:
        """Ask for all runs, as the UI does."""
        for _ in range(20):
            self.runs()

    def experiments(self, command: str, given: dict[str, str]) -> subprocess.Popen[str]:
        """Start `python -m experiments <command>`."""
        words = [part for key, value in given.items() for part in (f"--{key}", value)]
        kept = {**os.environ, "HOME": str(self.scene.folder), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-m", "experiments", command, *words],
            cwd=self.scene.folder,
            env={**kept, "MLFLOW_TRACKING_URI": self.server.uri},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ended(self, what: str, command: subprocess.Popen[str]) -> None:
        """Wait for a command that has to end well."""
        said = self.watched(command)
        if command.returncode:
            self.wrong.append(f"{what} {command.returncode}: {said[-300:]}")

    def watched(self, command: subprocess.Popen[str]) -> str:
        """Wait for a command and note the most memory and files that it had; what it said."""
        most, files = 0, 0
        while True:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(command.pid)
                most = max(most, process.memory_info().rss)
                files = max(files, process.num_fds())
            try:
                said = command.communicate(timeout=SAMPLE)[1]
            except subprocess.TimeoutExpired:
                continue
            self.memory.append((time.monotonic(), most, files))
            return said

    def runs(self) -> list[Any]:
        """Every run of the store."""
        client = self.scene.client
        try:
            everywhere = [each.experiment_id for each in client.search_experiments()]
            return list(client.search_runs(everywhere, max_results=5000))
        except MlflowException as error:
            self.wrong.append(f"the store does not answer: {error}")
            return []

    # --- at the end

    def checks(self) -> list[tuple[str, bool, object]]:
        """What must hold after all."""
        while self.killed:
            self.go_on()
        self.ended("sync", self.scene.start(command="sync"))
        runs = self.runs()
        still = [run.info.run_name for run in runs if run.info.status == "RUNNING"]
        trials = Counter(
            (run.data.tags["ssgan.study"], run.data.tags["ssgan.trial"])
            for run in runs
            if run.data.tags.get("ssgan.kind") == "trial" and run.info.status == "FINISHED"
        )
        twice = [key for key, n in trials.items() if n > 1]
        spools = list((self.scene.folder / ".cache/ssgan/spool").glob("*/about.json"))
        orphans = self.orphans()
        return [
            ("every command ended as it should", not self.wrong, "; ".join(self.wrong)),
            ("every run has ended", not still, still or len(runs)),
            ("every trial has one run", not twice, twice or len(trials)),
            ("no record waits", not spools, len(spools)),
            ("no process is left", not orphans, orphans or ""),
            *self.flat(),
        ]

    def orphans(self) -> list[str]:
        """Commands of processes that this work has left."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                of_server = process.pid == self.server.process.pid
                if process.environ().get("HOME") == str(self.scene.folder) and not of_server:
                    found.append(" ".join(process.cmdline())[:80])
        return found

    def flat(self) -> list[tuple[str, bool, object]]:
        """Whether commands of the last third need more than those of the first."""
        third = max(1, len(self.memory) // 3)
        told: list[tuple[str, bool, object]] = []
        for i, what in ((1, "memory"), (2, "open files")):
            first = statistics.median(row[i] for row in self.memory[:third])
            last = statistics.median(row[i] for row in self.memory[-third:])
            unit = 2**20 if i == 1 else 1
            figures = f"{first / unit:.0f}, then {last / unit:.0f}"
            told.append((f"{what} of a command stay", last <= 1.2 * first, figures))
        return told


def main(minutes: float, seed: int) -> int:
    """Work so long, then print the checks."""
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="ssgan-soak-") as folder:
        server = Server(Path(folder))
        try:
            soak = Soak(Scene(Path(folder), server.uri), server, random.Random(seed))
            while time.monotonic() < end:
                soak.step()
            checks = soak.checks()
        finally:
            server.send(signal.SIGKILL)
    title = ", ".join(f"{n} × {what}" for what, n in sorted(soak.did.items()))
    table = Table("check", "", "found", title=title, title_justify="left")
    for what, holds, found in checks:
        table.add_row(what, "ok" if holds else "[bold]NOT OK[/]", str(found))
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return int(any(not holds for _, holds, _ in checks))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.exit(main(given.minutes, given.seed))
