"""The values of a study's trials, what prunes them, and how they are told, in real storages."""

import numpy as np
import pytest
from optuna.trial import TrialState

from experiments.search import answer, figures
from pipeline.config import layers as configuration
from tests.experiments.studies import finished, opened

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


def reporting(study, trials):
    """Trials whose errors fall alike over each one's own length; by length those pruned of all."""
    space = study.plan.space["steps"].ends
    ended = {steps: [0, 0] for steps in space}
    random = np.random.default_rng(0)
    for _ in range(trials):
        claim = study.claim()
        config = claim.config(0, None)
        # The longer a trial, the better it ends.
        end = 0.04 + 0.02 * (config.steps == space[0]) + random.normal(0, 0.002)
        every, why = config.report_every, ""
        for step in range(every, config.steps, every):
            if why := claim.falls_behind(step, end + 0.25 * (1 - step / config.steps)):
                break
        state = TrialState.PRUNED if why else TrialState.COMPLETE
        claim.finish(state, None if why else [end], n_labels=200, errors=[end], failed=False)
        ended[config.steps][0] += bool(why)
        ended[config.steps][1] += 1
    return ended


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
@pytest.mark.parametrize(("short", "long"), [(900, 1800), (350, 1800)])
def test_trials_of_several_lengths_are_compared_at_the_same_share(tmp_path, pruner, short, long):
    space = "mode: budget\nvalid_labels: 60\nlabel_frac: {choices: [0.1]}\n"
    space += "method: {choices: [supervised]}\nreport_every: 100\n"
    space += f"steps: {{choices: [{short}, {long}]}}\n"
    study = searching(str(tmp_path / "j.log"), tmp_path, space, trials="30", pruner=pruner)
    (bad, shorter), (good, longer) = reporting(study, 30).values()
    assert min(shorter, longer) >= 5
    assert good / longer < bad / shorter  # those that end better are pruned less


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


def test_of_several_seeds_only_what_cannot_reach_the_top_is_ended(place, tmp_path):
    """The second and third best are trained again as the best is, so they must complete."""
    space = "mode: budget\nvalid_labels: 60\nlabel_frac: {choices: [0.1]}\n"
    space += "discriminator_lr: {low: 0.001, high: 0.01}\n"
    study = searching(place, tmp_path, space, trials="6", top="3", seeds_per_trial="5")
    ended = []
    for worse in range(6):
        claim, error = study.claim(), 0.03 + 0.003 * worse
        ended.append(any(claim.falls_behind(seed, error) for seed in range(5)))
        if ended[-1]:
            claim.finish(TrialState.PRUNED, None, failed=False)
        else:
            claim.finish(TrialState.COMPLETE, [error], n_labels=144, errors=[error] * 5)
    assert ended == [False, False, False, True, True, True]
