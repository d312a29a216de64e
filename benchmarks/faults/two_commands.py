"""Two people start the same study name at the same moment, on a store that is not there yet.

python -m benchmarks.faults.two_commands
"""

import signal
import sys
from collections import Counter

from benchmarks.faults.scene import LONG, SHORT, Scene, scene, told


def main() -> int:
    """Run both and print the checks."""
    with scene("two commands at the same moment") as it:
        _together(it)
    with scene("two commands; the one that leads is killed mid-trial") as other:
        _leader_dies(other)
    with scene("two commands at the same moment, many writes come late") as slow:
        _together(slow, "benchmarks.faults.late")
    return told([it, other, slow])


def _together(it: Scene, module: str = "experiments") -> None:
    commands = [it.start(module, trials=4, **SHORT) for _ in range(2)]
    _both_end(it, [it.end(command) for command in commands], 4)


def _leader_dies(it: Scene) -> None:
    first = it.start(trials=12, **LONG)
    it.training(first)
    second = it.start(trials=12, **LONG)
    it.training(second)
    trial = it.training(first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    _both_end(it, [it.end(second)], 12)
    it.lost(trial, "interrupted")


def _both_end(it: Scene, ends: list[tuple[int, list[str]]], wanted: int) -> None:
    it.check("they end well", all(code == 0 and not said for code, said in ends), ends)
    it.counts(wanted)
    status = [run.info.status for run in it.runs(**{"ssgan.kind": "study"})]
    it.check("the summary is FINISHED", set(status) == {"FINISHED"}, status)
    workers = Counter(trial.user_attrs["alive"]["pid"] for trial in it.trials())
    it.check("both worked", len(workers) > 1, sorted(workers.values()))
    tested = Counter(run.data.tags["ssgan.source"] for run in it.runs(**{"ssgan.kind": "evaluate"}))
    once = tested and set(tested.values()) == {1}
    it.check("each winner was tested once", once, sorted(tested.values()))


if __name__ == "__main__":
    sys.exit(main())
