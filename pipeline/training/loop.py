"""The one loop for all methods: order of the images, schedule, reports, early end if lost."""

import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from pipeline import progress
from pipeline.config.schema import Config
from pipeline.errors import Collapsed, Diverged
from pipeline.measure.class_shift import SHARE
from pipeline.methods import Arrays, Method
from pipeline.training import features, forecast, warm_up
from pipeline.training.forecast import PHASES, Forecast
from pipeline.training.inputs import Inputs
from pipeline.training.program import Program
from pipeline.training.warm_up import Shown

CALL_SECONDS = 0.5  # of work in one compiled call: Ctrl-C and the progress bar wait no longer
LATENT_SEED = 0  # the same latents in every run, so that samples compare across runs
FIXED_SAMPLES = 100  # images of the fixed latent batch
FRAMES = 10  # sheets of samples over a training, beside the one before its first step
GRACE = 0.25  # share of the steps before collapse is judged
GRACE_STEPS = 100  # and steps, at least: a few steps have learned nothing yet
DIVERGED = 1e6  # a loss beyond it is lost, though finite
COLLAPSED_SPREAD = 0.02  # of the real images' spread between generated images of one batch


@dataclass(frozen=True)
class Report:
    """What a run shows of itself every `report_every` steps."""

    step: int
    metrics: dict[str, float]  # means over the steps since the last report, named as in MLflow
    samples: NDArray[np.uint8] | None  # of the fixed latent batch, [n, h, w, c]; now and then


@dataclass
class History:
    """Every report's metrics, and what the training took."""

    images_per_step: int  # of the pool, or labelled ones if the method takes no others
    n_images: int  # that they are drawn from
    reports: list[Report] = field(default_factory=list)
    seconds: float = 0.0  # without those of `on_report`
    report_seconds: float = 0.0  # of `on_report`
    trace_seconds: float = 0.0  # of compiling, until the first step was done
    compared: dict[str, float] = field(default_factory=dict)  # images, before they are learned
    recalled_steps: int = 0  # of the warm-up, which an earlier training of this process has made

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
            "train/passes": self.reports[-1].step * self.images_per_step / self.n_images,
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
    """Train the program's method for `config.steps` steps, or until `on_report` returns False.

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
        Collapsed: the classifier or the generator has collapsed.
    """
    start = time.perf_counter()
    compared = features.start(program.method, arrays)
    inputs, generate = Inputs(program, arrays, config), _fixed_samples(program)
    history, first = _history(program, arrays, config), first_step(program.method, config)
    history.compared |= compared
    on_report = history.apart(on_report)
    if foretell is not None:
        _foretell(program, inputs, arrays, config, history, foretell)
    going_on = _show_the_start(generate(), history, on_report)
    steps = _advance(program, inputs, arrays, config, history)
    for done, means, rate in steps if going_on else ():
        report = Report(
            step=done,
            metrics={f"train/{key}": value for key, value in means.items()}
            | {"train/images_per_second": rate * history.images_per_step}
            | (validate() if done > first else {}),
            samples=generate() if _is_frame(done, history.reports, first, config) else None,
        )
        history.reports.append(report)
        progress.report(done, progress.numbers(report.metrics))
        going_on = on_report(report)
        _check(report, arrays, config, first)
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
    found = forecast.measured(program, inputs, {**steps, "step": config.steps - first})
    if found is not None:
        history.trace_seconds = program.trace_seconds + found.first_s
        foretell(found)


def _show_the_start(
    samples: NDArray[np.uint8] | None, history: History, on_report: Callable[[Report], bool]
) -> bool:
    """Report what the generator draws before it has learned; whether to go on."""
    if samples is None:
        return True
    history.reports.append(Report(0, {}, samples))
    return on_report(history.reports[0])


