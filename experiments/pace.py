"""How long a step of a method takes, so that methods can be given equal time."""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
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


def equal_steps(configs: Mapping[str, Config]) -> dict[str, int]:
    """Steps of each configuration that take as long as those of the first, timed one by one.

    Args:
        configs: by name, with `steps` and `threads`.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        taken = {name: process.submit(_measure, c).result() for name, c in configs.items()}
    first = next(iter(configs))
    budget = configs[first].steps * taken[first]
    return {name: max(1, round(budget / seconds)) for name, seconds in taken.items()}


def seconds_a_step(
    dataset: Dataset,
    split: Split,
    config: Config,
    now: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of one step, the mean over warm-up and other steps; tracing and graph left out.

    `now` says whose seconds (wall or CPU). `ssgan`'s graph is a cost of its own beside its steps,
    and so is a generator that learns after the classifier: equal time is that of classifiers.
    """
    from pipeline.stages.train import train
    from pipeline.training import warm_up

    share = config.own.get("warm_up_share", 0.0)
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
        return float(min(taken))
    return float(share * min(taken[:2]) + (1 - share) * min(taken[3:]))


def _measure(config: Config) -> float:
    dataset = data.of(config)
    return seconds_a_step(dataset, choose_split(config, dataset), config)
