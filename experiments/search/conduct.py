"""A whole search: make or join the study, keep workers at work, look after lost trials, answer.

Of all commands that have joined a study one leads at a time: it makes missing trials, gives lost
ones up and writes the answer. When it dies, another takes over.
"""

import contextlib
import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from experiments import pace, workers
from experiments import trial as trials
from experiments.plan import Plan
from experiments.search import answer
from experiments.search.claim import id_of
from experiments.search.lead import Lead
from experiments.search.storage import location, open_storage, patiently
from experiments.search.study import Study
from experiments.search.told import Told
from experiments.search.work import Job, work
from pipeline import data, life, progress, tracking
from pipeline.config import layers as configuration
from pipeline.errors import RunFailure, UserError
from pipeline.masking import masked
from pipeline.ops import runtime
from pipeline.runs import flow
from pipeline.stages import told as telling
from pipeline.tracking import Run, StoreAway

PAUSE = 0.5  # seconds between two looks at the study
LOST = "the worker was lost (killed, out of memory, or its machine went away)"
NO_BACKBONE = (
    "backbone = auto is decided in single runs only: here every trial trains from scratch. Do a "
    "single run first, and name what it chose, e.g. backbone=efficientnet_lite0"
)
TIMED_HERE = (
    "equal_time: the methods' steps are timed on this machine; if those of the trials are others, "
    "start the search on one of them, or give equal_time false"
)


def search(plan: Plan) -> answer.Answer:
    """Run the study to its end, alone or beside others, and return its answer.

    Raises:
        UserError: store, storage or data cannot be used, or another study has this name.
        RunFailure: too many trials in a row failed, or no worker comes up.
    """
    first = plan.config(plan.firsts)
    progress.phase(f"loading {first.dataset}, opening the study")
    trials.check_pictures(plan.ends())
    dataset = data.of(first)
    plan = plan.on(len(dataset.train_images))
    trials.check_splits(plan.splits(), dataset)
    first = plan.config(plan.firsts)
    if warning := configuration.short(first, plan.n_images):
        progress.warn(warning)
    if plan.leaves_backbone:
        progress.warn(NO_BACKBONE)
    for sentence in telling.searched_in_vain(plan.space, [config for config, _ in plan.ends()]):
        progress.note(sentence)
    flow.tell_findings(dataset)
    digest = dataset.digest
    place = location(plan.settings.storage)
    job = Job(plan, place, digest, _threads(plan, first.threads))
    pool = _pool(job, first.data_dir)
    study = Study.open(plan, open_storage(place), digest)
    lead = Lead(study)
    with (
        lead.released(),
        tracking.closed(_summary(study, lead), lambda: lead.ours) as run,
        progress.subject(plan.study),
    ):
        patiently(lambda: study.note(summary=run.id, store=tracking.store_name()))
        study.want(plan.settings.trials)
        study.note(stopped="")
        study.forgive_failures()
        _greet(plan, study, place, run)
        note = f"Study **{plan.study}**: {run.view(tracking.TRIALS)}"
        tracking.describe_attached("search", f"command of study {plan.study}", note)
        try:
            conduct(study, lead, pool, job.threads)
        finally:
            pool.stop()
        if not patiently(lead.held):
            progress.phase("waiting for the command that gives the answer first")
        while not patiently(lead.held):
            time.sleep(PAUSE)
        return answer.give(study, run, job.threads)


def _summary(study: Study, lead: Lead) -> Run:
    """The study's one summary run: who leads makes it, and the store, for all that join.

    Whoever takes over the lead says that the study goes on.
    """
    while not patiently(lead.held) and "summary" not in patiently(study.notes):
        time.sleep(PAUSE)
    plan, own = study.plan, patiently(lambda: study.id)
    _check_store(study, patiently(study.notes))
    run = tracking.study_run(plan.experiment, plan.study, list(plan.space), own)
    lead.taken = lambda: tracking.patiently(lambda: tracking.reopen(run))
    return run


