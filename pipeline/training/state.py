"""Where a training stands: what a checkpoint must hold for it to go on and end the same.

All variables of the method, the position (phase and steps done), the losses of the steps since the
last report, and the reports so far. Which images a step sees is a function of its number, so no
order is kept. Images themselves (variables of uint8) are not kept either: they are brought again.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline import interrupts
from pipeline.errors import UserError
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.history import History, Report
from pipeline.training.program import Program, variables
from pipeline.training.warm_up import Shown

DONE = "done"  # the phase of a training that has ended
ROWS, SAMPLES, CLASSES = "rows", "samples", "classes"  # arrays beside the variables


class Snapshot(NamedTuple):
    """What a checkpoint holds."""

    head: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class State:
    """The position of one training, kept up by the loop; written to `checkpoints` if there are any.

    Attributes:
        phase: "" at the beginning, then the method's, in the end `DONE`.
        done: steps, of all phases.
        rows: losses of every step since the last report, each float32 [steps, losses].
        elapsed: seconds that these steps took in an earlier process.
        warm: what the warm-up has shown at its reports.
        told: reports that are made and judged, of those in the history.
    """

    def __init__(
        self, program: Program, history: History, checkpoints: Checkpoints | None, key: str
    ) -> None:
        """At the beginning of a training that `key` tells from others."""
        self.program, self.history, self.checkpoints, self.key = program, history, checkpoints, key
        self.phase, self.done, self.told = "", 0, 0
        self.rows: list[NDArray[np.float32]] = []
        self.elapsed, self._since = 0.0, time.perf_counter()
        self.warm: list[Shown] = []
        self._begin, self._before = time.perf_counter(), 0.0
        self._whole = True  # the variables are those of the position
        self._held: Snapshot | None = None  # while they are not: those of the last position
        self._arrays: dict[str, NDArray[Any]] = {}

    @property
    def last_report(self) -> int:
        """Step of the last report that was made and judged."""
        return self.history.reports[self.told - 1].step if self.told else 0

    def seconds(self) -> float:
        """Of the training so far, those of earlier processes among them, without its reports'."""
        here = self.program.trace_seconds + time.perf_counter() - self._begin
        return self._before + here - self.history.report_seconds

    # ------------------------------------------------------------ going on

    def recall(self) -> bool:
        """Go to where the last checkpoint was; whether there is one.

        Raises:
            UserError: it is another training's.
        """
        held = self.checkpoints.last(self.key) if self.checkpoints else None
        if held is None:
            return False
        head, self._arrays = held.head, held.arrays
        self.restore_variables()
        self.phase, self.done, self.told = head["phase"], head["done"], len(head["reports"])
        self.rows = [held.arrays[ROWS]] if len(held.arrays[ROWS]) else []
        self.elapsed, self._before = head["elapsed"], head["seconds"]
        self.warm = [Shown(*one) for one in head["warm"]]
        for name, value in head["history"].items():
            setattr(self.history, name, value)
        self.history.reports = [Report(step, metrics, None) for step, metrics in head["reports"]]
        if (at := head["samples_at"]) is not None:
            classes = held.arrays.get(CLASSES)
            step, metrics = head["reports"][at]
            drawn = held.arrays[SAMPLES]
            self.history.reports[at] = Report(step, metrics, drawn, classes, head["percent"])
        return True

    def restore_variables(self) -> None:
        """Give the method's variables their values of the checkpoint, but for images.

        Raises:
            UserError: they are of other shapes: another version of the networks has made them.
        """
        kept = _kept_variables(self.program)
        names = [name for name in self._arrays if name.isdecimal()]
        fits = len(names) == len(kept) and all(
            variable.shape.is_compatible_with(self._arrays[name].shape)
            and variable.dtype.as_numpy_dtype == self._arrays[name].dtype
            for name, variable in kept.items()
            if name in self._arrays
        )
        if not fits:
            raise UserError(
                "the checkpoint's networks are not those that this version of ssgan builds; start "
                "again without resume."
            )
        for name, variable in kept.items():
            variable.assign(self._arrays[name])

    # ------------------------------------------------------------ keeping up

    def enter(self, phase: str, begin: int) -> int:
        """Begin a phase at step `begin`, or go on in it; the steps done."""
        if self.phase != phase:
            self.phase, self.done, self.rows, self.elapsed = phase, begin, [], 0.0
            self.offer()
        self._arrays = {}
        self._since = time.perf_counter()
        return self.done

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call of compiled steps: a signal waits until `took` has said what it did."""
        with interrupts.undisturbed():
            self._whole = False
            yield

    def took(self, count: int, losses: NDArray[np.float32]) -> None:
        """So many steps are done; their losses, [count, losses]."""
        self.rows.append(losses)
        self.done += count
        self._whole = True

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A block that changes variables and takes long: who ends it ends where it began."""
        self._held = self._snapshot() if self.checkpoints else None
        self._whole = False
        yield
        self._whole, self._held = True, None

    def means(self) -> NDArray[np.float64]:
        """Mean losses of the steps since the last report, whatever calls they were taken in."""
        return np.asarray(np.concatenate(self.rows).mean(axis=0, dtype=np.float64))

    def pace(self) -> float:
        """Steps a second since the last report."""
        elapsed = self.elapsed + time.perf_counter() - self._since
        return sum(map(len, self.rows)) / max(elapsed, 1e-9)

    def reported(self) -> None:
        """All reports in the history are made and judged."""
        self.told = len(self.history.reports)
        self.rows, self.elapsed, self._since = [], 0.0, time.perf_counter()

    def finish(self) -> None:
        """The training has ended, and is not taken up again."""
        if self.phase != DONE:
            self.phase = DONE
            self.reported()
            self.offer()

    # ------------------------------------------------------------ writing

    def offer(self) -> None:
        """Write a checkpoint if one is due."""
        if self.checkpoints and self.checkpoints.due():
            self.save()

    def save(self) -> None:
        """Write a checkpoint now; in the midst of a change, of what was before it, if known."""
        snapshot = self._snapshot() if self._whole else self._held
        if self.checkpoints and snapshot and snapshot.head["phase"]:
            before = self.checkpoints.seconds
            with interrupts.undisturbed():
                self.checkpoints.save(*snapshot)
            self.history.checkpoint_seconds += self.checkpoints.seconds - before

    def _snapshot(self) -> Snapshot:
        reports = self.history.reports[: self.told]
        shown = [i for i, report in enumerate(reports) if report.samples is not None]
        kept = _kept_variables(self.program).items()
        values = {name: variable.numpy() for name, variable in kept}
        values[ROWS] = np.concatenate(self.rows) if self.rows else np.zeros((0, 0), np.float32)
        if shown:
            last = reports[shown[-1]]
            values[SAMPLES] = last.samples
            values |= {} if last.classes is None else {CLASSES: last.classes}
        history = self.history
        head = {
            "key": self.key,
            "phase": self.phase,
            "done": self.done,
            "elapsed": self.elapsed + time.perf_counter() - self._since,
            "seconds": self.seconds(),
            "warm": [one for one in self.warm if one.done <= self.last_report],
            "reports": [[report.step, _plain(report.metrics)] for report in reports],
            "samples_at": shown[-1] if shown else None,
            "percent": reports[shown[-1]].percent if shown else 0,
            "history": {
                "compared": _plain(history.compared),
                "trace_seconds": history.trace_seconds,
                "recalled_steps": history.recalled_steps,
                "generator_lost": history.generator_lost,
                "checkpoint_seconds": history.checkpoint_seconds,
            },
        }
        return Snapshot(head, values)


def _kept_variables(program: Program) -> dict[str, Any]:
    """By number; images are none of them."""
    found = enumerate(variables(program.method))
    return {f"{i:05d}": variable for i, variable in found if variable.dtype != "uint8"}


def _plain(metrics: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items()}
