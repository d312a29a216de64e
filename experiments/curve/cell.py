"""One cell of a curve: a training, measured on the test images, in an MLflow run of its own."""

import functools
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.curve import comparisons
from experiments.curve.grid import Cell
from experiments.curve.settings import CEILING, SUPERVISED, THEIRS
from pipeline import data, tracking
from pipeline.config import step_images
from pipeline.config.schema import Config
from pipeline.data import Dataset
from pipeline.errors import UserError
from pipeline.networks import backbones
from pipeline.runs import logged
from pipeline.runs.clock import Clock
from pipeline.runs.resume import LoggedModels
from pipeline.stages import split as splitting
from pipeline.stages.manifest import Split
from pipeline.stages.train import Model
from pipeline.tracking import Run

if TYPE_CHECKING:
    from pipeline.training.forecast import Forecast

# Metrics of a cell's run.
N_TEST = "n_test"  # test images
FORECAST = "time/forecast_s"  # seconds that its training was expected to take
WARM_UP = "time/forecast_warm_up_s"  # of these, those of a warm-up that no earlier cell has made
SECONDS = "time/total_s"
NAMED = "ssgan.method"  # tag: the method, by the name that the curve has for it


@dataclass(frozen=True)
class Job:
    """All that a worker is told, ready to be sent to another process or machine."""

    curve: str
    experiment: str
    cells: tuple[Cell, ...]  # in the order in which they are wanted
    data: str  # digest
    command: str  # that this worker belongs to
    threads: int | None  # of each training
    generator: bool  # measure generated images
    cells_per_process: int


def perform(cell: Cell, job: Job, began: Callable[[], None]) -> None:
    """Train and measure one cell in a flat run of the experiment `job.experiment`.

    began: is called when the run is open; what is raised afterwards is told on it.

    Raises:
        RunFailure, UserError: training was lost, or the data or the store are bad.
    """
    clock = Clock()
    if cell.config.backbone == backbones.AUTO:  # it would train from scratch without a word
        raise UserError(f"backbone = 'auto': not settled for {cell}; name one by --backbone.")
    config = cell.config.model_copy(update={"experiment": job.experiment, "threads": job.threads})
    with clock.section("split"):
        dataset = _loaded(config.dataset, config.data_dir, data.options(config)).unread()
        split = splitting.choose_split(config, dataset)
    if dataset.digest != job.data:
        raise UserError(
            f"dataset = {config.dataset!r}: not the data that the curve began with (digest "
            f"{dataset.digest}, not {job.data}); put those back, or choose another name."
        )
    theirs = cell.method in THEIRS
    config = _as_trained(cell, config, split)
    tags = {
        tracking.CURVE: job.curve,
        tracking.CELL: str(cell),
        tracking.CELL_DIGEST: cell.digest,
        tracking.COMMAND: job.command,
        NAMED: cell.method,
    }
    name = "all labels: {}" if cell.method == CEILING else "{}"
    options: Any = {"more_tags": tags, "draw_split": False, "name": name, "ours": not theirs}
    options["patience"] = tracking.PATIENCE
    with logged.opened(tracking.CELL_KIND, config, dataset, split, **options) as run:
        began()
        run.metrics({N_TEST: len(split.test)})
        if theirs:
            _compare(run, cell.method, config, dataset, split, clock)
        else:
            _train(run, config, dataset, split, clock, job.generator)
        run.metrics(clock.metrics())
    tracking.check_sent()
    gc.collect()  # a finished training's graphs form cycles
    if not gc.get_freeze_count():
        gc.freeze()  # the libraries' million objects stay and need not be searched every time


def _as_trained(cell: Cell, config: Config, split: Split) -> Config:
    if cell.method in THEIRS:
        return config.model_copy(update={"method": cell.method, "own": {}})
    if cell.method in (SUPERVISED, CEILING):
        return step_images.baseline_of(config, len(split.labelled))
    return step_images.shared_out(config, len(split.labelled))


def _train(
    run: Run, config: Config, dataset: Dataset, split: Split, clock: Clock, generator: bool
) -> None:
    """Train and measure a method of the pipeline.

    Neither models nor figures of each of so many runs are kept: its config.yaml repeats it.
    """

    def foretell(forecast: "Forecast") -> None:
        warm_up = forecast.seconds_of("warm_up")
        run.metrics({FORECAST: forecast.seconds} | ({WARM_UP: warm_up} if warm_up else {}))

    trained = logged.fit(run, config, dataset, split, clock, foretell=foretell, draw=False)
    try:
        model = trained.model if generator else replace(trained.model, generate=None, latents=None)
        logged.evaluate(run, config, dataset, split, LoggedModels(model, "", ""), clock, draw=False)
    finally:
        trained.release()


def _compare(
    run: Run, method: str, config: Config, dataset: Dataset, split: Split, clock: Clock
) -> None:
    """Fit and measure a method of others'."""
    begin = time.perf_counter()
    backbone = comparisons.backbone_of(config) if method == "backbone" else config.backbone
    logged.tell_weights(run, backbone, config.backbone_weights)
    with clock.section("train"):
        model: Model = comparisons.fit(method, config, dataset, split)
    run.metrics({"train/seconds": time.perf_counter() - begin})
    run.metrics({"labels_read": splitting.audit(split, dataset.train_labels, dataset.test_labels)})
    logged.evaluate(run, config, dataset, split, LoggedModels(model, "", ""), clock, draw=False)


@functools.lru_cache(maxsize=1)
def _loaded(name: str, data_dir: Path | None, how: data.Options) -> Dataset:
    return data.load(name, data_dir, how)
