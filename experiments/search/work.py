"""What a worker does: claim a trial, train it, tell the study; again, until none waits."""

import contextlib
import time
from dataclasses import dataclass
from functools import partial

import numpy as np
from optuna.trial import TrialState

from experiments import trial as trials
from experiments.plan import Plan
from experiments.search.claim import Claim
from experiments.search.storage import AWAY, connected, patiently
from experiments.search.study import Study
from experiments.trial import Outcome
from pipeline import interrupts, life
from pipeline.errors import Collapsed, Diverged, Stopped
from pipeline.tracking import CELL, STUDY, TRIAL, StoreAway


@dataclass(frozen=True)
class Job:
    """All that a worker is told, ready to be sent to another process or machine."""

    plan: Plan
    place: str  # the storage, as `storage.location` gives it
    digest: str  # of the data
    threads: int | None  # of each training


def work(job: Job) -> int:
    """Run trials until none waits or the process is to be renewed; returns how many.

    Raises:
        UserError: the storage cannot be used, or holds another study of this name.
        StoreAway: MLflow's store stays away; the trial is given back.
    """
    trials.detach()
    study = patiently(lambda: Study.open(job.plan, connected(job.place), job.digest))
    try:
        for done in range(job.plan.settings.trials_per_process):
            begin = time.perf_counter()
            interrupts.heed()
            claim = study.claim()
            if claim is None:
                return done
            perform(claim, job, begin)
    except (KeyboardInterrupt, SystemExit, StoreAway):  # nothing is the trial's fault
        with contextlib.suppress(*AWAY):  # then it is found to be lost
            study.give_back()
        raise
    return job.plan.settings.trials_per_process


def perform(claim: Claim, job: Job, begin: float) -> None:
    """Run a claimed trial to its end, whatever that is, and tell the study.

    A failure belongs to the trial: it is told with its reason and the study goes on.
    """
    with life.renewed(lambda sign: claim.note(alive=sign), claim.plan.settings.lease):
        try:
            outcomes = _trainings(claim, job)
        except Stopped as stop:
            _tell(claim, TrialState.PRUNED, str(stop), failed=False)
        except (Collapsed, Diverged) as error:
            # The sampler learns from a pruned trial to stay away, from a failed one nothing.
            hopeless = claim.plan.settings.mode == "pareto" or isinstance(error, Collapsed)
            _tell(claim, TrialState.PRUNED if hopeless else TrialState.FAIL, str(error))
        except StoreAway:
            raise
        except Exception as error:
            interrupts.heed()
            _tell(claim, TrialState.FAIL, f"{type(error).__name__}: {error}")
        else:
            _complete(claim, outcomes, begin)


def _trainings(claim: Claim, job: Job) -> list[Outcome]:
    """One training for each of the trial's seeds."""
    outcomes: list[Outcome] = []
    for i in range(len(claim.seeds)):
        tags = {
            STUDY: claim.plan.study,
            TRIAL: str(claim.trial.number),
            CELL: claim.cell.name,
        }

        def began(run_id: str) -> None:
            ids = [*(outcome.run_id for outcome in outcomes), run_id]
            patiently(lambda: claim.note(run_ids=ids))

        config = patiently(partial(claim.config, i, job.threads))
        ask = _Ask(claim, config.steps if len(claim.seeds) == 1 else 0)
        outcome = trials.train(
            config, job.digest, _name(claim, i), claim.plan.space, tags, began, ask
        )
        outcomes.append(outcome)
        behind = partial(claim.falls_behind, i, outcome.error)
        if i + 1 < len(claim.seeds) and (why := patiently(behind)):
            raise Stopped(why)
    return outcomes


def _name(claim: Claim, i: int) -> str:
    """Of the run of a trial's training number i."""
    again = " on fresh seeds" if claim.is_repetition else ""
    which = f", training {i + 1}" if len(claim.seeds) > 1 else ""
    return f"trial {claim.trial.number}{again}{which}: {{}}"


class _Ask:
    """At a report: is the trial still ours, is it worth going on?"""

    def __init__(self, claim: Claim, prune_before: int) -> None:
        self.claim, self.prune_before = claim, prune_before
        self.every = claim.plan.settings.lease / life.BEATS
        self.asked = time.monotonic()

    def __call__(self, step: int, error: float | None) -> str:
        if time.monotonic() - self.asked > self.every:
            self.asked = time.monotonic()
            if not patiently(self.claim.is_ours):
                return "given up: no sign of life had come from this worker"
        if error is None or step >= self.prune_before:  # None: still in the warm-up
            return ""
        return patiently(lambda: self.claim.falls_behind(step, error))


def _complete(claim: Claim, outcomes: list[Outcome], begin: float) -> None:
    error = float(np.mean([outcome.error for outcome in outcomes]))
    cost = outcomes[0].n_labels * claim.plan.settings.label_cost
    training = sum(outcome.training_s for outcome in outcomes)
    values = [error, cost] if claim.plan.settings.mode == "pareto" else [error]
    patiently(
        lambda: claim.finish(
            TrialState.COMPLETE,
            values,
            n_labels=outcomes[0].n_labels,
            label_cost=cost,
            errors=[outcome.error for outcome in outcomes],
            training_s=round(training, 3),
            overhead_s=round(time.perf_counter() - begin - training, 3),
        )
    )


def _tell(claim: Claim, state: TrialState, reason: str, *, failed: bool = True) -> None:
    reason = " ".join(reason.split())[:1000]
    patiently(lambda: claim.finish(state, None, reason=reason, failed=failed))