def _is_frame(done: int, before: Sequence[Report], first: int, config: Config) -> bool:
    """Whether this report shows samples: about `FRAMES` do, none in the warm-up."""
    last = before[-1].step if before else 0
    tenths = [max(0, step - first) * FRAMES // (config.steps - first) for step in (last, done)]
    return tenths[1] > tenths[0]


def first_step(method: Method, config: Config) -> int:
    """The number of warm-up steps, which come before the first of `method.step`."""
    return min(round(method.warm_up_share * config.steps), config.steps - 1)


def _advance(
    program: Program,
    inputs: Inputs,
    arrays: Arrays,
    config: Config,
    history: History,
) -> Iterator[Shown]:
    """Run all steps, or take a warm-up that an earlier training has made; what reports show."""
    run = functools.partial(_run, program, inputs, config, history)
    first = first_step(program.method, config)
    if first:
        known = warm_up.key(program, arrays, config, first)
        shown = warm_up.recall(known, program)
        history.recalled_steps = first if shown else 0
        if shown:
            progress.phase("warm-up, known from before", total=config.steps)
        yield from shown
        if not shown:
            for one in run("warm_up", 0, first):
                shown.append(one)
                yield one
            warm_up.keep(known, program, shown)
        progress.phase("graph, labels are spread")
    history.compared |= program.method.after_warm_up(arrays)
    yield from run("step", first, config.steps)


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
    progress.phase(PHASES[name], done=begin, total=config.steps)
    for until in _report_steps(begin, end, config.report_every):
        totals, from_step, since = np.zeros(len(phase.keys)), done, time.perf_counter()
        while done < until:
            count, before = min(chunk, until - done, inputs.most_steps), time.perf_counter()
            totals += phase.run(*inputs.steps(done, count, begin, end)).numpy()
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
        return History(config.unlabelled_batch_size, len(arrays.pool))
    return History(config.batch_size, len(arrays.labelled))


def _fixed_samples(program: Program) -> Callable[[], NDArray[np.uint8] | None]:
    """Draw the fixed latent batch once; the result generates images from it, [100, h, w, c].

    Stretched to 0..255 as the training images are: to be seen, and compared with those.
    """
    latents, generate = program.method.latents, program.generate
    if latents is None or generate is None:
        return lambda: None
    labels = latents.grid_labels(FIXED_SAMPLES)
    batch = tf.constant(latents.draw(FIXED_SAMPLES, np.random.default_rng(LATENT_SEED), labels))
    stretching = program.stretching.table.numpy().astype(np.uint8)
    return lambda: np.take(stretching, generate(batch))


def _report_steps(begin: int, end: int, every: int) -> Iterator[int]:
    """Multiples of `every` between two steps, and the last one."""
    yield from range(begin - begin % every + every, end, every)
    if end > begin:
        yield end


def _check(report: Report, arrays: Arrays, config: Config, first: int) -> None:
    """Raise Diverged or Collapsed if a report's numbers or images show that training is lost."""
    for name, value in report.metrics.items():
        if not math.isfinite(value) or (name.endswith("_loss") and abs(value) > DIVERGED):
            keys = ["discriminator_lr", "generator_lr"]
            if report.step <= first:
                keys = ["warm_up_lr" if "warm_up_lr" in config.own else "discriminator_lr"]
            rates = " and ".join(f"{key} ({config.flat()[key]:g})" for key in keys)
            raise Diverged(
                f"training diverged: {name} is {value} at step {report.step}. Try lower {rates}, "
                f"or more warmup_steps ({config.warmup_steps})."
            )
    if report.step - first < max(GRACE * (config.steps - first), GRACE_STEPS):
        return
    n_classes = len(np.unique(arrays.labels))
    loss = report.metrics["train/supervised_loss"]
    if loss >= math.log(n_classes):
        raise Collapsed(
            f"the classifier collapsed: after {report.step} of {config.steps} steps its loss on "
            f"its own labelled images, {loss:.3g}, is no better than guessing among {n_classes} "
            f"classes ({math.log(n_classes):.3g}). Try a lower discriminator_lr "
            f"({config.discriminator_lr:g}), more steps or less augmentation."
        )
    if report.samples is None:
        return
    spread = _spread(report.samples) / max(_spread(arrays.images[_some(arrays.pool)]), 1e-6)
    if spread < COLLAPSED_SPREAD:
        raise Collapsed(
            f"the generator collapsed: after {report.step} of {config.steps} steps its images "
            f"differ by {spread:.1%} of what real images do. Try a lower generator_lr "
            f"({config.generator_lr:g}), another seed, or see the samples in the run."
        )


def _some(pool: NDArray[np.int64]) -> NDArray[np.int64]:
    """A few hundred of the pool from everywhere: data may be sorted by class."""
    return pool[:: max(1, len(pool) // 256)]


def _spread(images: NDArray[np.uint8]) -> float:
    """Mean over the pixels of the standard deviation between the images of a batch."""
    return float(np.std(images.astype(np.float32), axis=0).mean())
