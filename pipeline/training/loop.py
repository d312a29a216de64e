"""The one loop for all methods: order of the images, schedule, reports, early end if lost."""

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.errors import Collapsed, Diverged
from pipeline.methods import Arrays, Method
from pipeline.schema import Config
from pipeline.training.program import Program

CALL_SECONDS = 0.5  # of work in one compiled call: Ctrl-C and the progress bar wait no longer
LATENT_SEED = 0  # the same latents in every run, so that samples compare across runs
FIXED_SAMPLES = 100  # images of the fixed latent batch
GRACE = 0.25  # share of the steps before collapse is judged
GRACE_STEPS = 100  # and steps, at least: a few steps have learned nothing yet
DIVERGED = 1e6  # a loss beyond it is lost, though finite
COLLAPSED_SPREAD = 0.02  # of the real images' spread between generated images of one batch


@dataclass(frozen=True)
class Report:
    """What a run shows of itself every `report_every` steps."""

    step: int
    metrics: dict[str, float]  # means over the steps since the last report, named as in MLflow
    samples: NDArray[np.uint8] | None  # of the fixed latent batch, [n, h, w, c]


@dataclass
class History:
    """Every report's metrics, and what the training took."""

    images_per_step: int  # of the pool, or labelled ones if the method takes no others
    n_images: int  # that they are drawn from
    reports: list[Report] = field(default_factory=list)
    seconds: float = 0.0
    trace_seconds: float = 0.0  # of compiling, until the first step was done

    def frame(self) -> pd.DataFrame:
        """All metrics as rows of step, name, value."""
        rows = [
            (report.step, name, value)
            for report in self.reports
            for name, value in report.metrics.items()
        ]
        return pd.DataFrame(rows, columns=["step", "name", "value"])

    def totals(self) -> dict[str, float]:
        """`train/passes` over the images; seconds of the loop, and until its first step."""
        return {
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
) -> History:
    """Train the program's method for `config.steps` steps, or until `on_report` returns False.

    Args:
        program: what to train; the networks of its method are changed in place.
        arrays: images and labels.
        config: `steps`, `report_every`, batch sizes, learning rates, schedule, `ema_decay`.
        on_report: called at every report; False stops the training.
        validate: measures on validation images at every report, named as in MLflow.

    Raises:
        Diverged: a loss is not finite.
        Collapsed: the classifier or the generator has collapsed.
    """
    start = time.perf_counter()
    program.images.assign(arrays.images)
    inputs, generate = Inputs(program, arrays, config), _fixed_samples(program)
    history = _history(program, arrays, config)
    with _progress(config) as show:
        for done, means, rate in _advance(program, inputs, arrays, config, history, show):
            report = Report(
                step=done,
                metrics={f"train/{key}": value for key, value in means.items()}
                | {"train/images_per_second": rate * history.images_per_step}
                | validate(),
                samples=generate(),
            )
            history.reports.append(report)
            show(done, means, report.metrics["train/images_per_second"])
            going_on = on_report(report)
            _check(report, arrays, config, first_step(program.method, config))
            if not going_on:
                break
    history.seconds = program.trace_seconds + time.perf_counter() - start
    program.trace_seconds = 0.0  # paid once
    return history


def first_step(method: Method, config: Config) -> int:
    """The number of warm-up steps, which come before the first of `method.step`."""
    return min(round(method.warm_up_share * config.steps), config.steps - 1)


def _advance(
    program: Program,
    inputs: "Inputs",
    arrays: Arrays,
    config: Config,
    history: History,
    show: Callable[..., None],
) -> Iterator[tuple[int, dict[str, float], float]]:
    """Run all steps; at each report the steps done, mean losses since the last, steps a second."""
    first = first_step(program.method, config)
    for name, begin, end in (("warm_up", 0, first), ("step", first, config.steps)):
        if begin and name == "step":
            program.method.after_warm_up(arrays)
        done, chunk = begin, 1
        for until in _report_steps(begin, end, config.report_every):
            phase = program.phases[name]
            totals, from_step, since = np.zeros(len(phase.keys)), done, time.perf_counter()
            while done < until:
                count, before = min(chunk, until - done), time.perf_counter()
                totals += phase.run(*inputs.steps(done, count, begin, end)).numpy()
                done += count
                taken = time.perf_counter() - before
                history.trace_seconds = history.trace_seconds or program.trace_seconds + taken
                if count == chunk and taken < CALL_SECONDS / 2:
                    chunk *= 2
                show(done, {})
            steps = until - from_step
            means = dict(zip(phase.keys, (totals / steps).tolist(), strict=True))
            yield done, means, steps / (time.perf_counter() - since)


