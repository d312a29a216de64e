"""The trials of a study: a fixed number, made once each, by whoever makes them.

A trial says at its making which one it is: the study's n-th, the repetition of a lost one, or of
one of the best. Of several that say the same the first counts, and the others are never claimed.
So the number is exact even when two processes make trials at once, because the write of one that
led before was late.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from experiments.plan import Cell, Plan
from experiments.search import sampling
from experiments.search.claim import end, keep
from experiments.search.sampling import best
from pipeline.masking import shown

TOP = "top"  # the cell of a cell's best, trained again on fresh seeds
WANTED = "trials"  # note of how many trials a cell is to have, and beginning of more such notes
TWICE = "made twice, because a write was late; the first one counts"


@dataclass(frozen=True)
class Trials:
    """All trials of a plan in a storage, and what is noted of the whole."""

    plan: Plan
    storage: BaseStorage
    cells: Sequence[Cell]

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

    def want(self, trials: int) -> None:
        """Ask for so many trials a cell, at least; several commands may ask at once."""
        if trials > self.wanted():
            self.note(**{f"{WANTED}/{trials}": True})  # its own note: none overwrites another's

    def wanted(self) -> int:
        """How many trials a cell is to have: the most that was asked for."""
        notes = self.notes()
        more = [int(key.partition("/")[2]) for key in notes if key.startswith(f"{WANTED}/")]
        return max(int(notes[WANTED]), *more, 0)

    # --- the trials there are

    def optuna(self, cell: Cell) -> optuna.Study:
        """A cell's study as Optuna knows it, for its figures and tables."""
        return optuna.load_study(study_name=cell.name, storage=self.storage)

    def trials(self, cell: Cell) -> list[FrozenTrial]:
        """A cell's trials, the lost ones that were repeated left out."""
        return [trial for trial in self._made(cell) if not _is_replaced(trial)]

    def all_trials(self) -> list[FrozenTrial]:
        """The trials of all cells, the best's repetitions among them."""
        return [trial for cell in [*self.cells, *self.tops] for trial in self.trials(cell)]

    def running(self) -> Iterator[tuple[Cell, FrozenTrial]]:
        """Trials that somebody works on, or did."""
        for cell in [*self.cells, *self.tops]:
            for trial in self.trials(cell):
                if trial.state == TrialState.RUNNING:
                    yield cell, trial

    def waiting(self) -> list[tuple[Cell, FrozenTrial]]:
        """Trials to claim: of the cheapest label count first, the methods in turn."""
        found = []
        for position, cell in enumerate([*self.cells, *self.tops]):
            rank = str(cell.given.get(self.plan.label_key))
            order = next(
                i for i, c in enumerate(self.cells) if str(c.given.get(self.plan.label_key)) == rank
            )
            for trial in self._made(cell):
                if trial.state == TrialState.WAITING:
                    found.append(((order, trial.number, position), cell, trial))
        return [(cell, trial) for _, cell, trial in sorted(found, key=lambda item: item[0])]

    # --- the trials there are to be

    def fill(self) -> None:
        """Make the trials that are missing."""
        wanted = self.wanted()
        for cell in [*self.cells, *self.tops]:
            self._repeat_lost(cell)
        for cell in self.cells:
            first = sampling.first_values(self.plan, wanted)
            for index in range(len(self._originals(cell)), wanted):
                given = first[index] if index < len(first) else {}
                self.optuna(cell).enqueue_trial(given, user_attrs={"index": index})
        for top, trials in self._missing_tops():
            for trial in trials:
                self.optuna(top).enqueue_trial(trial.params, user_attrs={"of": trial.number})
        for cell in [*self.cells, *self.tops]:
            self._end_doubles(cell)

    def target(self) -> int:
        """How many trials the study has when it is complete, at most while it searches."""
        wanted, there = self.wanted(), [len(self._originals(top)) for top in self.tops]
        if not self._is_searched(wanted):
            again = min(self.plan.settings.top, wanted)
            return wanted * len(self.cells) + sum(max(again, count) for count in there)
        missing = sum(len(trials) for _, trials in self._missing_tops())
        return wanted * len(self.cells) + sum(there) + missing

    def _is_searched(self, wanted: int) -> bool:
        """Whether so many trials of each cell are made and have ended, the repetitions too."""
        return all(
            len(self._originals(cell)) >= wanted
            and all(trial.state.is_finished() for trial in self.trials(cell))
            for cell in self.cells
        )

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

    def _repeat_lost(self, cell: Cell) -> None:
        made = self._made(cell)
        repeated = {trial.user_attrs.get("replaces") for trial in made}
        for lost in made:
            if not _is_replaced(lost) or lost.number in repeated:
                continue
            kept = {
                "replaces": lost.number,
                "seed_number": seed_number(lost),
                "lost_before": lost.user_attrs["losses"],
            }
            fixed = {**lost.system_attrs.get("fixed_params", {}), **lost.params}
            self.optuna(cell).enqueue_trial(fixed, user_attrs=kept)

    def _end_doubles(self, cell: Cell) -> None:
        first = {trial.number for trial in self._made(cell)}
        for trial in self._everything(cell):
            if trial.number not in first and not trial.state.is_finished():
                with contextlib.suppress(UpdateFinishedTrialError):
                    keep(self.storage, trial, reason=TWICE)
                end(self.storage, trial, TrialState.FAIL)

    def _everything(self, cell: Cell) -> list[FrozenTrial]:
        return self.storage.get_all_trials(self._id(cell.name), deepcopy=False)

    def _made(self, cell: Cell) -> list[FrozenTrial]:
        """A cell's trials, of several that are the same one the first."""
        found: dict[object, FrozenTrial] = {}
        for trial in sorted(self._everything(cell), key=lambda trial: trial.number):
            found.setdefault(_which(trial), trial)
        return list(found.values())

    def _originals(self, cell: Cell) -> list[FrozenTrial]:
        """A cell's trials but for those that repeat a lost one."""
        return [trial for trial in self._made(cell) if "replaces" not in trial.user_attrs]

    def _id(self, name: str) -> int:
        return self.storage.get_study_id_from_name(name)


def seed_number(trial: FrozenTrial) -> int:
    """What a trial's seeds are drawn by: its place in the study, and that of the lost one."""
    place = trial.user_attrs.get("index", trial.number)
    return int(trial.user_attrs.get("seed_number", place))


def has_failed(trial: FrozenTrial) -> bool:
    """Whether a trial has failed, pruned for it or not."""
    # One that was given up while it told its result has ended by itself.
    return bool(trial.user_attrs.get("failed")) and trial.state != TrialState.COMPLETE


def _which(trial: FrozenTrial) -> tuple[str, int]:
    """Which trial of the study it is, as was said when it was made."""
    for key in ("replaces", "of", "index"):
        if key in trial.user_attrs:
            return key, trial.user_attrs[key]
    return "number", trial.number


def _is_replaced(trial: FrozenTrial) -> bool:
    """Whether another trial runs, or will run, in a lost one's place."""
    return bool(trial.user_attrs.get("replaced")) and trial.state == TrialState.FAIL
