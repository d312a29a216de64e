"""A study in a storage: a fixed number of trials that workers claim, finish or lose.

The trials are made before the first worker starts, as waiting ones: their numbers decide their
seeds and how many there are, whoever runs them and in whatever order.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from experiments.plan import Cell, Plan
from experiments.search import sampling
from experiments.search.claim import Claim
from experiments.search.sampling import best
from experiments.search.storage import patiently
from pipeline import life
from pipeline.errors import UserError
from pipeline.interrupts import undisturbed
from pipeline.masking import shown

TOP = "top"  # the cell of a cell's best, trained again on fresh seeds
OBJECTIVES = {"pareto": ("validation error", "label cost"), "budget": ("validation error",)}
MADE_WITHIN = 10.0  # seconds in which a study that another process has just made is complete


@dataclass(frozen=True)
class Study:
    """A plan's studies in Optuna: one of its name, which holds what is said of the whole, and the
    cells (in mode pareto they are the same)."""

    plan: Plan
    storage: BaseStorage
    seed: int
    cells: Sequence[Cell]

    @classmethod
    def open(cls, plan: Plan, storage: BaseStorage, digest: str) -> "Study":
        """Make the study or join it.

        Raises:
            UserError: a study of this name searches something else, or on other data.
        """
        seed = plan.config(plan.firsts).seed
        study = cls(plan, storage, seed, plan.cells())
        ours = plan.fingerprint(digest, seed)
        created = _create(storage, plan.study, len(OBJECTIVES[plan.settings.mode]))
        end = time.monotonic() + (0 if created else MADE_WITHIN)
        while (theirs := study.notes().get("fingerprint")) is None and time.monotonic() < end:
            time.sleep(0.1)
        if theirs is None:  # its maker, if it was another process, has died
            optuna.load_study(study_name=plan.study, storage=storage).set_metric_names(
                list(OBJECTIVES[plan.settings.mode])
            )
            study.note(trials=plan.settings.trials)
            study.note(fingerprint=ours)  # last: who finds it finds all
        elif theirs != ours:
            raise UserError(
                f"study = {plan.study!r}: a study of this name exists and differs: "
                f"{_difference(theirs, ours)}; choose another name (--study), or take the "
                "change back."
            )
        for cell in [*study.cells, *study.tops]:
            _create(storage, cell.name, len(OBJECTIVES[plan.settings.mode]))
        return study

    @property
    def tops(self) -> list[Cell]:
        """Mode budget: for every cell one that trains its best again on fresh seeds."""
        if self.plan.settings.mode == "pareto":
            return []
        return [Cell(f"{cell.name}/{TOP}", cell.given) for cell in self.cells]

    # --- what is said of the whole study

    def notes(self) -> dict[str, Any]:
        """What `note` has kept."""
        return self.storage.get_study_user_attrs(self._id(self.plan.study))

    def note(self, **attributes: object) -> None:
        """Keep something with the study."""
        for key, value in attributes.items():
            self.storage.set_study_user_attr(self._id(self.plan.study), key, shown(value))

    def optuna(self, cell: Cell) -> optuna.Study:
        """A cell's study as Optuna knows it, for its figures and tables."""
        return optuna.load_study(study_name=cell.name, storage=self.storage)

    def trials(self, cell: Cell) -> list[FrozenTrial]:
        """A cell's trials, the lost ones that were repeated left out."""
        return [trial for trial in self._everything(cell) if not _is_replaced(trial)]

    def all_trials(self) -> list[FrozenTrial]:
        """The trials of all cells, the best's repetitions among them."""
        return [trial for cell in [*self.cells, *self.tops] for trial in self.trials(cell)]

    # --- the trials there are

    def fill(self) -> None:
        """Make the trials that are missing; only one process at a time may call this."""
        target = self.notes()["trials"]
        for cell in [*self.cells, *self.tops]:
            self._repeat_lost(cell)
        for cell in self.cells:
            first = sampling.first_values(self.plan, target)
            for number in range(len(self._originals(cell)), target):
                given = first[number] if number < len(first) else {}
                self.optuna(cell).enqueue_trial(given)
        for top, trials in self._missing_tops():
            for trial in trials:
                self.optuna(top).enqueue_trial(trial.params, user_attrs={"of": trial.number})

    def target(self) -> int:
        """How many trials the study has when it is complete."""
        wanted = int(self.notes()["trials"]) * len(self.cells)
        there = sum(len(self._originals(top)) for top in self.tops)
        return wanted + there + sum(len(trials) for _, trials in self._missing_tops())

    def _missing_tops(self) -> list[tuple[Cell, list[FrozenTrial]]]:
        """Mode budget, when all is searched: the best of each cell that are to be trained again."""
        searched = [trial for cell in self.cells for trial in self.trials(cell)]
        if not all(trial.state.is_finished() for trial in searched):
            return []
        missing = []
        for cell, top in zip(self.cells, self.tops, strict=bool(self.tops)):
            there = {trial.user_attrs["of"] for trial in self._originals(top)}
            wanted = best(self.trials(cell))[: self.plan.settings.top]
            missing.append((top, [trial for trial in wanted if trial.number not in there]))
        return missing

    def _everything(self, cell: Cell) -> list[FrozenTrial]:
        return self.storage.get_all_trials(self._id(cell.name), deepcopy=False)

    def _originals(self, cell: Cell) -> list[FrozenTrial]:
        """A cell's trials but for those that repeat a lost one."""
        return [trial for trial in self._everything(cell) if "replaces" not in trial.user_attrs]

    # --- claiming, losing

    def claim(self) -> Claim | None:
        """The next trial, now ours, or None if none waits or the study was stopped, or is to be."""
        taken = patiently(self._take)
        return patiently(partial(self._claimed, *taken)) if taken else None

    def _take(self) -> tuple[Cell, FrozenTrial] | None:
        failures = self.failures_in_a_row()
        if self.notes().get("stopped") or len(failures) >= self.plan.settings.max_failures:
            return None
        for cell, trial in self._waiting():
            with undisturbed():  # a trial without a sign would be missed only after a lease
                ours = self.storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
                if ours:
                    self.storage.set_trial_user_attr(trial._trial_id, "alive", life.sign())
                    self.storage.set_trial_user_attr(trial._trial_id, "node", life.node())
            if ours:
                return cell, trial
        return None

    def _waiting(self) -> list[tuple[Cell, FrozenTrial]]:
        """Trials to claim: of the cheapest label count first, the methods in turn."""
        found = []
        for position, cell in enumerate([*self.cells, *self.tops]):
            rank = str(cell.given.get(self.plan.label_key))
            order = next(
                i for i, c in enumerate(self.cells) if str(c.given.get(self.plan.label_key)) == rank
            )
            for trial in self.storage.get_all_trials(
                self._id(cell.name), deepcopy=False, states=(TrialState.WAITING,)
            ):
                found.append(((order, trial.number, position), cell, trial))
        return [(cell, trial) for _, cell, trial in sorted(found, key=lambda item: item[0])]

    def _claimed(self, cell: Cell, trial: FrozenTrial) -> Claim:
        number = trial.user_attrs.get("seed_number", trial.number)
        notes = self.notes()
        seed = sampling.derived(self.seed, cell.name, number, "sampler")
        sampler = sampling.sampler(notes["trials"], seed)
        study = optuna.load_study(study_name=cell.name, storage=self.storage, sampler=sampler)
        running = optuna.Trial(study, trial._trial_id)
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

    def running(self) -> Iterator[tuple[Cell, FrozenTrial]]:
        """Trials that somebody works on, or did."""
        for cell in [*self.cells, *self.tops]:
            for trial in self.trials(cell):
                if trial.state == TrialState.RUNNING:
                    yield cell, trial

    def give_back(self) -> None:
        """Let the trials run again that this process works on."""
        for _, trial in self.running():
            if life.ours(trial.user_attrs.get("alive")):
                self.give_up(trial._trial_id, "interrupted", blame=False)

    def give_up(self, trial_id: int, reason: str, *, blame: bool) -> None:
        """End a trial whose worker is gone; `fill` lets it run again, once if it is to blame."""
        trial = self.storage.get_trial(trial_id)
        losses = trial.user_attrs.get("lost_before", 0) + blame
        again = losses <= 1
        with contextlib.suppress(UpdateFinishedTrialError):  # it had ended by itself
            self.storage.set_trial_user_attr(trial_id, "losses", losses)
            self.storage.set_trial_user_attr(
                trial_id, "reason", reason if again else f"{reason}, twice"
            )
            self.storage.set_trial_user_attr(trial_id, "failed", not again)
            self.storage.set_trial_user_attr(trial_id, "replaced", again)
            self.storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def _repeat_lost(self, cell: Cell) -> None:
        everything = self._everything(cell)
        repeated = {trial.user_attrs.get("replaces") for trial in everything}
        for lost in everything:
            if not _is_replaced(lost) or lost.number in repeated:
                continue
            kept = {
                "replaces": lost.number,
                "seed_number": lost.user_attrs.get("seed_number", lost.number),
                "lost_before": lost.user_attrs["losses"],
            }
            fixed = {**lost.system_attrs.get("fixed_params", {}), **lost.params}
            self.optuna(cell).enqueue_trial(fixed, user_attrs=kept)

    def failures_in_a_row(self) -> list[str]:
        """Reasons of the last trials to end, as far back as all of them failed."""
        old = set(self.notes().get("failed_before", ()))
        ended = [
            (trial.datetime_complete, f"{cell.name} {trial.number}", trial.user_attrs)
            for cell in [*self.cells, *self.tops]
            for trial in self.trials(cell)
            if trial.datetime_complete
        ]
        reasons = []
        for _, name, said in sorted(ended, key=lambda one: one[:2], reverse=True):
            if not said.get("failed") or name in old:
                break
            reasons.append(str(said.get("reason")))
        return reasons

    def forgive_failures(self) -> None:
        """Count failures in a row from here on: a command that goes on means to try again."""
        failed = [
            f"{cell.name} {trial.number}"
            for cell in [*self.cells, *self.tops]
            for trial in self.trials(cell)
            if trial.user_attrs.get("failed")
        ]
        self.note(failed_before=failed)

    def _id(self, name: str) -> int:
        return self.storage.get_study_id_from_name(name)


def _is_replaced(trial: FrozenTrial) -> bool:
    """Whether another trial runs, or will run, in a lost one's place."""
    return bool(trial.user_attrs.get("replaced")) and trial.state.is_finished()


def _create(storage: BaseStorage, name: str, objectives: int) -> bool:
    try:
        storage.create_new_study([StudyDirection.MINIMIZE] * objectives, name)
    except DuplicatedStudyError:
        return False
    return True


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """What changed, as "generator_lr: {…} → {…}"."""
    changes = []
    for part in ("data", "seed"):
        if theirs.get(part) != ours[part]:
            changes.append(f"{part}: {theirs.get(part)} → {ours[part]}")
    for part in ("space", "settings", "fixed"):
        before, now = theirs.get(part, {}), ours[part]
        changes += [
            f"{key}: {before.get(key, 'not there')} → {now.get(key, 'not there')}"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        ]
    return "; ".join(changes)