def rate_factors(number: NDArray[np.float32], steps: int, config: Config) -> NDArray[np.float32]:
    """Shares of the learning rate, float32 in [0, 1]: rise, then fall.

    number: float32, steps of the phase taken, the one in question included; the phase has `steps`.
    """
    rising = np.minimum(1.0, number / max(1, config.warmup_steps))
    begin = config.decay_from * steps
    fallen = np.clip((number - begin) / max(1.0, steps - begin), 0.0, 1.0)
    left = 0.5 * (1.0 + np.cos(np.pi * fallen)) if config.decay == "cosine" else 1.0 - fallen
    factors = rising * (config.final_lr_fraction + (1.0 - config.final_lr_fraction) * left)
    return np.asarray(factors, np.float32)


class Order:
    """The order in which images are drawn: pass after pass, each over a fresh permutation.

    A function of seed and step alone, so that a run that goes on needs no iterator's state.
    """

    def __init__(self, n: int, batch: int, seed: tuple[int, ...]) -> None:
        """Draw `batch` of n images a step; one `seed` for each of several orders of a run."""
        self.n, self.batch, self.seed = n, batch, seed
        self._permutation = functools.lru_cache(maxsize=2)(self._draw)

    def batches(self, first_step: int, count: int) -> NDArray[np.int32]:
        """Positions below n, int32 [count, batch], of the steps from `first_step` (from 0) on."""
        begin, end = first_step * self.batch, (first_step + count) * self.batch
        passes = range(begin // self.n, -(-end // self.n))
        drawn = np.concatenate([self._permutation(number) for number in passes])
        return drawn[begin - passes[0] * self.n :][: end - begin].reshape(count, self.batch)

    def _draw(self, number: int) -> NDArray[np.int32]:
        generator = np.random.default_rng([*self.seed, number])
        return generator.permutation(self.n).astype(np.int32)


class Inputs:
    """What the compiled call takes for some steps: a function of the step's number alone."""

    def __init__(self, program: Program, arrays: Arrays, config: Config) -> None:
        """Draw images of `arrays` in the order of `config.seed`."""
        self.arrays, self.config = arrays, config
        self.own = Order(len(arrays.labelled), config.batch_size, (config.seed, 0))
        self.free = Order(len(arrays.pool), config.unlabelled_batch_size, (config.seed, 1))
        rates = {"generator": config.generator_lr}
        self.rates = np.array(
            [rates.get(name, config.discriminator_lr) for name in program.method.optimizers],
            np.float32,
        )

    def steps(self, done: int, count: int, begin: int, end: int) -> tuple[NDArray[Any], ...]:
        """Arguments for the next `count` steps of a phase that has steps `begin` to `end`."""
        own = self.own.batches(done, count)
        number = np.arange(done - begin, done - begin + count, dtype=np.float32) + 1
        return (
            self.arrays.labelled[own].astype(np.int32),
            self.arrays.labels[own].astype(np.int32),
            self.arrays.pool[self.free.batches(done, count)].astype(np.int32),
            rate_factors(number, end - begin, self.config),
            # A young average forgets faster, or it would remember the random start.
            np.maximum(np.float32(1 - self.config.ema_decay), 1 / (1 + 0.5 * number)),
            number / (end - begin),
            self.rates,
        )


def _history(program: Program, arrays: Arrays, config: Config) -> History:
    if program.method.uses_pool:
        return History(config.unlabelled_batch_size, len(arrays.pool))
    return History(config.batch_size, len(arrays.labelled))


def _fixed_samples(program: Program) -> Callable[[], NDArray[np.uint8] | None]:
    """Draw the fixed latent batch once; the result generates images from it, [100, h, w, c]."""
    latents, generate = program.method.latents, program.generate
    if latents is None or generate is None:
        return lambda: None
    labels = latents.grid_labels(FIXED_SAMPLES)
    batch = tf.constant(latents.draw(FIXED_SAMPLES, np.random.default_rng(LATENT_SEED), labels))
    return lambda: np.asarray(generate(batch))


def _report_steps(begin: int, end: int, every: int) -> Iterator[int]:
    """Multiples of `every` between two steps, and the last one."""
    yield from range(begin - begin % every + every, end, every)
    if end > begin:
        yield end


def _check(report: Report, arrays: Arrays, config: Config, first: int) -> None:
    """Raise Diverged or Collapsed if a report's numbers or images show that training is lost."""
    for name, value in report.metrics.items():
        if not math.isfinite(value) or (name.endswith("_loss") and abs(value) > DIVERGED):
            raise Diverged(
                f"training diverged: {name} is {value} at step {report.step}. Try lower "
                f"discriminator_lr ({config.discriminator_lr:g}) and generator_lr "
                f"({config.generator_lr:g}), or more warmup_steps ({config.warmup_steps})."
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


@contextmanager
def _progress(config: Config) -> Iterator[Callable[..., None]]:
    """A progress bar on a terminal's stderr, nothing elsewhere."""
    console = Console(stderr=True)
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(config.method, total=config.steps, losses="")

        def show(done: int, means: Mapping[str, float], rate: float = 0.0) -> None:
            progress.update(task, completed=done)
            if means:
                text = "  ".join(f"{name} {value:.3g}" for name, value in means.items())
                progress.update(task, losses=f"{rate:,.0f} images/s  {text}")

        yield show
