"""Worker processes that are measured in turns: one runs while the others wait.

A worker is told once what to build, as one line of JSON, and then answers "name count" lines with
the time that so many steps took. Needs the standard library alone, so that any Python can be a
worker's.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SETTLE = 0.3  # seconds until a process that has answered has put its threads to sleep

Run = Callable[[int], float]  # a number of steps → seconds they took


class Took(NamedTuple):
    """What steps took."""

    seconds: float  # by the clock
    cpu_seconds: float  # of all the process's threads: steadier where others use the machine too


class WorkerFailure(Exception):
    """A worker ended before it answered; what it said is the message."""


class Worker:
    """The side that asks."""

    def __init__(self, command: Sequence[str], order: Mapping[str, Any]) -> None:
        """Start `command` in the project's folder and tell it what to build."""
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.about: dict[str, Any] = self._ask(json.dumps(order))

    def run(self, name: str, count: int) -> Took:
        """Time that `count` steps of `name` took."""
        time.sleep(SETTLE)
        return Took(*self._ask(f"{name} {count}"))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._errors.close()

    def _ask(self, line: str) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # its last words follow
        answer = process.stdout.readline()
        if not answer:
            process.communicate()
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()
            raise WorkerFailure("\n".join(said[-15:]) or f"exit code {process.returncode}")
        return json.loads(answer)


def serve(build: Callable[[Any], tuple[Mapping[str, Run], Any]]) -> None:
    """The side that answers, until its standard input ends.

    Args:
        build: what was ordered → what can be run, by name, and what to say of it.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints must not be taken for an answer
    runs, answer = build(json.loads(sys.stdin.readline()))
    while True:
        print(json.dumps(answer), file=answers, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        name, count = line.split()
        begin = time.process_time()
        seconds = runs[name](int(count))
        answer = Took(seconds, time.process_time() - begin)
