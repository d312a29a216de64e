"""Whoever leads holds a claim, and writes that come late change no number of trials."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from experiments.search import open_storage
from experiments.search.claim import keep
from experiments.search.lead import Lead
from pipeline import life
from tests.experiments.studies import finished, opened

ROOT = Path(__file__).resolve().parents[2]


def before(storage, write, first):
    """Lets something else happen once, just before the next such write to the storage is made."""
    inner = getattr(storage, write)

    def late(*args, **named):
        setattr(storage, write, inner)
        first()
        return inner(*args, **named)

    setattr(storage, write, late)


def eventually(asked):
    """Wait until something holds."""
    end = time.monotonic() + 120
    while not asked():
        assert time.monotonic() < end
        time.sleep(0.1)


def states(study):
    return [trial.state.name for trial in study.optuna(study.cells[0]).get_trials()]


def test_one_leads_until_it_lets_go(place):
    leads = [Lead(opened(place)) for _ in range(3)]
    with leads[0].released():
        assert [lead.held() for lead in leads] == [True, False, False]
        assert [lead.held() for lead in leads] == [True, False, False]
    with leads[2].released():
        assert [lead.held() for lead in reversed(leads)] == [True, False, False]


def test_a_claim_that_is_late_is_lost(place):
    first, second = Lead(opened(place)), Lead(opened(place))
    before(first.storage, "set_trial_state_values", second.held)
    with first.released(), second.released():
        assert not first.held()
        assert second.held()
        assert not first.held()


def test_two_that_make_the_first_term_at_once_are_one_lead(place):
    first, second = Lead(opened(place)), Lead(opened(place))
    before(first.storage, "create_new_trial", second.held)
    with second.released(), first.released():
        assert (first.held(), second.held()) == (False, True)
    with first.released():
        assert first.held()  # of the term that was made twice


def test_who_gives_no_sign_for_a_lease_leads_no_more(place):
    first, second = Lead(opened(place, lease="2")), Lead(opened(place, lease="2"))
    with first.released(), second.released():
        assert first.held()
        first.signs.close()  # as of a machine that is suspended
        (term,) = first._open()
        keep(first.storage, term, alive={**life.sign(), "host": "another"})
        eventually(second.held)
        assert not first.held()
        assert second.held()


LEADS = """
import sys
from experiments.search.lead import Lead
from tests.experiments.studies import opened
lead = Lead(opened(sys.argv[1]))
assert lead.held()
print("leads", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_the_lead_of_a_process_that_is_killed_is_free_at_once(place):
    command = [sys.executable, "-c", LEADS, place]
    kept = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=kept, **pipes) as other:
        assert other.stdout.readline() == b"leads\n"
        lead = Lead(opened(place))
        assert not lead.held()
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert not lead.held()  # ends its term
        with lead.released():
            assert lead.held()


def test_trials_that_two_processes_make_at_once_count_once(place):
    first, second = opened(place), opened(place)
    before(second.storage, "create_new_trial", first.fill)  # it had led before, and is late
    second.fill()
    assert len(states(first)) == 12
    assert [trial.number for trial in first.all_trials()] == [*range(6)]
    claims = [claim for _ in range(4) for study in (first, second) if (claim := study.claim())]
    assert sorted(claim.trial.number for claim in claims) == [*range(6)]
    assert len({claim.seeds[0] for claim in claims}) == 6
    assert all(finished(claim) for claim in claims)
    assert states(first) == ["COMPLETE"] * 6 + ["FAIL"] * 6
    assert first.failures_in_a_row() == []
    first.want(8)
    second.fill()
    assert len(second.all_trials()) == 8


def test_a_lost_trial_that_two_processes_repeat_runs_again_once(place):
    first, second = opened(place), opened(place)
    first.fill()
    lost = first.claim()
    first.give_up(lost.id, "killed", blame=True)
    before(second.storage, "create_new_trial", first.fill)
    second.fill()
    claims = [claim for _ in range(8) if (claim := second.claim())]
    assert len(claims) == len(first.all_trials()) == 6
    assert [claim.seeds for claim in claims].count(lost.seeds) == 1


