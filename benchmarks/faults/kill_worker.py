"""A worker is killed in the middle of a trial.

python -m benchmarks.faults.kill_worker
"""

import os
import signal
import sys

from benchmarks.faults.scene import LONG, NOTICED, Scene, scene, seconds, told


def main() -> int:
    """Run it and print the checks."""
    with scene("kill -9 of a worker, mid-trial") as it:
        _mid_trial(it)
    return told([it])


def _mid_trial(it: Scene) -> None:
    command = it.start(trials=3, workers=2, **LONG)
    trial = it.training(command)
    os.kill(trial.user_attrs["alive"]["pid"], signal.SIGKILL)
    took = seconds(lambda: it.trials()[trial.number].state.name == "FAIL")
    it.check("noticed", took < NOTICED, f"after {took:.1f} s")
    code, said = it.end(command)
    it.check("the command ends well", code == 0 and not said, f"{code} {said}")
    it.counts(3)
    it.lost(trial, "the worker was lost")
    again = [t for t in it.trials() if t.user_attrs.get("replaces") == trial.number]
    same = again and again[0].params == trial.params
    seeds = {run.data.params["seed"] for run in map(it.run_of, [trial, *again])}
    it.check("it ran again with its values and seed", same and len(seeds) == 1, seeds)


if __name__ == "__main__":
    sys.exit(main())
