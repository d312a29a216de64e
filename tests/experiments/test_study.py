"""Trials are handed out once, in a fixed number, with seeds that no worker decides."""

import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from experiments import plan
from experiments.search import Study, open_storage, serve
from experiments.search.storage import location, patiently
from experiments.space import Choices
from pipeline import life, progress
from pipeline.config import machine
from pipeline.errors import UserError
from tests.experiments.studies import finished, opened


def test_every_trial_is_claimed_once_and_there_are_no_more(place):
    first, second = opened(place), opened(place)
    first.fill()
    first.fill()
    claims = [claim for _ in range(4) for study in (first, second) if (claim := study.claim())]
    assert sorted(claim.trial.number for claim in claims) == list(range(6))
    assert len({claim.seeds[0] for claim in claims}) == 6
    assert all(finished(claim) for claim in claims)
    assert second.claim() is None
    first.note(trials=8)
    first.fill()
    assert len(first.all_trials()) == 8


def test_the_same_study_again_gives_the_same_trials(tmp_path):
    def run(name):
        study = opened(str(tmp_path / name))
        study.fill()
        found = []
        for number in range(6):
            claim = study.claim()
            found.append((dict(claim.values), claim.seeds))
            finished(claim, error=0.3 / (number + 1), labels=100 + number)
        return found

    assert run("one.log") == run("two.log")


def test_cheap_fractions_run_first_with_default_rates_among_them(tmp_path):
    study = opened(str(tmp_path / "j.log"), trials="30")
    study.fill()
    claims = [study.claim() for _ in range(10)]
    fractions = [claim.values["label_frac"] for claim in claims]
    assert fractions == sorted(fractions)
    assert claims[0].values["discriminator_lr"] == 0.002
    assert claims[1].values["discriminator_lr"] != 0.002


def test_a_lost_trial_runs_again_once_with_its_values_and_seed(place):
    study = opened(place)
    study.fill()
    lost = study.claim()
    study.give_up(lost.id, "killed", blame=True)
    study.give_up(lost.id, "killed", blame=True)
    study.fill()
    assert not lost.is_ours()
    assert not finished(lost)
    claims = []
    while claim := study.claim():
        claims.append(claim)
    again = claims[-1]
    assert (dict(again.values), again.seeds) == (dict(lost.values), lost.seeds)
    study.give_up(again.id, "killed", blame=True)
    study.fill()
    assert study.claim() is None
    for claim in claims[:-1]:
        finished(claim)
    states = [trial.state for trial in study.all_trials()]
    assert (len(states), states.count(TrialState.COMPLETE)) == (6, 5)
    assert study.all_trials()[-1].user_attrs["reason"] == "killed, twice"


def test_an_interruption_is_not_held_against_a_trial(tmp_path):
    study = opened(str(tmp_path / "j.log"), trials="1")
    study.fill()
    for _ in range(4):
        assert study.claim() is not None
        study.give_back()
        study.fill()
    assert study.claim() is not None
    assert len(study.all_trials()) == 1


def test_what_is_given_up_runs_again_once_whoever_fills(place):
    first, second = opened(place), opened(place)
    first.fill()
    claim = first.claim()
    first.give_up(claim.id, "killed", blame=True)
    assert len(first.all_trials()) == 5
    for study in (second, first):
        study.fill()
        assert len(study.all_trials()) == 6
    assert study.all_trials()[-1].user_attrs["replaces"] == claim.trial.number


def test_a_maker_that_died_before_it_said_what_it_makes_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.search.study.MADE_WITHIN", 0.2)
    place = str(tmp_path / "j.log")
    open_storage(place).create_new_study([StudyDirection.MINIMIZE] * 2, "s")
    study = opened(place)
    study.fill()
    assert len(study.all_trials()) == 6


def test_another_space_or_other_data_under_the_name_is_refused_with_the_difference(place):
    opened(place)
    with pytest.raises(UserError, match=r" steps: 1560 → 7; "):
        opened(place, steps="7")
    with pytest.raises(UserError, match=r" label_cost: 1\.0 → 3\.0; "):  # costs are kept by trial
        opened(place, label_cost="3")
    with pytest.raises(UserError, match="data: data → others"):
        opened(place, digest="others")


def test_the_price_of_a_label_decides_no_trial_in_mode_budget(tmp_path):
    place, flags = str(tmp_path / "j.log"), {"mode": "budget", "trials": "4", "top": "2"}
    assert opened(place, **flags).cells == opened(place, **flags, label_cost="3").cells


def test_a_study_has_one_precision_whatever_machines_join_it(place, tmp_path, monkeypatch):
    def joins(*instructions):
        monkeypatch.setattr(machine, "PROCESSOR", tmp_path / "cpuinfo")
        machine.PROCESSOR.write_text(" ".join(instructions))
        found = plan.read({"study": "s", "trials": "6", "precision": "auto"}).on(1437)
        return Study.open(found, open_storage(place), "data")

    monkeypatch.setattr(machine, "DRIVER", tmp_path / "none")
    first = joins("avx512", "amx_bf16")
    first.fill()
    for study in (first, joins("avx512")):
        assert study.claim().config(0, None).precision == "bfloat16"
    with pytest.raises(UserError, match="precision: bfloat16 → float32"):
        opened(place, precision="float32")


