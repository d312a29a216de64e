"""How trials get their values and are ranked: the first ones, the sampler, the pruner, seeds."""

import hashlib
import json
from collections.abc import Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from experiments.plan import Cell, Plan
from experiments.space import Choices, Range
from pipeline.config.schema import Value

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


def pruner(plan: Plan, cell: Cell, steps: dict[str, int]) -> BasePruner:
    """What ends a trial of mode budget early; several objectives cannot be pruned.

    steps: of each method, where they were evened out.
    """
    settings = plan.settings
    if settings.mode == "pareto" or settings.pruner == "none":
        return optuna.pruners.NopPruner()
    if settings.seeds_per_trial > 1:
        return optuna.pruners.WilcoxonPruner(p_threshold=0.2)  # three seeds that all lose: 0.125
    values = {**plan.firsts, **cell.given}
    length = steps.get(plan.config(values).method)
    # The share of the warm-up depends on the length.
    config = plan.config(values | ({"steps": length} if length else {}))
    length = config.steps
    if settings.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(config.report_every, length, reduction_factor=3)
    # Early in the schedule the errors say little about the end.
    first = round(config.own.get("warm_up_share", 0.0) * length)
    early = first + (length - first) // 3
    return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=early)


def first_values(plan: Plan, trials: int) -> list[dict[str, Value]]:
    """Mode pareto: label counts from the cheap end, each with default rates and drawn ones."""
    labels = plan.space.get(plan.label_key)
    if plan.settings.mode != "pareto" or not isinstance(labels, Range):
        return []
    rungs = -(-startup(trials) // 2)
    shares = [(2 * i + 1) / (2 * rungs) for i in range(rungs)]
    defaults = plan.config({plan.label_key: labels.ends[0]}).flat()
    known = {key: defaults[key] for key, held in plan.space.items() if _has(held, defaults[key])}
    ladder = [{plan.label_key: _between(labels, share)} for share in shares]
    return [first for rung in ladder for first in ({**known, **rung}, rung)][: startup(trials)]


def suggest(trial: optuna.Trial, key: str, held: Range | Choices) -> Value:
    """A trial's value of a key: fixed, or drawn by the sampler."""
    if isinstance(held, Choices):
        texts = [json.dumps(choice) for choice in held.choices]  # a choice may be a list
        return held.choices[texts.index(trial.suggest_categorical(key, texts))]  # type: ignore[no-any-return]
    if held.whole:
        step = int(held.step or 1)
        return trial.suggest_int(key, int(held.low), int(held.high), step=step, log=held.log)
    return trial.suggest_float(key, held.low, held.high, step=held.step, log=held.log)


def _has(held: Range | Choices, value: Value) -> bool:
    """Whether a range contains a value; choices are left to the sampler."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(held, Range) and number and held.low <= value <= held.high  # type: ignore[operator]


def _between(held: Range, share: float) -> Value:
    low, high = held.low, held.high
    value = low * (high / low) ** share if held.log else low + share * (high - low)
    return round(value) if held.whole else float(f"{value:.3g}")
