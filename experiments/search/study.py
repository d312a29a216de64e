"""A study in a storage: a fixed number of trials that workers claim, finish or lose.

The trials are made before the first worker starts, as waiting ones: their places decide their
seeds, whoever runs them and in whatever order.
"""

import contextlib
import time
import uuid
from dataclasses import dataclass, replace
from functools import partial

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from experiments.plan import Cell, Plan, difference
from experiments.search import sampling
from experiments.search.claim import Claim, end, id_of, keep, take
from experiments.search.storage import created, patiently
from experiments.search.trials import WANTED, Trials, has_failed, seed_number
from pipeline import life
from pipeline.config.machine import best_precision
from pipeline.errors import UserError

OBJECTIVES = {"pareto": ("validation error", "label cost"), "budget": ("validation error",)}
ID = "id"  # note of what no other study has
PRECISION = "precision"  # note of what `precision: auto` is in all trials
MADE_WITHIN = 10.0  # seconds in which a study that another process has just made is complete


@dataclass(frozen=True)
class Study(Trials):
    """A plan's studies in Optuna: one of its name, which holds what is said of the whole, and the
    cells (in mode pareto they are the same)."""

    seed: int

    @classmethod
    def open(cls, plan: Plan, storage: BaseStorage, digest: str) -> "Study":
        """Make the study or join it.

        Raises:
            UserError: a study of this name searches something else, or on other data.
        """
        seed = plan.config(plan.firsts).seed
        study = cls(plan, storage, plan.cells(), seed)
        ours_to_make = created(storage, plan.study, len(OBJECTIVES[plan.settings.mode]))
        until = time.monotonic() + (0 if ours_to_make else MADE_WITHIN)
        while (theirs := study.notes().get("fingerprint")) is None and time.monotonic() < until:
            time.sleep(0.1)
        if theirs is None:  # its machine decides for all that join
            study.note(**{PRECISION: best_precision()})
        study = replace(study, plan=replace(plan, precision=study.notes().get(PRECISION, "")))
        ours = study.plan.fingerprint(digest, seed)
        if theirs is None:  # its maker, if it was another process, has died
            optuna.load_study(study_name=plan.study, storage=storage).set_metric_names(
                list(OBJECTIVES[plan.settings.mode])
            )
            study.note(**{WANTED: plan.settings.trials, ID: uuid.uuid4().hex})
            study.note(fingerprint=ours)  # last: who finds it finds all
        elif theirs != ours:
            raise UserError(
                f"study = {plan.study!r}: a study of this name exists and differs: "
                f"{difference(theirs, ours)}; choose another name (--study), or take the "
                "change back."
            )
        for cell in [*study.cells, *study.tops]:
            created(storage, cell.name, len(OBJECTIVES[plan.settings.mode]))
        return study

    @property
    def id(self) -> str:
        """What no other study has, of the same name in another storage; of old ones ""."""
        return str(self.notes().get(ID, ""))

    # --- claiming, losing

    def claim(self) -> Claim | None:
        """The next trial, now ours, or None if none waits or the study was stopped, or is to be."""
        while taken := patiently(self._take):
            with contextlib.suppress(UpdateFinishedTrialError):  # given up meanwhile
                try:
                    return patiently(partial(self._claimed, *taken))
                except UserError as error:  # values that do not go together
                    keep(self.storage, taken[1], reason=str(error), failed=True)
                    end(self.storage, taken[1], TrialState.FAIL)
        return None

    def _take(self) -> tuple[Cell, FrozenTrial] | None:
        failures = self.failures_in_a_row()
        if self.notes().get("stopped") or len(failures) >= self.plan.settings.max_failures:
            return None
        for cell, trial in self.waiting():
            if take(self.storage, trial):
                return cell, trial
        return None

    def _claimed(self, cell: Cell, trial: FrozenTrial) -> Claim:
        number = seed_number(trial)
        notes = self.notes()
        seed = sampling.derived(self.seed, cell.name, number, "sampler")
        sampler = sampling.sampler(self.wanted(), seed)
        study = optuna.load_study(study_name=cell.name, storage=self.storage, sampler=sampler)
        running = optuna.Trial(study, id_of(trial))
        values = {
            key: sampling.suggest(running, key, held)
            for key, held in self.plan.space.items()
            if key not in cell.given
        }
        name, count = cell.name.removeprefix(self.plan.study), self.plan.settings.seeds_per_trial
        claim = Claim(
            self.storage,
            self.plan,
            cell,
            running,
            [sampling.derived(self.seed, name, number, i) for i in range(count)],
            {**values, **cell.given},
            notes.get("steps", {}),
            is_repetition=cell in self.tops,
        )
        study.pruner = sampling.pruner(self.plan, claim.config(0, None), claim.longest)
        return claim

    def give_back(self) -> None:
        """Let the trials run again that this process works on."""
        for _, trial in self.running():
            if life.ours(trial.user_attrs.get("alive")):
                self.give_up(id_of(trial), "interrupted", blame=False)

    def give_up(self, trial_id: int, reason: str, *, blame: bool) -> None:
        """End a trial whose worker is gone; `fill` lets it run again, once if it is to blame."""
        trial = self.storage.get_trial(trial_id)
        losses = trial.user_attrs.get("lost_before", 0) + blame
        again = losses <= 1
        said = reason if again else f"{reason}, twice"
        with contextlib.suppress(UpdateFinishedTrialError):  # it had ended by itself
            keep(self.storage, trial, losses=losses, reason=said, failed=not again, replaced=again)
            end(self.storage, trial, TrialState.FAIL)

    def failures_in_a_row(self) -> list[str]:
        """Reasons of the last trials to end, as far back as all of them failed."""
        old = set(self.notes().get("failed_before", ()))
        ended = [
            (trial.datetime_complete, f"{cell.name} {trial.number}", trial)
            for cell in [*self.cells, *self.tops]
            for trial in self.trials(cell)
            if trial.datetime_complete
        ]
        reasons = []
        for _, name, trial in sorted(ended, key=lambda one: one[:2], reverse=True):
            if not has_failed(trial) or name in old:
                break
            reasons.append(str(trial.user_attrs.get("reason")))
        return reasons

    def forgive_failures(self) -> None:
        """Count failures in a row from here on: a command that goes on means to try again."""
        failed = [
            f"{cell.name} {trial.number}"
            for cell in [*self.cells, *self.tops]
            for trial in self.trials(cell)
            if has_failed(trial)
        ]
        self.note(failed_before=failed)