def test_failures_in_a_row_are_counted_from_the_last(tmp_path):
    study = opened(str(tmp_path / "j.log"))
    study.fill()
    finished(study.claim())
    for number in range(3):
        study.claim().finish(TrialState.FAIL, None, reason=f"bad {number}", failed=True)
    assert study.failures_in_a_row() == ["bad 2", "bad 1", "bad 0"]
    study.forgive_failures()
    assert study.failures_in_a_row() == []
    study.claim().finish(TrialState.FAIL, None, reason="bad again", failed=True)
    assert study.failures_in_a_row() == ["bad again"]
    finished(study.claim())
    assert study.failures_in_a_row() == []


def test_the_best_of_a_budget_are_trained_again(tmp_path):
    study = opened(str(tmp_path / "j.log"), mode="budget", trials="4", top="2")
    study.fill()
    for number in range(24):
        claim = study.claim()
        claim.finish(TrialState.COMPLETE, [0.5 - number / 100], n_labels=100, errors=[0.1])
    assert study.claim() is None
    study.fill()
    again = [study.claim() for _ in range(12)]
    assert study.claim() is None
    assert all(claim.cell.name.endswith("/top") for claim in again)
    seeds = {claim.seeds[0] for claim in again}
    assert len(seeds) == 12
    assert study.target() == 36
    study.give_up(again[0].id, "killed", blame=True)
    assert (study.target(), len(study.all_trials())) == (36, 35)
    study.fill()
    assert len(study.all_trials()) == 36


def test_the_trials_of_the_best_on_fresh_seeds_are_counted_from_the_start(tmp_path):
    flags = {"mode": "budget", "trials": "4"}
    study = opened(str(tmp_path / "j.log"), **flags, top="2")
    assert study.target() == 36
    study.fill()
    for number in range(24):
        assert study.target() == 36
        state = TrialState.COMPLETE if number else TrialState.FAIL
        value = [0.5] if number else None
        study.claim().finish(state, value, n_labels=100, errors=[0.5])
    study.fill()
    assert study.target() == len(study.all_trials()) == 36
    few = opened(str(tmp_path / "few.log"), **flags, top="9")
    assert few.target() == 24 + 6 * 4


def test_a_trial_that_cannot_reach_the_top_is_spared_its_other_seeds(tmp_path):
    flags = {"mode": "budget", "trials": "3", "top": "1", "seeds_per_trial": "4"}
    study = opened(str(tmp_path / "j.log"), **flags)
    study.fill()
    first = next(claim for _ in range(2) if (claim := study.claim()))
    for seed in range(4):
        assert not first.falls_behind(seed, 0.1)
    first.finish(TrialState.COMPLETE, [0.1], n_labels=100, errors=[0.1] * 4)
    second = study.claim()
    while second.cell != first.cell:
        second = study.claim()
    assert not second.falls_behind(0, 0.3)  # 0.3 / 4 is below 0.1
    assert "no error of the others" in second.falls_behind(1, 0.3)


def test_a_storage_that_cannot_be_used_is_told(tmp_path):
    for storage in ("nosuch://x", f"sqlite:///{tmp_path}/none/s.db", "/proc/none/journal.log"):
        with pytest.raises(UserError, match=r"^storage = [^\n]*$"):
            open_storage(location(storage))


def test_values_that_do_not_go_together_fail_their_trial_alone(place, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "valid_labels: 60\nlabel_frac: {low: 0.1, high: 0.2}\nnetwork: resnet\n"
        "width: {choices: [8, 16]}\n"
    )
    study = opened(place, search=str(path))
    study.fill()
    space = {**study.plan.space, "width": Choices(choices=[8, 17, 16])}  # as no file can give it
    study = replace(study, plan=replace(study.plan, space=space))
    claims = []
    while claim := study.claim():
        claims.append(claim)
        finished(claim)
    failed = [trial for trial in study.all_trials() if trial.state == TrialState.FAIL]
    assert failed
    assert len(failed) + len(claims) == len(study.all_trials()) == 6
    for trial in failed:
        assert trial.user_attrs["failed"]
        assert "width = 17" in trial.user_attrs["reason"]
        assert "multiple of 4" in trial.user_attrs["reason"]


def test_a_storage_that_is_away_is_waited_for_and_said_once(capsys):
    answers = iter([OSError("postgresql://me:secret@db is away"), OSError("again"), "there"])

    def ask():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    with progress.shown(silence=20.0):
        progress.phase("trials")
        assert patiently(ask) == "there"
    said = capsys.readouterr().err
    assert said.count("waiting for the storage of the trials") == 1
    assert "secret" not in said


def test_an_address_in_use_is_told_before_anything_is_served(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"^address = 127\.0\.0\.1:{port}: .*--address\)\.$"):
            serve(f"sqlite:///{tmp_path}/s.db", "127.0.0.1", port)
    assert "serves" not in capsys.readouterr().out


def test_signs_of_life(monkeypatch):
    watch = life.Watch(lease=5.0)
    ours = life.sign()
    assert not watch.gone("us", ours)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert watch.gone("dead", {**ours, "pid": ended.pid})
    elsewhere = {**ours, "host": "another", "pid": ended.pid}
    assert not watch.gone("far", elsewhere)
    clock = life.time.monotonic()
    for passed in (2, 4):
        monkeypatch.setattr(life.time, "monotonic", lambda passed=passed: clock + passed)
        assert not watch.gone("far", elsewhere)
    monkeypatch.setattr(life.time, "monotonic", lambda: clock + 6)
    assert watch.gone("far", elsewhere)
    assert not watch.gone("far", {**elsewhere, "beat": 1})
    monkeypatch.setattr(life.time, "monotonic", lambda: clock + 60)  # we did not look meanwhile
    assert not watch.gone("far", {**elsewhere, "beat": 1})
