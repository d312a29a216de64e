"""Ctrl-C and SIGTERM, while workers start and in the middle of a trial.

python -m benchmarks.faults.interrupt
"""

import os
import signal
import subprocess
import sys
import time

from benchmarks.faults.scene import LONG, Scene, group, scene, seconds, told

ENDED = 15.0  # seconds until everything has ended, at most


def main() -> int:
    """Run all and print the checks."""
    scenes = []
    with scene("Ctrl-C, twice while workers start and once mid-trial; the same command") as it:
        scenes.append(it)
        _interrupted(it, signal.SIGINT, starting=True)
    with scene("SIGTERM of the parent, mid-trial; the same command") as it:
        scenes.append(it)
        _interrupted(it, signal.SIGTERM, starting=False)
    return told(scenes)


def _interrupted(it: Scene, sign: signal.Signals, *, starting: bool) -> None:
    flags = {"trials": 3, "workers": 2, **LONG}
    for pause in (0.2, 4.0) if starting else ():
        command = it.start(**flags)
        # The parent, its workers, and the process by which multiprocessing cleans up.
        it.until(lambda started=command: len(group(started)) == 4)
        time.sleep(pause)
        _stop(it, command, sign, f"{pause} s after its workers' start")
    command = it.start(**flags)
    trial = it.training(command)
    _stop(it, command, sign, "mid-trial")
    (summary,) = it.runs(**{"ssgan.kind": "study"})
    it.check("the summary run is KILLED", summary.info.status == "KILLED", summary.info.status)
    it.check("no run is left open", not it.open_runs(), it.open_runs() or "")
    it.lost(trial, "interrupted")
    code, said = it.end(it.start(**flags))
    it.check("the same command goes on", code == 0 and not said, f"{code} {said}")
    it.counts(3)


def _stop(it: Scene, command: subprocess.Popen[str], sign: signal.Signals, when: str) -> None:
    """As a terminal does for Ctrl-C: to the whole group; SIGTERM to the parent alone."""
    (os.killpg if sign == signal.SIGINT else os.kill)(command.pid, sign)
    begin = time.monotonic()
    code, said = it.end(command)
    took = time.monotonic() - begin + seconds(lambda: not group(command))
    it.check(f"{when}: exit code 130, one line", code == 130 and len(said) == 1, f"{code} {said}")
    it.check(f"{when}: all has ended", took < ENDED, f"{took:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
