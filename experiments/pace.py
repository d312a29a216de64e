"""How long a step of a method takes, so that methods can be given equal time."""

import bisect
import math
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pipeline import data
from pipeline.config.schema import Config
from pipeline.data import Dataset
from pipeline.stages.manifest import Split
from pipeline.stages.split import choose_split

if TYPE_CHECKING:
    from pipeline.training.history import Report

STEPS = 40  # that are timed


@dataclass(frozen=True)
class Pace:
    """Seconds of a step of a method's warm-up, and of a later one."""

    warm_up: float
    step: float

    def seconds(self, steps: int, share: float) -> float:
        """What so many steps take, of which `share` in [0, 1] are the warm-up's."""
        return steps * (share * self.warm_up + (1 - share) * self.step)

    def steps_in(self, seconds: float, share: Callable[[int], float]) -> int:
        """The most steps that take no longer, 1 at least.

        share: of the warm-up in a run of so many steps; a shorter one has less of it.
        """
        most = math.ceil(seconds / min(self.warm_up or self.step, self.step)) + 1
        taken = bisect.bisect_right(
            range(1, most), seconds, key=lambda steps: self.seconds(steps, share(steps))
        )
        return max(1, taken)


def equal_steps(configs: Mapping[str, Config], at: Callable[[str, int], Config]) -> dict[str, int]:
    """Steps of each configuration that take as long as those of the first, timed one by one.

    Args:
        configs: by name, with `steps` and `threads`.
        at: a name's configuration at another number of steps.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        taken = {name: process.submit(_measure, c).result() for name, c in configs.items()}
    first = next(iter(configs))
    budget = taken[first].seconds(configs[first].steps, warm_up_share(configs[first]))

    def share(name: str, steps: int) -> float:
        return warm_up_share(at(name, steps))

    return {name: pace.steps_in(budget, partial(share, name)) for name, pace in taken.items()}


def warm_up_share(config: Config) -> float:
    """Share of its steps that a method's warm-up takes, in [0, 1]."""
    return float(config.own.get("warm_up_share", 0.0))


def measured(
    dataset: Dataset,
    split: Split,
    config: Config,
    now: Callable[[], float] = time.perf_counter,
) -> Pace:
    """What steps of a method take; tracing and graph left out. Without a warm-up, 0 for its steps.

    `now` says whose seconds (wall or CPU). `ssgan`'s graph is a cost of its own beside its steps,
    and so is a generator that learns after the classifier: equal time is that of classifiers.
    """
    from pipeline.stages.train import train
    from pipeline.training import warm_up

    share = warm_up_share(config)
    # Three reports of each kind of step; before the first of each lies what is left out. The
    # training is stopped long before its end: a short one would be judged to have collapsed.
    reports, warm_up_steps = 6 if share else 3, 3 * STEPS if share else 0
    steps = warm_up_steps + 15 * STEPS
    own = {**config.own, **({"warm_up_share": warm_up_steps / steps} if share else {})}
    own |= {"generator": False} if "generator" in own else {}  # of its own, after the others
    update = {"steps": steps, "report_every": STEPS, "own": own}
    times: list[float] = []

    def note_the_time(report: "Report") -> bool:
        if report.step:
            times.append(now())
        return len(times) < reports

    warm_up.forget()
    train(dataset, split, config.model_copy(update=update), note_the_time).release()
    taken = np.diff(times) / STEPS
    if not share:
        return Pace(0.0, float(min(taken)))
    return Pace(float(min(taken[:2])), float(min(taken[3:])))


def _measure(config: Config) -> Pace:
    dataset = data.of(config)
    return measured(dataset, choose_split(config, dataset), config)
