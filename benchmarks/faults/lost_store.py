"""The MLflow store goes away while a run is at work, and comes back or not.

    python -m benchmarks.faults.lost_store --outages 10 --seconds 60

Outages begin at a random moment of the run: the server is killed and started again, or stopped so
that it accepts and never answers; an SQLite store is locked by another process. "Same" means that
run and baseline have the metrics, images, artifacts and models of a run that was left alone, once
each, and are FINISHED. Then: down for good and `sync`; SIGTERM while the server hangs.
"""

import argparse
import contextlib
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.faults.resume import FLAGS, PATIENCE, Scene, difference, ended
from pipeline.masking import masked

KINDS = ("killed", "stopped")  # what becomes of the server
SOON = 10.0  # seconds within which SIGTERM ends a command
Held = dict[str, object]


class Server:
    """An MLflow server of its own, with its store and artifacts in a folder."""

    def __init__(self, folder: Path) -> None:
        """Start it."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        words = ["--backend-store-uri", f"sqlite:///{self.folder}/server.db", "--workers", "1"]
        words += ["--artifacts-destination", str(self.folder / "artifacts")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *words, "--port", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
                return
            time.sleep(0.2)
        raise RuntimeError("the server did not come up")

    def send(self, sign: signal.Signals) -> None:
        """Give a signal to all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, sign)

    def go(self, kind: str) -> None:
        """Go away."""
        self.send(signal.SIGKILL if kind == "killed" else signal.SIGSTOP)

    def come_back(self, kind: str) -> None:
        """Answer again."""
        if kind == "killed":
            self.process.wait()
            self.start()
        else:
            self.send(signal.SIGCONT)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold an SQLite store as another process may."""
    with contextlib.closing(sqlite3.connect(file, timeout=PATIENCE)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


def kept(scene: Scene, run_id: str) -> Held:
    """What the store has of a run and its children; nothing that differs from run to run."""
    client, held = scene.client, dict[str, object]()
    for i, arm in enumerate(scene.arms(run_id)):
        files = client.list_artifacts(arm.info.run_id, "images")
        images = Counter(file.path.partition("timestamp")[0] for file in files)
        folders = ["", "split", "figures", "evaluate"]
        paths = [f.path for name in folders for f in client.list_artifacts(arm.info.run_id, name)]
        query = f"source_run_id = '{arm.info.run_id}'"
        models = client.search_logged_models([arm.info.experiment_id], query)
        held[f"{i} status"] = arm.info.status
        held[f"{i} images"] = images
        held[f"{i} artifacts"] = sorted(paths)
        held[f"{i} models"] = sorted(f"{m.tags['ssgan.role']} {m.status}" for m in models)
        held[f"{i} params"] = dict(arm.data.params)
    return held


def compared(scene: Scene, whole: str, run_id: str) -> str:
    """What differs between a run and the one that was left alone, "" if nothing does."""
    differ = difference(scene.numbers(whole), scene.numbers(run_id))
    expected, found = kept(scene, whole), kept(scene, run_id)
    keys = sorted(expected.keys() | found.keys())
    told = [f"{key}: {found.get(key)}" for key in keys if expected.get(key) != found.get(key)]
    return ", ".join(filter(None, [differ, *told]))


class Outages:
    """The outages of one kind of store, and a table of what came of them."""

    def __init__(self, scene: Scene, table: Table, seed: int) -> None:
        """Do a run that is left alone."""
        self.scene, self.table, self.draw = scene, table, random.Random(seed)
        self.known: set[str] = set()
        begin = time.monotonic()
        command, self.whole = self.begin()
        code, said = ended(command)
        if code:
            raise RuntimeError(said)
        self.seconds, self.bad = time.monotonic() - begin, 0

    def begin(self) -> tuple[subprocess.Popen[str], str]:
        """A command, and the id of its run."""
        command = self.scene.start(*(part for key in FLAGS for part in (f"--{key}", FLAGS[key])))
        run_id = self.scene.run_id(command, self.known)
        self.known.add(run_id)
        return command, run_id

    def begin_and_wait(self) -> tuple[subprocess.Popen[str], str, float]:
        """The same, after a random part of the time that a run takes from its beginning on."""
        command, run_id = self.begin()
        delay = self.draw.uniform(0, 0.5 * self.seconds)
        time.sleep(delay)
        return command, run_id, delay

    def tell(self, what: str, when: float, run_id: str, code: int, said: str) -> None:
        """Note whether a run ended as the one that was left alone."""
        differ = compared(self.scene, self.whole, run_id)
        self.note(what, when, "" if code == 0 and not differ else f"{code} {differ} {said[-400:]}")

    def note(self, what: str, when: float, wrong: str) -> None:
        """Note what came of an outage."""
        self.bad += bool(wrong)
        told = f"NOT the same: {masked(wrong)}" if wrong else "same"
        self.table.add_row(what, f"{when:.1f} s", told)
        print(f"{what} after {when:.1f} s: {told}", file=sys.stderr, flush=True)


def of_a_server(table: Table, folder: Path, outages: int, seconds: float, seed: int) -> int:
    """A server that goes away for a time, for good, and hangs at SIGTERM; how many went wrong."""
    server = Server(folder)
    try:
        trials = Outages(Scene(folder, server.uri), table, seed)
        for i in range(outages):
            kind = KINDS[i % len(KINDS)]
            command, run_id, when = trials.begin_and_wait()
            server.go(kind)
            time.sleep(seconds)
            server.come_back(kind)
            trials.tell(f"server {kind} for {seconds:.0f} s", when, run_id, *ended(command))
        _for_good(trials, server)
        _terminated(trials, server)
        return trials.bad
    finally:
        server.send(signal.SIGCONT)
        server.send(signal.SIGKILL)


def _for_good(trials: Outages, server: Server) -> None:
    command, run_id, when = trials.begin_and_wait()
    server.go("killed")
    code, said = ended(command)
    server.come_back("killed")
    if code != 1 or "python -m pipeline sync" not in said:
        trials.note("server gone for good", when, f"{code} {said[-400:]}")
        return
    code, said = ended(trials.scene.start(command="sync"))
    trials.tell("server gone for good, then sync", when, run_id, code, said)


def _terminated(trials: Outages, server: Server) -> None:
    command, run_id, when = trials.begin_and_wait()
    server.go("stopped")
    time.sleep(2)
    begin = time.monotonic()
    command.send_signal(signal.SIGTERM)
    code, said = ended(command)
    took = time.monotonic() - begin
    server.come_back("stopped")
    wrong = "" if code == 130 and took <= SOON else f"{code} after {took:.1f} s {said[-400:]}"
    trials.note(f"SIGTERM while the server hangs: ended in {took:.1f} s", when, wrong)
    if not wrong:
        code, said = ended(trials.scene.start("--resume", run_id))
        trials.tell("the same run gone on with", when, run_id, code, said)


def of_a_file(table: Table, folder: Path, locks: list[float], seed: int) -> int:
    """An SQLite store that another process locks; how many runs went wrong."""
    trials = Outages(Scene(folder), table, seed)
    for seconds in locks:
        command, run_id, when = trials.begin_and_wait()
        with locked(folder / "mlflow.db"):
            time.sleep(seconds)
        trials.tell(f"SQLite locked for {seconds:.0f} s", when, run_id, *ended(command))
    return trials.bad


def main(outages: int = 2, seconds: float = 20.0, locks: tuple[float, ...] = (30.0,)) -> int:
    """Print what came of all outages; 1 if one lost something."""
    table = Table("outage", "after", "the run", title="the MLflow store away")
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        bad = of_a_server(table, Path(one), outages, seconds, seed=0)
        bad += of_a_file(table, Path(other), list(locks), seed=0)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return int(bad > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outages", type=int, default=2, help="of a server")
    parser.add_argument("--seconds", type=float, default=20.0, help="that each takes")
    parser.add_argument("--locks", type=float, nargs="*", default=[30.0], help="seconds of each")
    given = parser.parse_args()
    sys.exit(main(given.outages, given.seconds, tuple(given.locks)))
