"""What a search tells while it goes on: trials that have ended, the best so far, time left."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from experiments.search import answer
from experiments.search.study import Study
from pipeline import progress

STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
STATES[TrialState.RUNNING] = "running"


class Told:
    """Tells what each look at the study shows."""

    def __init__(self, study: Study) -> None:
        """Nothing is told yet."""
        self.study, self.target, self.ended = study, 0, -1

    def look(self, trials: Sequence[FrozenTrial], target: int) -> None:
        """Tell the trials, of `target` in all: news when another one has ended."""
        ended = sum(trial.state.is_finished() for trial in trials)
        if self.target != target:
            self.target = target
            progress.phase("trials", done=ended, total=target, unit="trials")
        counts = Counter(trial.state for trial in trials)
        words = [f"{counts[state]} {word}" for state, word in STATES.items() if counts[state]]
        detail = ", ".join(filter(None, [answer.best_so_far(self.study), *words]))
        detail = detail or "workers are starting"
        left = seconds_left(trials, target, self.study.plan.settings.workers, datetime.now())
        tell = progress.report if self.ended not in (-1, ended) else progress.advance
        tell(ended, detail, left)
        self.ended = ended


def seconds_left(
    trials: Sequence[FrozenTrial], target: int, workers: int | str, now: datetime
) -> float | None:
    """Seconds until `target` trials have ended, None before the first has.

    As long as the mean of those that have ended, also before an interruption, for each of the
    others; what its running ones have done is taken off. `workers` go on at once, or as many as
    run. It is never less than the longest of these takes.
    """
    ended = [trial.duration for trial in trials if trial.state.is_finished()]
    seconds = [duration.total_seconds() for duration in ended if duration is not None]
    if not seconds:
        return None
    mean = float(np.mean(seconds))
    running = [
        max(0.0, mean - (now - trial.datetime_start).total_seconds())
        for trial in trials
        if trial.state == TrialState.RUNNING and trial.datetime_start
    ]
    waiting = target - len(ended) - len(running)
    at_once = max(len(running), workers if isinstance(workers, int) else 1)
    shared = (sum(running) + waiting * mean) / min(at_once, max(1, len(running) + waiting))
    return max([shared, *running])