@pytest.mark.slow
def test_the_best_that_two_processes_repeat_are_trained_once(place):
    flags = {"mode": "budget", "trials": "2", "top": "1"}
    first, second = opened(place, **flags), opened(place, **flags)
    first.fill()
    while claim := first.claim():
        claim.finish(TrialState.COMPLETE, [0.1 + claim.trial.number / 10], n_labels=9, errors=[0.1])
    before(second.storage, "create_new_trial", first.fill)
    second.fill()
    assert first.target() == second.target() == len(first.all_trials()) == 18
    claims = [claim for _ in range(9) if (claim := second.claim())]
    assert len(claims) == 6


def test_a_worker_whose_trial_is_finished_meanwhile_takes_the_next(place):
    first, second = opened(place, trials="2"), opened(place, trials="2")
    first.fill()
    before(second.storage, "set_trial_state_values", lambda: finished(first.claim()))
    claim = second.claim()
    assert claim.trial.number == 1
    assert finished(claim)
    assert second.claim() is None


@pytest.mark.parametrize("write", ["set_trial_user_attr", "set_trial_param"])
def test_a_worker_whose_trial_is_given_up_meanwhile_takes_the_next(place, write):
    first, second = opened(place, trials="2"), opened(place, trials="2")
    first.fill()

    def given_up():
        ((_, trial),) = first.running()
        first.give_up(trial._trial_id, "killed", blame=True)

    before(second.storage, write, given_up)
    assert second.claim().trial.number == 1
    first.fill()
    assert second.claim().trial.number == 2
    assert len(first.all_trials()) == 2


def test_a_trial_that_ends_while_it_is_given_up_has_ended_by_itself(place):
    first, second = opened(place, trials="2"), opened(place, trials="2")
    first.fill()
    for blame in (1, 2):  # once it would be repeated, twice it would have failed
        claim = first.claim()
        claim.note(lost_before=blame - 1)
        before(second.storage, "set_trial_state_values", lambda claim=claim: finished(claim))
        second.give_up(claim.id, "killed", blame=True)
        second.fill()
    assert states(first) == ["COMPLETE"] * 2
    assert len(first.all_trials()) == 2
    assert first.failures_in_a_row() == []


def test_the_most_trials_that_were_asked_for_are_made_however_late_the_others_ask(place):
    first, second = opened(place, trials="2"), opened(place, trials="2")
    before(first.storage, "set_study_user_attr", lambda: second.want(5))
    first.want(3)
    assert first.wanted() == second.wanted() == 5
    first.fill()
    assert len(second.all_trials()) == 5 == second.target()


OPENS = """
import sys
from experiments.search import open_storage
print("ready", flush=True)
sys.stdin.readline()
open_storage(sys.argv[1]).get_all_studies()
"""


@pytest.mark.slow
def test_processes_that_make_a_new_database_at_once_all_have_it(tmp_path):
    command = [sys.executable, "-c", OPENS, f"sqlite:///{tmp_path}/new.db"]
    kept = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, env=kept, **pipes)) for _ in range(5)
        ]
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            process.stdin.write(b"\n")
            process.stdin.flush()
        assert [process.wait() for process in processes] == [0] * 5


TAKES = """
import sys
from optuna.trial import TrialState
from experiments.search import open_storage
from experiments.search.claim import take
storage = open_storage(sys.argv[1])
study = storage.get_study_id_from_name("s")
print("ready", flush=True)
sys.stdin.readline()
for trial in storage.get_all_trials(study, states=(TrialState.WAITING,)):
    if take(storage, trial):
        print(trial.number, flush=True)
"""


@pytest.mark.slow
def test_of_processes_that_take_trials_at_once_each_trial_has_one(place):
    study = optuna.create_study(study_name="s", storage=open_storage(place))
    for _ in range(60):
        study.enqueue_trial({})
    kept = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        command = [sys.executable, "-c", TAKES, place]
        takers = [
            stack.enter_context(subprocess.Popen(command, env=kept, **pipes)) for _ in range(3)
        ]
        for process in takers:
            assert process.stdout.readline() == "ready\n"
        for process in takers:
            process.stdin.write("\n")
            process.stdin.flush()
        taken = [int(line) for process in takers for line in process.communicate()[0].split()]
        assert [process.returncode for process in takers] == [0] * 3
    assert sorted(taken) == list(range(60))
