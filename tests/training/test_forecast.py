"""The time that a training is told to take: of its own steps, which leave no trace."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.config import layers as configuration
from pipeline.stages.split import choose_split
from pipeline.stages.train import train
from pipeline.training import inputs, warm_up
from pipeline.training import program as programs
from pipeline.training.forecast import Forecast

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"network": "dense", "dense_units": "[64, 32]", "label_frac": "0.1", "report_every": "3"}
STOP = 12  # steps: enough to see a difference


@pytest.fixture(autouse=True)
def _nothing_recalled():
    warm_up.forget()


def run(foretell=None, stop=STOP, **flags):
    """A training of digits that stops early: its losses, every variable, its history."""
    given = SMALL | {key: str(value) for key, value in flags.items()}
    config = configuration.load(given)
    digits = data.load("digits", None)
    seen = []

    def on_report(report):
        seen.append(report)
        return report.step < stop

    kept = []
    with pytest.MonkeyPatch.context() as patch:
        prepare = programs.prepare
        patch.setattr(programs, "prepare", lambda *a: kept.append(prepare(*a)) or kept[-1])
        trained = train(digits, choose_split(config, digits), config, on_report, foretell)
    losses = [
        (report.step, name, value)
        for report in seen
        for name, value in sorted(report.metrics.items())
        if name.endswith("_loss")
    ]
    samples = [report.samples for report in seen if report.samples is not None]
    weights = [variable.numpy() for variable in programs.variables(kept[0].method)]
    return losses, samples, weights, trained.history


def is_the_same(**flags):
    """Whether a training ends with the same numbers if it was timed; None if it was not timed."""
    warm_up.forget()
    *plain, _ = run(**flags)
    warm_up.forget()
    told = []
    *timed, _ = run(told.append, **flags)
    if not told or not plain[0]:
        return None
    same = [all(map(np.array_equal, plain[part], timed[part])) for part in (1, 2)]
    # Means of losses are summed call by call, and how many steps a call takes is a matter of time.
    losses = ([value for *_, value in found[0]] for found in (plain, timed))
    return all(same) and np.allclose(*losses, rtol=1e-6)


def all_that_differ():
    """The methods, and ways of training, for which it is not so."""
    short = {"steps": 400, "threads": 1}
    phases = {"warm_up_share": 0.015}  # 6 of the 12 steps taken
    cases = {name: {"method": name} for name in ("feature_matching", "seed_gan", "vat")}
    cases |= {"ssgan": phases, "convolutional": {"network": "conv", **phases}}
    found = {name: is_the_same(**short, **flags) for name, flags in cases.items()}
    inputs.LARGEST_SHARE = 0.0
    found["gathered"] = is_the_same(**short, **phases)
    return [name for name, same in found.items() if not same]


@pytest.mark.slow
def test_a_training_that_was_timed_beforehand_is_the_same_to_the_last_bit():
    """In a process with one thread: with several, sums are rounded otherwise now and then."""
    code = "from pipeline.ops import runtime; runtime.start(0, 1, True);"
    code += "from tests.training.test_forecast import all_that_differ; print(all_that_differ())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_it_tells_the_steps_of_each_phase_before_the_first_one():
    order = []
    _, _, _, history = run(order.append, stop=3, steps=500, warm_up_share=0.2)
    (told,) = order
    assert dict(told.steps) == {"warm_up": 100, "step": 400, "generate": 160}
    assert str(told).startswith("100 warm-up, 400 training and 160 generator steps, ")
    assert all(seconds > 0 for seconds in told.seconds_a_step.values())
    assert told.seconds == pytest.approx(
        100 * told.seconds_a_step["warm_up"]
        + 400 * told.seconds_a_step["step"]
        + 160 * told.seconds_a_step["generate"]
    )
    assert history.trace_seconds >= told.first_s > 0
    assert history.seconds >= history.trace_seconds


def test_a_warm_up_that_is_known_is_not_counted():
    flags = {"steps": 300, "warm_up_share": 0.04}
    run(stop=15, **flags)
    told = []
    run(told.append, seed=0, generator="false", **flags)
    assert [dict(forecast.steps) for forecast in told] == [{"step": 288}]


@pytest.mark.parametrize(
    ("flags", "tells"),
    [
        ({"method": "supervised", "steps": 99}, False),
        ({"method": "supervised", "steps": 100}, True),
        ({"steps": 226, "warm_up_share": 0.2}, False),
        ({"steps": 228, "warm_up_share": 0.2}, True),
    ],
)
def test_a_training_so_short_that_finding_out_would_not_pay_is_not_timed(flags, tells):
    told = []
    run(told.append, stop=3, **flags)
    assert bool(told) == tells


@pytest.mark.slow
def test_it_takes_no_more_than_its_share_of_the_steps(monkeypatch):
    taken = []
    compiled = programs.Program._compile

    def counted(self, take, **options):
        phase = compiled(self, take, **options)
        return phase._replace(run=lambda *a: taken.append(len(a[0])) or phase.run(*a))

    monkeypatch.setattr(programs.Program, "_compile", counted)
    monkeypatch.setattr(programs, "_idle", [])
    for steps in (228, 300, 5000):
        taken.clear()
        run(lambda told: taken.append("told"), stop=3, steps=steps, warm_up_share=0.2)
        warm_up.forget()
        before = taken[: taken.index("told")]
        # Of each of three phases one and up to three; the generator adds a third as many steps.
        assert 6 <= sum(before) <= min(0.02 * 1.33 * steps, 12)
    programs._idle.clear()


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (3, "a few seconds"),
        (8, "about 10 s"),
        (42, "about 40 s"),
        (88, "about 90 s"),
        (100, "about 2 min"),
        (3000, "about 50 min"),
        (9000, "about 2.5 h"),
    ],
)
def test_it_is_told_in_as_few_words_as_it_is_accurate(seconds, says):
    a_step = {"warm_up": seconds / 800, "step": seconds / 800}
    told = Forecast({"warm_up": 160, "step": 640}, a_step, 0.0)
    assert str(told) == f"160 warm-up and 640 training steps, {says}"
    assert str(Forecast({"step": 4000}, {"step": 0.015}, 0.0)) == (
        "4,000 training steps, about 60 s"
    )
