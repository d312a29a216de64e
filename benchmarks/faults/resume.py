"""Runs killed at random moments, gone on with, and compared with a run that was left alone.

    python -m benchmarks.faults.resume --kills 25

A kill waits until the run is in a phase (each in turn) and then for a random part of the time that
the phase took in the run that was left alone. "Same" means that every metric of the run and of its
baseline has the same steps and the same values to the last digit, but for times and memory.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Run
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
PHASES = ("warm_up", "step", "generate", "evaluate", "baseline")
# A network so small that all phases are over in seconds; a checkpoint after every call.
FLAGS = {"network": "dense", "dense_units": "[64, 32]", "steps": "600", "report_every": "50"}
FLAGS |= {"warm_up_share": "0.4", "generator_steps": "60", "generator_units": "[16, 16]"}
FLAGS |= {"generated_batch_size": "16", "labels_per_class": "10", "valid_frac": "0.2"}
FLAGS |= {"checkpoint_every": "0"}
# Exit codes of a run that a signal has ended: SIGKILL at once, the others in good order.
ENDED_BY = {signal.SIGKILL: (-9,), signal.SIGTERM: (130, 143), signal.SIGINT: (130,)}
DIFFER = ("time/", "memory/", "train/images_per_second")  # metrics that may
PATIENCE = 600  # seconds for one command
Numbers = dict[str, list[tuple[int, float]]]  # of every metric, steps and values


@dataclass
class Scene:
    """A folder with a store, a home and their commands."""

    folder: Path
    uri: str = ""  # of the store; "" is a file in the folder

    def __post_init__(self) -> None:
        """Name the store."""
        self.uri = self.uri or f"sqlite:///{self.folder}/mlflow.db"

    def start(self, *words: str, command: str = "run") -> subprocess.Popen[str]:
        """Start `python -m pipeline <command>` in a process group of its own."""
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        kept |= {"PYTHONPATH": str(ROOT), "HOME": str(self.folder)}
        kept |= {"MLFLOW_TRACKING_URI": self.uri}
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline", command, *words],
            cwd=self.folder,
            env=kept,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def new(self, **flags: str) -> subprocess.Popen[str]:
        """Start a run."""
        given = {**FLAGS, **flags}
        return self.start(*(part for key in given for part in (f"--{key}", given[key])))

    @property
    def client(self) -> MlflowClient:
        """Of the store."""
        return MlflowClient(self.uri)

    def arms(self, run_id: str) -> tuple[Run, ...]:
        """A run and its children."""
        run = self.client.get_run(run_id)
        query = f"tags.`mlflow.parentRunId` = '{run_id}'"
        return run, *self.client.search_runs([run.info.experiment_id], query)

    def numbers(self, run_id: str) -> Numbers:
        """Every metric of a run and its children: steps and values, in the order of the steps."""
        return {
            f"{i} {key}": sorted(
                (p.step, p.value) for p in self.client.get_metric_history(id_, key)
            )
            for i, arm in enumerate(self.arms(run_id))
            for id_ in [arm.info.run_id]
            for key in arm.data.metrics
            if not key.startswith(DIFFER)
        }

    def checkpoints(self) -> Path:
        """Where the folders of all runs lie."""
        return self.folder / ".cache/ssgan/checkpoints"

    def phase(self, run_id: str) -> str:
        """The phase that a run is in, "" before its first checkpoint."""
        folder = self.checkpoints() / run_id
        if any(folder.glob("baseline/*.npz")):
            return "baseline"
        if any(folder.glob("measured-method/*.npz")):
            return ""
        files = sorted(folder.glob("method/0*.npz"))
        with contextlib.suppress(OSError, IndexError), np.load(files[-1]) as held:
            phase = str(json.loads(held["head"].tobytes())["phase"])
            return "evaluate" if phase == "done" else phase
        return ""

    def run_id(self, command: subprocess.Popen[str], known: set[str]) -> str:
        """The id of the run that a command has just begun."""
        end = time.monotonic() + PATIENCE
        while command.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError):
                new = {folder.name for folder in self.checkpoints().iterdir()} - known
                if new:
                    return new.pop()
            time.sleep(0.02)
        raise RuntimeError(f"no run began: {command.communicate()[1]}")


def ended(command: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code of a command and what it says."""
    said = command.communicate(timeout=PATIENCE)[1]
    return command.returncode, said


