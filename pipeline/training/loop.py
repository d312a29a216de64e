"""The one loop for all methods: order of the images, schedule, reports, early end if lost."""

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline import progress
from pipeline.config.schema import Config
from pipeline.errors import RunFailure
from pipeline.measure.class_shift import SHARE
from pipeline.methods import Arrays, Method
from pipeline.training import features, forecast, samples, warm_up
from pipeline.training.forecast import PHASES, Forecast
from pipeline.training.inputs import Inputs
from pipeline.training.lost import Watch
from pipeline.training.program import Program
from pipeline.training.warm_up import Shown

CALL_SECONDS = 0.5  # of work in one compiled call: Ctrl-C and the progress bar wait no longer


@dataclass(frozen=True)
class Report:
    """What a run shows of itself every `report_every` steps."""

    step: int
    metrics: dict[str, float]  # means over the steps since the last report, named as in MLflow
    samples: NDArray[np.uint8] | None  # of the fixed latent batch, [n, h, w, c]; now and then
    classes: NDArray[np.int64] | None = None  # that the samples are to show, [n]
    percent: int = 0  # of the generator's training that is done


@dataclass
class History:
    """Every report's metrics, and what the training took."""

    images_per_step: int  # of the pool, or labelled ones if the method takes no others
    n_images: int  # that they are drawn from
    steps: int  # of the classifier, its warm-up among them
    reports: list[Report] = field(default_factory=list)
    seconds: float = 0.0  # without those of `on_report`
    report_seconds: float = 0.0  # of `on_report`
    trace_seconds: float = 0.0  # of compiling, until the first step was done
    compared: dict[str, float] = field(default_factory=dict)  # images, before they are learned
    recalled_steps: int = 0  # of the warm-up, which an earlier training of this process has made
    generator_lost: str = ""  # why the generator is none, though the classifier is trained

    def apart(self, on_report: Callable[[Report], bool]) -> Callable[[Report], bool]:
        """The same, with its seconds counted apart from the training's."""

        def timed(report: Report) -> bool:
            begin = time.perf_counter()
            try:
                return on_report(report)
            finally:
                self.report_seconds += time.perf_counter() - begin

        return timed

    def frame(self) -> pd.DataFrame:
        """All metrics as rows of step, name, value."""
        rows = [
            (report.step, name, value)
            for report in self.reports
            for name, value in report.metrics.items()
        ]
        return pd.DataFrame(rows, columns=["step", "name", "value"])

    def totals(self) -> dict[str, float]:
        """`train/passes` over the images, steps recalled; seconds of the loop and of tracing.

        Of what is compared all but the classes' shares.
        """
        return {
            **{f"data/{k}": v for k, v in self.compared.items() if not k.startswith(SHARE)},
            "train/recalled_steps": self.recalled_steps,
            "train/passes": min(self.reports[-1].step, self.steps)
            * self.images_per_step
            / self.n_images,
            "time/loop_s": self.seconds,
            "time/trace_s": self.trace_seconds,
        }


def train(
    program: Program,
    arrays: Arrays,
    config: Config,
    on_report: Callable[[Report], bool],
    validate: Callable[[], dict[str, float]] = dict,
    foretell: Callable[[Forecast], None] | None = None,
) -> History:
    """Train the program's method for its steps, or until `on_report` returns False.

    These are `config.steps` of the classifier, then the generator's own if it has any. One that is
    lost ends the training early: the classifier is done, and `History.generator_lost` says why.

    Args:
        program: what to train; the networks of its method are changed in place.
        arrays: images and labels.
        config: `steps`, `report_every`, batch sizes, learning rates, schedule, `ema_decay`.
        on_report: called at every report, and before the first step if there are samples to show;
            False stops the training.
        validate: measures on validation images at every report after the warm-up, which trains
            no output layer; named as in MLflow.
        foretell: is told before the first step how long the training will take, unless it is so
            short that finding out would not pay.

    Raises:
        Diverged: a loss is not finite.
        Collapsed: the classifier has collapsed, or a generator that is trained beside it.
    """
    start = time.perf_counter()
    compared = features.start(program.method, arrays)
    inputs, generate = Inputs(program, arrays, config), samples.fixed(program)
    history, first = _history(program, arrays, config), first_step(program.method, config)
    history.compared |= compared
    on_report = history.apart(on_report)
    if foretell is not None:
        _foretell(program, inputs, arrays, config, history, foretell)
    drawn = samples.steps(program.method, config, first)
    watch, labels = Watch(program.method, arrays, config, first), samples.labels(program.method)
    going_on = drawn.begin > first or _show_the_start(
        Report(0, {}, generate(), labels), history, on_report
    )
    steps = _advance(program, inputs, arrays, config, history)
    last = 0
    for phase, (done, means, rate) in steps if going_on else ():
        report = Report(
            step=done,
            metrics={f"train/{key}": value for key, value in means.items()}
            | {"train/images_per_second": rate * _images_a_step(phase, history, config)}
            | (validate() if phase == "step" else {}),
            samples=generate() if drawn.due(last, done) else None,
            classes=labels,
            percent=drawn.percent(done),
        )
        history.reports.append(report)
        last = done
        progress.report(done, progress.numbers(report.metrics))
        going_on = on_report(report)
        try:
            watch.judge(phase, done, report.metrics, report.samples, labels)
        except RunFailure as failure:
            if phase != "generate":
                raise
            history.generator_lost = str(failure)
            break
        if not going_on:
            break
    program.let_go_of_images()
    history.seconds = program.trace_seconds + time.perf_counter() - start - history.report_seconds
    program.trace_seconds = 0.0  # paid once
    return history


