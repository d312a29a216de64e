"""A trial that one process works on, from its claim to its end."""

import contextlib
import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from experiments import equal_time
from experiments.plan import Cell, Plan
from experiments.search.sampling import best, place
from pipeline import life
from pipeline.config.key import Value
from pipeline.config.schema import Config
from pipeline.interrupts import undisturbed
from pipeline.masking import shown

OF_LENGTH = ("steps", "kind", "backbone")  # keys that decide how many steps a trial has
AnyTrial = FrozenTrial | optuna.Trial


def id_of(trial: AnyTrial) -> int:
    """The storage's number of a trial, which Optuna tells nowhere else."""
    return trial._trial_id


def keep(storage: BaseStorage, trial: AnyTrial, **attributes: object) -> None:
    """Keep something with a trial.

    Raises:
        UpdateFinishedTrialError: it has ended.
    """
    for key, value in attributes.items():
        storage.set_trial_user_attr(id_of(trial), key, shown(value))


def take(storage: BaseStorage, trial: FrozenTrial) -> bool:
    """Claim a waiting trial, with a sign of life; False if another has, or if it has ended."""
    with undisturbed(), contextlib.suppress(UpdateFinishedTrialError):
        # Without a sign it would be missed only after a lease.
        if storage.set_trial_state_values(id_of(trial), TrialState.RUNNING):
            keep(storage, trial, alive=life.sign(), node=life.node())
            return True
    return False


def end(
    storage: BaseStorage,
    trial: AnyTrial,
    state: TrialState,
    values: Sequence[float] | None = None,
) -> bool:
    """End a trial; False if it had ended."""
    with contextlib.suppress(UpdateFinishedTrialError):
        return storage.set_trial_state_values(id_of(trial), state, values)
    return False


@dataclass(frozen=True)
class Claim:
    """A trial that this process works on."""

    storage: BaseStorage
    plan: Plan
    cell: Cell
    trial: optuna.Trial
    seeds: Sequence[int]  # of each of its trainings: of study, cell and number, of no worker
    values: Mapping[str, Value]  # what it searches or repeats
    steps: Mapping[str, int]  # where methods get equal time: of each combination that was timed
    is_repetition: bool  # of one of the cell's best, on fresh seeds

    @property
    def id(self) -> int:
        """The storage's number of it."""
        return id_of(self.trial)

    def note(self, **attributes: object) -> None:
        """Keep something with the trial."""
        keep(self.storage, self.trial, **attributes)

    def config(self, i: int, threads: int | None) -> Config:
        """The configuration of its training number i, in the study's MLflow experiment."""
        held = {"seed": self.seeds[i], "threads": threads, "experiment": self.plan.experiment}
        return self._config({**self.values, **held})

    def longest(self) -> Config:
        """The configuration of a trial of its cell that has the most steps."""
        keys = [k for k in OF_LENGTH if k in self.plan.space and k not in self.plan.timed]
        ends = [*itertools.product(*(self.plan.space[key].ends for key in keys))]
        configs = [
            self._config({**values, **dict(zip(keys, some, strict=True)), **self.cell.given})
            for values in [*self.plan.to_time().values()] or [self.plan.firsts]
            for some in ends
        ]
        return max(configs, key=lambda config: config.steps)

    @functools.cached_property
    def lengths(self) -> tuple[Config, Config]:
        """The configuration of its first training, and `longest`."""
        return self.config(0, None), self.longest()

    def _config(self, values: Mapping[str, Value]) -> Config:
        timed = self.plan.timed
        if timed and (name := equal_time.name(values, timed)) in self.steps:
            values = {**values, "steps": self.steps[name]}
        return self.plan.config(values)

    def falls_behind(self, step: int, error: float) -> str:
        """Mode budget: report a validation error; why the trial should end, or "".

        step: of the training, or with several seeds a trial the number of the seed.
        """
        settings = self.plan.settings
        if settings.mode == "pareto" or self.is_repetition:
            return ""
        alone = settings.seeds_per_trial == 1
        self.trial.report(error, place(step, *self.lengths) if alone else step)
        if self.trial.should_prune():
            return f"pruned at {step}: behind the other trials"
        if settings.pruner != "none" and not alone and self._cannot_reach_the_top():
            return f"pruned after seed {step + 1}: no error of the others would bring it to the top"
        return ""

    def _cannot_reach_the_top(self) -> bool:
        """Whether the mean over all seeds is too high even if the seeds to come have no error."""
        settings = self.plan.settings
        told = self.storage.get_trial(self.id).intermediate_values.values()
        cell = self.storage.get_study_id_from_name(self.cell.name)
        trials = self.storage.get_all_trials(cell, deepcopy=False)
        ranked = [trial.values[0] for trial in best(trials)]
        there = ranked[settings.top - 1 : settings.top]
        return any(sum(told) / settings.seeds_per_trial > worst for worst in there)

    def is_ours(self) -> bool:
        """False once another process has given the trial up."""
        return self.storage.get_trial(self.id).state == TrialState.RUNNING

    def finish(
        self, state: TrialState, values: Sequence[float] | None, **attributes: object
    ) -> bool:
        """End the trial; False if it had been given up meanwhile."""
        with undisturbed(), contextlib.suppress(UpdateFinishedTrialError):
            self.note(**attributes)
            return end(self.storage, self.trial, state, values)
        return False
