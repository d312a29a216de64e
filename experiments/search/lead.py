"""Who leads a study: one process at a time, by a claim like that on a trial.

Each term is a trial in an Optuna study of its own. The first that has not ended is the present
one, and the storage lets one process alone claim it. When the claim's sign of life is missing for
a lease, the term is ended and the next begins.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from experiments.search.claim import end, id_of, keep, take
from experiments.search.storage import AWAY, created
from experiments.search.trials import Trials
from pipeline import life

LEAD = "lead"  # the study of the terms is called <study>/lead


class Lead:
    """Whether this process leads a study; one that does gives signs of life by itself."""

    def __init__(self, study: Trials) -> None:
        """Nobody is asked yet."""
        self.taken: Callable[[], None] = lambda: None  # is called when the lead is taken
        self.storage, self.lease = study.storage, study.plan.settings.lease
        self.name = f"{study.plan.study}/{LEAD}"
        self.watch = life.Watch(self.lease)
        self.term: int | None = None  # the storage's number of the term that is ours
        self.signs = contextlib.ExitStack()
        created(self.storage, self.name, 1)

    def held(self) -> bool:
        """Whether this process leads now; it takes the lead if nobody has it."""
        term = self._term()
        if self.term == id_of(term):
            return True
        self._lose()  # we were taken for dead
        if term.state == TrialState.WAITING:
            if take(self.storage, term):
                self.term = id_of(term)
                self.signs.enter_context(life.renewed(partial(self._sign, term), self.lease))
                self.taken()
        elif self.watch.gone(id_of(term), term.user_attrs.get("alive")):
            end(self.storage, term, TrialState.FAIL)
        return self.ours

    @property
    def ours(self) -> bool:
        """What `held` has last told; the storage is not asked."""
        return self.term is not None

    @contextmanager
    def released(self) -> Iterator[None]:
        """Let another lead as the block ends."""
        try:
            yield
        finally:
            mine = self.term
            self._lose()
            with contextlib.suppress(*AWAY):
                for term in self._open():
                    if id_of(term) == mine:
                        end(self.storage, term, TrialState.COMPLETE, [0.0])

    def _term(self) -> FrozenTrial:
        """The present term."""
        while not (terms := self._open()):
            # Two may do this at once: the second one's term is the next.
            optuna.load_study(study_name=self.name, storage=self.storage).enqueue_trial({})
        return terms[0]

    def _open(self) -> list[FrozenTrial]:
        """The terms that have not ended, the first first."""
        study = self.storage.get_study_id_from_name(self.name)
        states = (TrialState.WAITING, TrialState.RUNNING)
        found = self.storage.get_all_trials(study, deepcopy=False, states=states)
        return sorted(found, key=lambda term: term.number)

    def _sign(self, term: FrozenTrial, sign: Mapping[str, Any]) -> None:
        keep(self.storage, term, alive=sign)

    def _lose(self) -> None:
        self.term = None
        self.signs.close()