def _foretell(
    program: Program,
    inputs: Inputs,
    arrays: Arrays,
    config: Config,
    history: History,
    foretell: Callable[[Forecast], None],
) -> None:
    """Time a few steps of each phase that will be done, and tell what comes of it."""
    first = first_step(program.method, config)
    known = first and warm_up.is_known(warm_up.key(program, arrays, config, first))
    steps = {} if known or not first else {"warm_up": first}
    steps["step"] = config.steps - first
    if program.method.generator_steps:
        steps["generate"] = program.method.generator_steps
    found = forecast.measured(program, inputs, steps)
    if found is not None:
        history.trace_seconds = program.trace_seconds + found.first_s
        foretell(found)


def _show_the_start(first: Report, history: History, on_report: Callable[[Report], bool]) -> bool:
    """Report what the generator draws before it has learned; whether to go on."""
    if first.samples is None:
        return True
    history.reports.append(first)
    return on_report(history.reports[0])


def _images_a_step(phase: str, history: History, config: Config) -> int:
    if phase == "generate":
        return int(config.own["generated_batch_size"])
    return history.images_per_step


def first_step(method: Method, config: Config) -> int:
    """The number of warm-up steps, which come before the first of `method.step`."""
    return min(round(method.warm_up_share * config.steps), config.steps - 1)


def _advance(
    program: Program,
    inputs: Inputs,
    arrays: Arrays,
    config: Config,
    history: History,
) -> Iterator[tuple[str, Shown]]:
    """Run all steps, or take a warm-up that an earlier training has made.

    Yields:
        The name of the phase and what a report shows.
    """
    run = functools.partial(_run, program, inputs, config, history)
    first = first_step(program.method, config)
    if first:
        known = warm_up.key(program, arrays, config, first)
        shown = warm_up.recall(known, program)
        history.recalled_steps = first if shown else 0
        if shown:
            progress.phase("warm-up, known from before", total=config.steps)
        yield from (("warm_up", one) for one in shown)
        if not shown:
            for one in run("warm_up", 0, first):
                shown.append(one)
                yield "warm_up", one
            warm_up.keep(known, program, shown)
        progress.phase("graph, labels are spread")
    history.compared |= program.method.after_warm_up(arrays)
    yield from (("step", one) for one in run("step", first, config.steps))
    own = program.method.generator_steps
    if own:
        progress.phase("classes of all images, for the generator")
        program.method.before_generator(arrays)
        end = config.steps + own
        yield from (("generate", one) for one in run("generate", config.steps, end))


def _run(
    program: Program,
    inputs: Inputs,
    config: Config,
    history: History,
    name: str,
    begin: int,
    end: int,
) -> Iterator[Shown]:
    """Run the steps of a phase."""
    phase, done, chunk = program.phases[name], begin, 1
    progress.phase(PHASES[name], done=begin, total=max(end, config.steps))
    for until in _report_steps(begin, end, config.report_every):
        totals, from_step, since = np.zeros(len(phase.keys)), done, time.perf_counter()
        while done < until:
            count, before = min(chunk, until - done, inputs.most_steps), time.perf_counter()
            totals += phase.run(*inputs.steps(done, count, begin, end, name)).numpy()
            done += count
            taken = time.perf_counter() - before
            history.trace_seconds = history.trace_seconds or program.trace_seconds + taken
            if count == chunk and taken < CALL_SECONDS / 2:
                chunk *= 2
            progress.advance(done)
        steps = until - from_step
        means = dict(zip(phase.keys, (totals / steps).tolist(), strict=True))
        yield Shown(done, means, steps / (time.perf_counter() - since))


def _history(program: Program, arrays: Arrays, config: Config) -> History:
    if program.method.uses_pool:
        return History(config.unlabelled_batch_size, len(arrays.pool), config.steps)
    return History(config.batch_size, len(arrays.labelled), config.steps)


def _report_steps(begin: int, end: int, every: int) -> Iterator[int]:
    """Multiples of `every` between two steps, and the last one."""
    yield from range(begin - begin % every + every, end, every)
    if end > begin:
        yield end
