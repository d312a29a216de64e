"""Trials are handed out once, in a fixed number, with seeds that no worker decides."""

import subprocess
import sys

import numpy as np
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState

from experiments import plan
from experiments.search import Study, answer, figures, open_storage
from experiments.search.storage import location
from pipeline import life
from pipeline.config import layers as configuration
from pipeline.errors import UserError


@pytest.fixture(params=["journal.log", "sqlite"])
def place(request, tmp_path):
    return f"sqlite:///{tmp_path}/s.db" if request.param == "sqlite" else str(tmp_path / "j.log")


def opened(place, digest="data", **flags):
    found = plan.read({"study": "s", "trials": "6", **flags})
    study = Study.open(found, open_storage(place), digest)
    study.note(trials=found.settings.trials)
    return study


def finished(claim, error=0.1, labels=120):
    return claim.finish(TrialState.COMPLETE, [error, labels], n_labels=labels, errors=[error])


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


SPACE = "mode: pareto\nvalid_labels: 60\n"


def searching(place, tmp_path, text, trials="30", **flags):
    """A study of the space that a file describes."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    study = opened(place, search=str(path), trials=trials, **flags)
    study.fill()
    return study


def test_the_first_trials_keep_to_the_grid(place, tmp_path):
    space = (
        "label_frac: {low: 0.05, high: 0.32, step: 0.05}\nsteps: {low: 100, high: 900, step: 200}\n"
    )
    space += "discriminator_lr: {low: 0.0005, high: 0.01, step: 0.001}\n"
    study = searching(place, tmp_path, SPACE + space)
    claims = [study.claim() for _ in range(12)]  # ten first ones, two that the sampler draws
    for claim in claims:
        assert all(study.plan.space[key].has(value) for key, value in claim.values.items())
    assert len({claim.values["label_frac"] for claim in claims}) >= 4
    assert 0.002 not in {claim.values["discriminator_lr"] for claim in claims}  # no multiple


def test_a_default_of_the_method_that_is_searched_is_among_the_first(place, tmp_path):
    space = "label_frac: {low: 0.05, high: 0.3}\nmethod: {choices: [vat]}\n"
    study = searching(place, tmp_path, SPACE + space + "epsilon: {low: 0.01, high: 9.0}\n")
    default = configuration.load({"method": "vat"}).own["epsilon"]
    assert study.claim().values["epsilon"] == default


def test_choices_are_told_as_they_were_typed(place, tmp_path):
    space = "label_frac: {low: 0.05, high: 0.3}\nmethod: {choices: [supervised, fixmatch]}\n"
    space += "dense_units: {choices: [[8], [16, 8]]}\ndeterministic: {choices: [true, false]}\n"
    study = searching(place, tmp_path, SPACE + space, trials="4")
    for number in range(4):
        claim = study.claim()
        claim.note(run_ids=[f"run{number}"], label_cost=100 + number)
        finished(claim, error=0.4 - number / 10, labels=100 + number)
    points = answer.recommended(study)
    assert len(points) == 4
    for point in points:
        assert point.method in ("supervised", "fixmatch")
        assert point.values["method"] == point.method
        assert point.values["dense_units"] in ([8], [16, 8])
        assert isinstance(point.values["deterministic"], bool)
        assert point.values == {k: v for k, v in point.values.items() if k in study.plan.space}
    frame = answer.pooled_frame(study)
    assert set(frame["method"]) <= {"supervised", "fixmatch"}
    frame.to_parquet(tmp_path / "trials.parquet")
    shown = [trial.params for trial in figures.pooled(study).get_trials()]
    assert {trial["dense_units"] for trial in shown} <= {"[8]", "[16, 8]"}
    assert {trial["method"] for trial in shown} <= {"supervised", "fixmatch"}


def pruned_at_first_report(study, trials, first):
    """Lets trials report errors in a random order from step `first` on; those pruned at once."""
    found, errors = [], np.random.default_rng(0).permutation(trials) / trials
    for error in errors:
        claim = study.claim()
        if claim.falls_behind(first, float(error)):
            found.append(claim)
        attributes = study.storage.get_trial(claim.id).system_attrs
        assert sum(key.startswith("completed_rung") for key in attributes) <= 1
        claim.finish(TrialState.PRUNED, None, failed=False)
    return found


def test_hyperband_counts_from_the_first_error(place, tmp_path):
    space = "mode: budget\nvalid_labels: 60\nlabel_frac: {choices: [0.1]}\n"
    space += "discriminator_lr: {low: 0.001, high: 0.01}\n"
    study = searching(place, tmp_path, space, trials="27", pruner="hyperband")
    config = study.plan.config(study.plan.firsts)
    warm_up = round(config.own["warm_up_share"] * config.steps)
    first = -(-warm_up // config.report_every) * config.report_every
    at_first = pruned_at_first_report(study, 27, first)
    assert 0 < len(at_first) < 27 * 2 / 3  # of one bracket among several two in three


def test_trials_of_searched_lengths_are_judged_by_the_longest(place, tmp_path):
    space = "mode: budget\nvalid_labels: 60\nlabel_frac: {choices: [0.1]}\n"
    space += "method: {choices: [supervised]}\nsteps: {choices: [200, 1800]}\n"
    study = searching(place, tmp_path, space, trials="6", pruner="hyperband")
    claims = [study.claim() for _ in range(6)]
    assert {claim.config(0, None).steps for claim in claims} == {200, 1800}
    assert {claim.longest().steps for claim in claims} == {1800}


def test_equal_time_gives_each_combination_its_own_steps(place, tmp_path):
    space = "mode: budget\nvalid_labels: 60\nlabel_frac: {choices: [0.1]}\n"
    space += "method: {choices: [ssgan, supervised]}\nnetwork: {choices: [conv, dense]}\n"
    space += "discriminator_lr: {low: 0.001, high: 0.01}\n"
    study = searching(place, tmp_path, space, trials="8", pruner="hyperband")
    lengths = {name: 100 * (i + 1) for i, name in enumerate(study.plan.to_time())}
    study.note(steps=lengths)
    of = {(v["method"], v["network"]): lengths[k] for k, v in study.plan.to_time().items()}
    claims = [study.claim() for _ in range(16)]
    assert {(c.values["method"], c.values["network"]) for c in claims} == of.keys()
    for claim in claims:
        config = claim.config(0, None)
        assert config.steps == of[config.method, config.network]
        assert claim.longest().steps == max(n for (m, _), n in of.items() if m == config.method)


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
    with pytest.raises(UserError, match="data: data → others"):
        opened(place, digest="others")


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
