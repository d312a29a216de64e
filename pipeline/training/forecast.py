"""How long a training will take, told before its first step: a few of its own steps are timed.

They leave no trace: every variable is put back, so a training that was timed beforehand ends with
the same numbers, to the last bit.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pipeline.methods import Method
from pipeline.training.inputs import Inputs
from pipeline.training.program import Program, variables

# The phases of a method, as people read them.
PHASES = {"warm_up": "warm-up", "step": "training", "generate": "generator", "augment": "further"}
LARGEST_SHARE = 0.02  # of a training's steps, that may be taken to time them
MOST = 3  # steps of a phase that are timed
POSITIONS = 3  # which argument of the compiled call says where the images lie among all


@dataclass(frozen=True)
class Forecast:
    """What a training has before it, by phase (of `PHASES`): what is left out is not done."""

    steps: Mapping[str, int]
    seconds_a_step: Mapping[str, float]
    first_s: float  # that the first call of each phase took, which is paid once

    @property
    def seconds(self) -> float:
        """Of all steps; graph of labels, validation and reports are not counted."""
        return sum(map(self.seconds_of, self.steps))

    def seconds_of(self, phase: str) -> float:
        """Of the steps of a phase, 0 if it is not done."""
        return self.steps.get(phase, 0) * self.seconds_a_step.get(phase, 0.0)

    def __str__(self) -> str:
        """As people read it: "160 warm-up and 640 training steps, about 4 min"."""
        counts = [f"{count:,} {PHASES[name]}" for name, count in self.steps.items()]
        told = " and ".join([", ".join(counts[:-1]), counts[-1]] if counts[1:] else counts)
        return f"{told} steps, {_roughly(self.seconds)}"


def measured(program: Program, inputs: Inputs, steps: Mapping[str, int]) -> Forecast | None:
    """Time steps of each phase on images of the training; None where that would cost too much.

    Args:
        program: compiled; all its variables are afterwards as they were.
        inputs: of the training.
        steps: of each phase that will be done, by name, each > 0.
    """
    allowed = int(LARGEST_SHARE * sum(steps.values())) // len(steps) - 1  # one call comes first
    count = min(MOST, allowed, inputs.most_steps)
    if count < 1:
        return None
    first, seconds = 0.0, {}
    with _put_back(program.method):
        for name, of_phase in steps.items():
            first += _seconds(program, inputs, name, of_phase, 1)
            seconds[name] = _seconds(program, inputs, name, of_phase, count) / count
    return Forecast(steps, seconds, first)


def _roughly(seconds: float) -> str:
    """A time in as few words as its accuracy is worth."""
    if seconds < 7.5:
        return "a few seconds"
    if seconds < 90:
        return f"about {5 * round(seconds / 5)} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


def _seconds(program: Program, inputs: Inputs, name: str, of_phase: int, count: int) -> float:
    """Of one call that takes the first `count` steps of a phase."""
    begin = time.perf_counter()
    given = [*inputs.steps(0, count, 0, of_phase, name)]
    # What a warm-up finds out about each image is not there yet, but for a first one.
    given[POSITIONS] = np.zeros_like(given[POSITIONS])
    program.phases[name].run(*given).numpy()
    return time.perf_counter() - begin


@contextmanager
def _put_back(method: Method) -> Iterator[None]:
    """Give every variable its value back."""
    held = variables(method)
    before = [variable.numpy() for variable in held]
    try:
        yield
    finally:
        for variable, value in zip(held, before, strict=True):
            variable.assign(value)
