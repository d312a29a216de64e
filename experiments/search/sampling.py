"""How trials get their values and are ranked: the first ones, the sampler, the pruner, seeds."""

import copy
import hashlib
import math
from collections.abc import Callable, Sequence

import optuna
from optuna.pruners import BasePruner, HyperbandPruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from experiments.plan import Plan
from experiments.space import Choices, Range
from pipeline.config.key import Value
from pipeline.config.schema import Config

STARTUP = 10  # trials before the sampler models anything, at most


def best(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Complete trials with one objective, the lowest error first, the older of equals."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (trial.values[0], trial.number))


def derived(*parts: object) -> int:
    """A seed below 2³¹ that depends on all parts and on nothing else."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def startup(trials: int) -> int:
    """How many of a study's trials come before the sampler models anything."""
    return max(2, min(STARTUP, trials // 3))


def sampler(trials: int, seed: int) -> BaseSampler:
    """The sampler of one trial of a study of so many."""
    return optuna.samplers.TPESampler(
        n_startup_trials=startup(trials), multivariate=True, constant_liar=True, seed=seed
    )


def pruner(plan: Plan, config: Config, longest: Callable[[], Config]) -> BasePruner:
    """What ends a trial of mode budget early; several objectives cannot be pruned.

    Of one seed a trial it counts steps by `place`. config: of the trial. longest: gives that of a
    trial of its cell with the most steps.
    """
    settings = plan.settings
    several = settings.seeds_per_trial > 1  # `Claim.falls_behind` ends those
    if settings.mode == "pareto" or settings.pruner == "none" or several:
        return optuna.pruners.NopPruner()
    last = longest()
    if settings.pruner == "hyperband":
        every, most = last.report_every, max(last.report_every, last.steps - _warm_up(last))
        first = config.report_every * last.steps // config.steps
        return _FromFirstReport(HyperbandPruner(every, most, reduction_factor=3), first)
    # Early in the schedule the errors say little about the end.
    first = _warm_up(config)
    early = first + (config.steps - first) // 3
    early = early * last.steps // config.steps
    return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=early)


def place(step: int, config: Config, longest: Config) -> int:
    """Where in the longest trial of its cell a trial's step lies, by the share of their lengths.

    Rates fall over a trial's own length: at the same step a longer one is further from its end,
    and would be behind whatever it comes to. The nearest of the places where trials report, so
    that trials of several lengths meet there.
    """
    if config.steps == longest.steps:
        return step
    every = config.report_every
    return every * math.floor(step * longest.steps / config.steps / every + 0.5)


class _FromFirstReport(BasePruner):
    """Lets another pruner count a trial's steps from its first report on.

    Before it lies a warm-up, without errors. Hyperband would take all rungs in it by that one
    error, and prune on nearly every trial's first report.
    """

    def __init__(self, pruner: BasePruner, every: int) -> None:
        """The first report counts as `every` steps."""
        self.pruner, self.every = pruner, every

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        begin = min(trial.intermediate_values) - self.every
        counted = copy.copy(trial)
        counted.intermediate_values = {
            step - begin: error for step, error in trial.intermediate_values.items()
        }
        return self.pruner.prune(study, counted)


def _warm_up(config: Config) -> int:
    """Steps before the first of which an error is known."""
    share: float = config.own.get("warm_up_share", 0.0)
    return round(share * config.steps)


def first_values(plan: Plan, trials: int) -> list[dict[str, Value]]:
    """Mode pareto: label counts from the cheap end, each with default rates and drawn ones."""
    labels = plan.space.get(plan.label_key)
    if plan.settings.mode != "pareto" or not isinstance(labels, Range):
        return []
    rungs = -(-startup(trials) // 2)
    shares = [(2 * i + 1) / (2 * rungs) for i in range(rungs)]
    ranges = {key: held for key, held in plan.space.items() if isinstance(held, Range)}
    # A method that is searched has keys of its own.
    chosen = {key: value for key, value in plan.firsts.items() if key not in ranges}
    defaults = plan.config({**chosen, plan.label_key: labels.ends[0]}).flat()
    known = {key: defaults[key] for key, held in ranges.items() if held.has(defaults[key])}
    ladder = [{plan.label_key: _between(labels, share)} for share in shares]
    return [first for rung in ladder for first in ({**known, **rung}, rung)][: startup(trials)]


def suggest(trial: optuna.Trial, key: str, held: Range | Choices) -> Value:
    """A trial's value of a key: fixed, or drawn by the sampler."""
    if isinstance(held, Choices):
        return held.of(trial.suggest_categorical(key, held.texts))
    low, high = held.ends
    if held.whole:
        return trial.suggest_int(key, low, high, step=int(held.step or 1), log=held.log)
    return trial.suggest_float(key, low, high, step=held.step, log=held.log)


def searched(plan: Plan, trial: FrozenTrial) -> dict[str, Value]:
    """What a trial searches, each key's value as a configuration has it."""
    held = {key: plan.space[key] for key in plan.space if key in trial.params}
    return {
        key: one.of(trial.params[key]) if isinstance(one, Choices) else trial.params[key]
        for key, one in held.items()
    }


def _between(held: Range, share: float) -> Value:
    low, high = held.low, held.high
    value = low * (high / low) ** share if held.log else low + share * (high - low)
    # Three digits are enough, but must not lead out of the range.
    return held.on_grid(value if held.whole or held.step else float(f"{value:.3g}"))
