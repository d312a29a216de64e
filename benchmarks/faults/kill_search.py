"""The whole search is killed in the middle of a trial: its parent alone, or all its processes.

python -m benchmarks.faults.kill_search
"""

import os
import signal
import sys

from benchmarks.faults.scene import LONG, Scene, group, scene, seconds, told

ENDED = 15.0  # seconds in which workers without a parent close their runs and end, at most


def main() -> int:
    """Run both and print the checks."""
    scenes = []
    for whole in (False, True):
        what = "all its processes" if whole else "its parent alone"
        with scene(f"kill -9 of the search: {what}") as it:
            scenes.append(it)
            _killed(it, whole=whole)
    return told(scenes)


def _killed(it: Scene, *, whole: bool) -> None:
    flags = {"trials": 4, "workers": 2, **LONG}
    code, _ = it.end(it.start(**{**flags, "trials": 2}))
    before = {t.number: (t.values, t.user_attrs["run_ids"]) for t in it.trials()}
    it.check("two trials are there", code == 0 and len(before) == 2, len(before))
    command = it.start(**flags)
    trial = it.training(command)
    (os.killpg if whole else os.kill)(command.pid, signal.SIGKILL)
    took = seconds(lambda: not group(command))
    it.check("no process outlives it", took < ENDED, f"{took:.1f} s")
    code, said = it.end(it.start(**flags))
    it.check("the same command goes on", code == 0 and not said, f"{code} {said}")
    it.counts(4)
    it.lost(trial, "lost" if whole else "interrupted")
    kept = {t.number: (t.values, t.user_attrs["run_ids"]) for t in it.trials()}
    it.check("no finished trial is lost", all(kept[n] == held for n, held in before.items()))


if __name__ == "__main__":
    sys.exit(main())
