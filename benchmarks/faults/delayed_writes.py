"""Two processes lead one study from the same moment on, and many of their writes come late.

    python -m benchmarks.faults.delayed_writes --times 50

What is run is the search's own: its study, lead, claims and the loop that looks after them, on a
real journal and a real SQLite. Trials are told a made-up error in place of a training. Every fourth
write of each process waits up to 3 seconds before it is made. With a lease of 60 seconds that is a
slow disk. With one of 2 seconds processes are taken for dead that are alive, and write on.
"""

import argparse
import contextlib
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from optuna.trial import FrozenTrial, TrialState

from benchmarks.faults.late import late
from benchmarks.faults.scene import PATIENCE, Scene, scene, told
from experiments import plan as plans
from experiments import workers
from experiments.search import Study, open_storage
from experiments.search.claim import Claim
from pipeline import life

TRIALS = 6
LEASES = (60, 2)  # seconds
STORAGES = ("journal", "sqlite")


@dataclass(frozen=True)
class Round:
    """One study that two processes lead."""

    number: int
    lease: int  # seconds
    place: str  # of the storage
    store: str  # MLflow's

    @property
    def plan(self) -> plans.Plan:
        """What is searched."""
        flags = {"study": "late", "trials": TRIALS, "lease": self.lease, "max_failures": 99}
        return plans.read({key: str(value) for key, value in flags.items()})


def main(argv: Sequence[str] | None = None) -> int:
    """Run all rounds and print the checks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=3, help="rounds of each storage and lease")
    parser.add_argument("--at_once", type=int, default=3, help="rounds that go on at once")
    parser.add_argument("--storage", choices=STORAGES, nargs="+", default=STORAGES)
    parser.add_argument("--lease", type=int, nargs="+", default=LEASES, help="seconds, 2 or more")
    asked = parser.parse_args([] if argv is None else argv)
    codes = []
    for storage in asked.storage:
        for lease in asked.lease:
            with scene(f"late writes, {storage}, a lease of {lease} s") as it:
                _rounds(it, storage, lease, asked.times, asked.at_once)
            codes.append(told([it]))
    return max(codes)


def _rounds(it: Scene, storage: str, lease: int, times: int, at_once: int) -> None:
    MlflowClient(it.uri).search_experiments()  # makes the store, as the one that leads does
    rounds = [Round(i, lease, _place(it.folder / f"{i}", storage), it.uri) for i in range(times)]
    begin = time.monotonic()
    failed = _led([rounds[i::at_once] for i in range(at_once)])
    it.check("no process failed", not failed, failed or "")
    found = [_found(each) for each in rounds]
    exact = sum(ran == TRIALS and not left for ran, left, _, _ in found)
    it.check(f"exactly {TRIALS} trials", exact == times, f"{exact} of {times}")
    worst = [ran for ran, left, _, _ in found if ran != TRIALS or left]
    it.check("every trial has ended", not any(left for _, left, _, _ in found), worst or "")
    seen = f"{sum(d for *_, d, _ in found)} made twice, {sum(t for *_, t in found)} terms of a lead"
    it.check("took", True, f"{time.monotonic() - begin:.0f} s; {seen}")


def _place(folder: Path, storage: str) -> str:
    folder.mkdir()
    return f"sqlite:///{folder}/s.db" if storage == "sqlite" else str(folder / "journal.log")


def _found(each: Round) -> tuple[int, int, int, int]:
    """Of a study as it is at the end: trials that ran and count, that are left, doubles, terms."""
    storage = open_storage(each.place)
    ids = {study.study_name: study._study_id for study in storage.get_all_studies()}
    trials = storage.get_all_trials(ids["late"])
    ran = [trial for trial in trials if trial.datetime_start and not _was_replaced(trial)]
    left = sum(not trial.state.is_finished() for trial in trials)
    doubles = sum(trial.datetime_start is None for trial in trials)
    terms = storage.get_all_trials(ids["late/lead"]) if "late/lead" in ids else []
    return len(ran), left, doubles, len(terms)


def _was_replaced(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and trial.user_attrs.get("replaced", False)


# --- two processes for every list of rounds


def _led(lists: Sequence[Sequence[Round]]) -> int:
    """Run them, the lists at once; how many processes have failed."""
    context = multiprocessing.get_context("spawn")
    barriers = [context.Barrier(2) for _ in lists]  # kept until all have ended
    processes = [
        context.Process(target=_process, args=(rounds, which, together))
        for rounds, together in zip(lists, barriers, strict=True)
        for which in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return sum(process.exitcode != 0 for process in processes)


def _process(rounds: Sequence[Round], which: int, together: Barrier) -> None:
    workers.follow_parent()
    failed = False
    for each in rounds:
        os.environ["MLFLOW_TRACKING_URI"] = each.store
        try:
            _lead(each, np.random.default_rng([each.number, each.lease, which]), together)
        except Exception as error:  # the next round is another study
            print(f"round {each.number}: {type(error).__name__}: {error}", file=sys.stderr)
            failed = True
    sys.exit(failed)


def _lead(each: Round, random: np.random.Generator, together: Barrier) -> None:
    from experiments.search.conduct import conduct
    from experiments.search.lead import Lead

    make = partial(_joined, each, random)
    study, pool = make(), Here(make, random)
    together.wait(PATIENCE)
    lead = Lead(study)
    with lead.released():
        try:
            conduct(study, lead, pool, 1)
        finally:
            pool.stop()


def _joined(each: Round, random: np.random.Generator) -> Study:
    return Study.open(each.plan, late(open_storage(each.place), random), "data")


class Here:
    """A worker in a thread of this process, which trains nothing."""

    def __init__(self, join: Callable[[], Study], random: np.random.Generator) -> None:
        """`join` opens the study for the worker."""
        self.join, self.random = join, random
        self.thread: threading.Thread | None = None
        self.error: Exception | None = None  # of a worker, which may not have any

    def tend(self, waiting: int) -> None:
        """See `experiments.workers.Pool`."""
        if waiting and not (self.thread and self.thread.is_alive()):
            self.thread = threading.Thread(target=self._work)
            self.thread.start()

    def stop(self) -> None:
        """See `experiments.workers.Pool`."""
        if self.thread:
            self.thread.join()
        if self.error:
            raise self.error

    def _work(self) -> None:
        try:
            self._claim()
        except Exception as error:
            self.error = error

    def _claim(self) -> None:
        study = self.join()
        while claim := study.claim():
            with life.renewed(partial(_sign, claim), study.plan.settings.lease):
                error = float(self.random.uniform(0.05, 0.5))
                labels = int(self.random.integers(100, 500))
                claim.finish(TrialState.COMPLETE, [error, labels], n_labels=labels)


def _sign(claim: Claim, sign: Mapping[str, Any]) -> None:
    claim.note(alive=sign)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1:]))