def lengths(scene: Scene, command: subprocess.Popen[str], run_id: str) -> dict[str, float]:
    """Watch a run to its end; how long it is in each phase."""
    seconds = dict.fromkeys(PHASES, 0.0)
    while command.poll() is None:
        if (phase := scene.phase(run_id)) in seconds:
            seconds[phase] += 0.02
        time.sleep(0.02)
    return seconds


def kill_in(
    scene: Scene,
    command: subprocess.Popen[str],
    run_id: str,
    phase: str,
    delay: float,
    sign: signal.Signals = signal.SIGKILL,
) -> tuple[int, str]:
    """Kill a command `delay` seconds after its run has come to a phase; code and what it said."""
    while scene.phase(run_id) != phase:
        if command.poll() is not None:
            raise RuntimeError(f"it ended before it came to {phase}: {command.communicate()[1]}")
        time.sleep(0.02)
    time.sleep(delay)
    os.killpg(command.pid, sign)
    return ended(command)


def difference(expected: Numbers, found: Numbers) -> str:
    """The metrics that differ or have a point more than they should, "" if none does."""
    return ", ".join(
        key
        for key in sorted(expected.keys() | found.keys())
        for wanted, there in [(expected.get(key, []), found.get(key, []))]
        if set(wanted) != set(there) or len(there) > len(wanted)
    )


def killed(
    scene: Scene, known: set[str], phase: str, delay: float, sign: signal.Signals
) -> tuple[str, float]:
    """Begin a run and kill it in a phase: its id, and after how long.

    The phase may be over sooner than in the run that was left alone: then another run is killed
    sooner.
    """
    for _ in range(8):
        command = scene.new()
        run_id = scene.run_id(command, known)
        known.add(run_id)
        code, said = kill_in(scene, command, run_id, phase, delay, sign)
        if code in ENDED_BY[sign]:
            return run_id, delay
        if code:
            raise RuntimeError(f"it ended by itself: {said}")
        delay /= 2
    raise RuntimeError(f"no run was still in its phase {phase} when it was to be killed")


def main(kills: int = 5, seed: int = 0, sign: signal.Signals = signal.SIGKILL) -> int:
    """Kill so many runs and print what came of each; 1 if one did not end the same."""
    draw = random.Random(seed)
    table = Table("kill", "phase", "after", "went on in", "ended", title="killed and gone on with")
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        command = scene.new()
        whole = scene.run_id(command, set())
        seconds = lengths(scene, command, whole)
        expected = scene.numbers(whole)
        known, bad = {whole}, 0
        for i in range(kills):
            phase = PHASES[i % len(PHASES)]
            delay = draw.uniform(0, seconds[phase])
            run_id, delay = killed(scene, known, phase, delay, sign)
            begin = time.monotonic()
            code, said = ended(scene.start("--resume", run_id))
            took = time.monotonic() - begin
            differ = difference(expected, scene.numbers(run_id))
            status = {arm.info.status for arm in scene.arms(run_id)}
            same = code == 0 and not differ and status == {"FINISHED"}
            bad += not same
            told = "same" if same else f"NOT the same: {code} {status} {differ} {said[-500:]}"
            table.add_row(str(i + 1), phase, f"{delay:.2f} s", f"{took:.0f} s", told)
            print(f"{i + 1} {phase} {delay:.2f} {told}", file=sys.stderr, flush=True)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    print(f"{kills - bad} of {kills} ended with the same digits")
    return int(bad > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", default="KILL", choices=["KILL", "TERM", "INT"])
    given = parser.parse_args()
    sys.exit(main(given.kills, given.seed, signal.Signals[f"SIG{given.signal}"]))
