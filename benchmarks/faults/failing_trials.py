"""Trials that fail: some diverge, all diverge, data that are lost, a worker that dies twice.

python -m benchmarks.faults.failing_trials
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from benchmarks.faults.scene import LONG, Scene, scene, told

DIVERGES = 1e38  # a rate


def main() -> int:
    """Run all and print the checks."""
    scenes = []
    for name, run in (
        ("some trials diverge", _some),
        ("all trials diverge", _all),
        ("the data are lost between two trials", _data),
        ("the worker of a trial is killed twice, as when memory does not suffice", _twice),
    ):
        with scene(name) as it:
            scenes.append(it)
            run(it)
    return told(scenes)


def _some(it: Scene) -> None:
    it.space(discriminator_lr={"choices": [1e-3, DIVERGES]}, label_frac={"low": 0.02, "high": 0.3})
    code, said = it.end(it.start(trials=6))
    it.check("the command ends well", code == 0 and not said, f"{code} {said}")
    failed = _failed(it)
    it.counts(6, complete=6 - len(failed))
    it.check("some failed, some did not", 0 < len(failed) < 6, len(failed))
    _both_sides(it, failed, "diverged")


def _all(it: Scene) -> None:
    it.space(discriminator_lr=DIVERGES)
    code, said = it.end(it.start(trials=9))
    failed = _failed(it)
    it.check("exit code 1, one line", code == 1 and len(said) == 1, f"{code} {said}")
    it.check("after five in a row", len(failed) == 5, len(failed))
    it.check("no run is left open", not it.open_runs(), it.open_runs() or "")
    _both_sides(it, failed, "diverged")


def _data(it: Scene) -> None:
    file = it.folder / "own.npz"
    write(file, seed=0)
    flags = {"dataset": "npz", "data_dir": file, "trials_per_process": 1, **LONG}
    command = it.start(trials=9, **flags)
    it.training(command)
    file.write_bytes(file.read_bytes()[:1000])
    code, said = it.end(command)
    it.check("exit code 1, one line", code == 1 and len(said) == 1, f"{code} {said}")
    failed = _failed(it)
    it.check("one is complete, five failed", len(failed) == 5, len(failed))
    reasons = {trial.user_attrs["reason"] for trial in failed}
    it.check("with the file's name", all(file.name in r for r in reasons), reasons)
    write(file, seed=1)
    code, said = it.end(it.start(trials=9, **flags))
    told_so = code == 2 and len(said) == 1 and "data:" in said[0]
    it.check("other data are refused", told_so, f"{code} {said}")
    write(file, seed=0)
    code, said = it.end(it.start(trials=9, **{**flags, "trials_per_process": 25}))
    it.check("mended, the same command goes on", code == 0 and not said, f"{code} {said}")
    it.counts(9, complete=4)


def _twice(it: Scene) -> None:
    command = it.start(trials=2, **LONG)
    again = False
    while not again:  # both trials come first, then what repeats the first of them
        trial = it.training(command)
        os.kill(trial.user_attrs["alive"]["pid"], signal.SIGKILL)
        it.until(lambda number=trial.number: it.trials()[number].state.name == "FAIL")
        again = "replaces" in trial.user_attrs
    code, said = it.end(command)
    it.check("the study goes on", code == 0 and not said, f"{code} {said}")
    it.counts(2, complete=1)
    failed = _failed(it)
    it.check("one failed", len(failed) == 1, len(failed))
    for trial in failed:
        it.lost(trial, "twice")


def _failed(it: Scene) -> list:  # type: ignore[type-arg]
    return [trial for trial in it.trials() if trial.user_attrs.get("failed")]


def _both_sides(it: Scene, failed: list, reason: str) -> None:  # type: ignore[type-arg]
    states = {trial.state.name for trial in failed}
    reasons = {trial.user_attrs.get("reason") for trial in failed}
    it.check("in Optuna: not complete, with its reason", _all_say(reasons, reason), states)
    runs = [it.run_of(trial) for trial in failed]
    status = {run.info.status for run in runs}
    same = {run.data.tags.get("ssgan.reason") for run in runs} == reasons
    it.check("in MLflow: FAILED, with the same reason", status == {"FAILED"} and same, reasons)


def _all_say(reasons: set[str], what: str) -> bool:
    return bool(reasons) and all(what in reason for reason in reasons)


def write(file: Path, seed: int) -> None:
    """Write 1,000 images of four classes that a few labels tell apart."""
    random = np.random.default_rng(seed)
    labels = np.arange(1000) % 4
    images = random.integers(0, 60, (1000, 8, 8)).astype(np.uint8)
    for k in range(4):
        images[labels == k, 2 * k : 2 * k + 2] += 150
    train, test = slice(0, 800), slice(800, None)
    np.savez(
        file,
        x_train=images[train],
        y_train=labels[train],
        x_test=images[test],
        y_test=labels[test],
    )


if __name__ == "__main__":
    sys.exit(main())
