"""A trial that one process works on, from its claim to its end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from experiments.plan import Cell
from experiments.search import sampling
from experiments.search.sampling import best
from pipeline.config.schema import Config, Value
from pipeline.interrupts import undisturbed

if TYPE_CHECKING:
    from experiments.search.study import Study


@dataclass(frozen=True)
class Claim:
    """A trial that this process works on."""

    study: "Study"
    cell: Cell
    trial: optuna.Trial
    seed_number: int  # the trial's number, or that of the lost one it repeats
    values: Mapping[str, Value]  # what it searches or repeats

    @property
    def id(self) -> int:
        """The storage's number of it."""
        return self.trial._trial_id

    @property
    def seeds(self) -> list[int]:
        """The seed of each of its trainings: of study, arm and number, of no worker."""
        arm = self.cell.name.removeprefix(self.study.plan.study)
        count = self.study.plan.settings.seeds_per_trial
        return [sampling.derived(self.study.seed, arm, self.seed_number, i) for i in range(count)]

    def note(self, **attributes: object) -> None:
        """Keep something with the trial."""
        for key, value in attributes.items():
            self.study.storage.set_trial_user_attr(self.trial._trial_id, key, value)

    def config(self, i: int, threads: int | None) -> Config:
        """The configuration of its training number i, in the study's MLflow experiment."""
        plan, values = self.study.plan, dict(self.values)
        steps = self.study.notes().get("steps", {})
        method = str(plan.config(values).method)
        if method in steps:
            values["steps"] = steps[method]
        held = {"seed": self.seeds[i], "threads": threads, "experiment": plan.experiment}
        return plan.config({**values, **held})

    def falls_behind(self, step: int, error: float) -> str:
        """Mode budget: report a validation error; why the trial should end, or "".

        step: of the training, or with several seeds a trial the number of the seed.
        """
        settings = self.study.plan.settings
        if settings.mode == "pareto" or self.cell in self.study.tops:
            return ""
        self.trial.report(error, step)
        if self.trial.should_prune():
            return f"pruned at {step}: behind the other trials"
        if settings.seeds_per_trial > 1 and self._cannot_reach_the_top():
            return f"pruned after seed {step + 1}: no error of the others would bring it to the top"
        return ""

    def _cannot_reach_the_top(self) -> bool:
        """Whether the mean over all seeds is too high even if the seeds to come have no error."""
        settings = self.study.plan.settings
        told = self.study.storage.get_trial(self.id).intermediate_values.values()
        ranked = [trial.values[0] for trial in best(self.study.trials(self.cell))]
        there = ranked[settings.top - 1 : settings.top]
        return any(sum(told) / settings.seeds_per_trial > worst for worst in there)

    def is_ours(self) -> bool:
        """False once another process has given the trial up."""
        return self.study.storage.get_trial(self.trial._trial_id).state == TrialState.RUNNING

    def finish(
        self, state: TrialState, values: Sequence[float] | None, **attributes: object
    ) -> bool:
        """End the trial; False if it had been given up meanwhile."""
        try:
            with undisturbed():
                self.note(**attributes)
                return self.study.storage.set_trial_state_values(self.id, state, values)
        except UpdateFinishedTrialError:
            return False