def _check_store(study: Study, notes: Mapping[str, Any]) -> None:
    """Refuse a store that has not the runs of the trials that are done: it could give no answer."""
    summary = notes.get("summary")
    done = any(trial.state == TrialState.COMPLETE for trial in patiently(study.all_trials))
    if done and summary and not tracking.is_known(summary):
        raise UserError(
            f"study = {study.plan.study!r}: its trials have their runs in another MLflow store "
            f"({notes.get('store', 'of an earlier command')}), and "
            f"{masked(tracking.store_name())} has no run {summary}; set MLFLOW_TRACKING_URI to "
            "that store, or choose another name (--study)."
        )


def conduct(study: Study, lead: Lead, pool: workers.Pool, threads: int | None) -> None:
    """Look at the study twice a second until every trial has ended.

    threads: of each training, to time steps with.

    Raises:
        RunFailure: too many trials in a row failed, or no worker comes up.
    """
    watch = life.Watch(study.plan.settings.lease)
    told = Told(study)
    while True:
        if patiently(lead.held):
            _even_out(study, threads)
            patiently(lambda: _look_after(study, watch))
        trials = patiently(study.all_trials)
        target = patiently(study.target)
        told.look(trials, target)
        waiting = sum(trial.state == TrialState.WAITING for trial in trials)
        if why := patiently(study.notes).get("stopped"):
            raise RunFailure(str(why))
        if len(trials) >= target and all(trial.state.is_finished() for trial in trials):
            return
        pool.tend(waiting, sum(trial.state.is_finished() for trial in trials))
        time.sleep(PAUSE)


def _even_out(study: Study, threads: int | None) -> None:
    """Mode budget: settle, once, how many steps give every method the time of the first."""
    found = study.plan.to_time()
    if found.keys() <= patiently(study.notes).get("steps", {}).keys():
        return
    configs = {k: study.plan.config({**values, "threads": threads}) for k, values in found.items()}
    progress.phase("measuring how long a step of each method takes")
    if study.plan.settings.workers == "ray":
        progress.note(TIMED_HERE)
    steps = pace.equal_steps(
        configs, lambda name, n: study.plan.config({**found[name], "steps": n})
    )
    patiently(lambda: study.note(steps=steps))


def _look_after(study: Study, watch: life.Watch) -> None:
    """What the one that leads does: missing trials, lost trials, too many failures."""
    study.fill()
    for cell, trial in study.running():
        if watch.gone(id_of(trial), trial.user_attrs.get("alive")):
            # First the run: whoever is interrupted in between finds the trial still to be buried.
            with contextlib.suppress(StoreAway):  # the store is away: at the next look
                tracking.kill_trial(study.plan.experiment, cell.name, trial.number, LOST)
                study.give_up(id_of(trial), LOST, blame=True)
    reasons = study.failures_in_a_row()
    if len(reasons) >= study.plan.settings.max_failures:
        study.note(
            stopped=f"study {study.plan.study}: {len(reasons)} trials in a row failed, the last "
            f"with: {reasons[0]}. Mend it; the same command then goes on."
        )


def _pool(job: Job, data_dir: Path | None) -> workers.Pool:
    settings = job.plan.settings
    if settings.workers == "ray":
        workers.require_shared(job.place, data_dir)
        return workers.Ray(
            functools.partial(work, job), settings.cpus_per_trial, settings.gpus_per_trial
        )
    return workers.Local(functools.partial(work, job), settings.workers)


def _threads(plan: Plan, asked: int | None) -> int:
    """Threads of a trial: the cores shared out among the workers."""
    settings = plan.settings
    if asked is not None:
        return asked
    if settings.workers == "ray":
        return settings.cpus_per_trial
    return max(1, runtime.cores() // settings.workers)


def _greet(plan: Plan, study: Study, place: str, run: Run) -> None:
    trials = study.all_trials()
    ended = sum(trial.state.is_finished() for trial in trials)
    progress.note(
        f"study {plan.study} in {masked(place)}"
        + (f": goes on after {ended} trials" if trials else "")
        + f"\nMLflow experiment {plan.experiment}: {run.view(tracking.TRIALS)}"
    )
    if plan.settings.trials < (wanted := study.wanted()):
        progress.note(
            f"trials = {plan.settings.trials}: {wanted} were asked for before, and stay; trials "
            "can be added, not taken away"
        )
