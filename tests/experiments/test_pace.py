"""What steps cost, warm-up and later ones, tracing and graph left out; equal time by it."""

from concurrent.futures import Future

import pytest

from experiments import pace
from experiments.pace import STEPS, Pace
from pipeline import data
from pipeline.config import layers as configuration
from pipeline.stages.split import choose_split

TINY = {"network": "dense", "dense_units": "[8]", "generator_units": "[8]"}
TINY |= {"batch_size": "8", "unlabelled_batch_size": "8", "generated_batch_size": "8"}


def paced(times, **flags):
    """By a clock that shows these times at the reports."""
    config = configuration.load({**TINY, **flags})
    digits = data.load("digits", None)
    shown = iter(times)
    return pace.measured(digits, choose_split(config, digits), config, lambda: next(shown))


def test_steps_of_a_warm_up_and_others_are_timed_by_themselves():
    times = [9, 9 + 2 * STEPS, 9 + 4 * STEPS, 700, 700 + STEPS, 700 + 2 * STEPS]
    assert paced(times, warm_up_share="0.25") == Pace(pytest.approx(2), pytest.approx(1))


def test_without_a_warm_up_the_faster_of_two_reports_counts():
    times = [50, 50 + 3 * STEPS, 50 + 5 * STEPS]
    assert paced(times, warm_up_share="0") == Pace(0, pytest.approx(2))


def test_a_shorter_run_has_the_share_of_its_own_warm_up():
    def at(steps):
        flags = {"dataset": "mnist", "steps": str(steps)}
        return pace.warm_up_share(configuration.load(flags))

    found, budget = Pace(0.065, 0.036), 45.0
    steps = found.steps_in(budget, at)
    assert 0.1 < at(steps) < 0.3 < at(10670)  # what the whole run has
    assert found.seconds(steps, at(steps)) <= budget < found.seconds(steps + 1, at(steps + 1))
    assert Pace(0, 2.0).steps_in(7.0, lambda _: 0.0) == 3
    assert Pace(0, 2.0).steps_in(1.0, lambda _: 0.0) == 1


def test_equal_time_is_that_of_the_first(monkeypatch):
    configs = {
        method: configuration.load({"method": method, "steps": "100"})
        for method in ("supervised", "ssgan")
    }
    monkeypatch.setattr(pace, "ProcessPoolExecutor", lambda *_, **__: _Here())
    taken = {"supervised": Pace(0, 0.01), "ssgan": Pace(0.04, 0.02)}
    monkeypatch.setattr(pace, "_measure", lambda config: taken[config.method])

    def at(name, steps):
        return configuration.load({"method": name, "steps": str(steps)})

    steps = pace.equal_steps(configs, at)
    assert steps["supervised"] == 100
    share = pace.warm_up_share(at("ssgan", steps["ssgan"]))
    assert taken["ssgan"].seconds(steps["ssgan"], share) == pytest.approx(1.0, abs=0.04)


class _Here:
    """A pool that works at once, in this process."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, work, given):
        done = Future()
        done.set_result(work(given))
        return done
