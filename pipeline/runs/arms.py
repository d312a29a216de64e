"""The arms of a run, method and supervised baseline: each trained and measured in a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline import progress, tracking
from pipeline.config import layers as configuration
from pipeline.config import step_images
from pipeline.config.schema import Config
from pipeline.data import Dataset
from pipeline.errors import Collapsed, Diverged
from pipeline.runs import kept, logged
from pipeline.runs.clock import Clock
from pipeline.runs.kept import BASELINE, Folder
from pipeline.runs.logged import Measured
from pipeline.runs.resume import LoggedModels
from pipeline.stages import split as splitting
from pipeline.stages import train as training
from pipeline.stages.manifest import Split
from pipeline.tracking import Run
from pipeline.training.checkpoints import Checkpoints

if TYPE_CHECKING:
    from pipeline.training.forecast import Forecast

SUPERVISED = "supervised baseline"  # what the terminal calls it
BASELINE_LOST = "ssgan.baseline_lost"  # tag: why there is none, though there should be
SHORT_RUN = "ssgan.short_run"  # tag: what so few steps cost


def both(
    run: Run,
    stage: str,
    config: Config,
    dataset: Dataset,
    split: Split,
    clock: Clock,
    folder: Folder,
) -> tuple[int, Measured, Measured | None]:
    """Train the method and its baseline, and measure them; what is done already is not repeated."""
    measured = _arm(run, stage, config, dataset, split, clock, folder)
    wanted = _wants_baseline(config)
    baseline = _baseline(run, stage, config, dataset, split, clock, folder) if wanted else None
    # Of an arm that an earlier process has trained, too.
    training.read_labels(dataset, split)
    labels_read = splitting.audit(split, dataset.train_labels, dataset.test_labels)
    return labels_read, measured, baseline


def _baseline(
    run: Run,
    stage: str,
    config: Config,
    dataset: Dataset,
    split: Split,
    clock: Clock,
    folder: Folder,
) -> Measured | None:
    """Train the baseline and measure it, unless that is done; None if its training is lost."""
    baseline = folder.recall(BASELINE)
    earlier, finished = tracking.child_to_go_on_with(run, BASELINE)
    if baseline and finished:
        return baseline
    try:
        opened = open_baseline(config, dataset, split, run, clock, earlier=earlier)
        with opened as (child, paired, time):
            return _arm(child, stage, paired, dataset, split, time, folder)
    except (Collapsed, Diverged) as failure:  # its run has FAILED; what the method has stays
        tell_lost_baseline(run, config, str(failure))
        return None


def tell_lost_baseline(run: Run, config: Config, why: str) -> None:
    """Say, on stderr and on the run, that there is nothing to compare the method with."""
    progress.warn(f"no {SUPERVISED}, so no verdict; {config.method} is not touched: {why}")
    run.tags({BASELINE_LOST: why})


def _arm(
    run: Run,
    stage: str,
    config: Config,
    dataset: Dataset,
    split: Split,
    clock: Clock,
    folder: Folder,
) -> Measured:
    """Train one arm and measure it, unless that is done."""
    name = kept.METHOD if run.parent is None else BASELINE
    if measured := folder.recall(name):
        return measured
    trained = _train(run, config, dataset, split, clock, folder.checkpoints(name))
    if stage == "run":
        measured = logged.evaluate(run, config, dataset, split, trained, clock)
    else:
        measured = logged.validate(dataset, split, trained)
    folder.keep(name, measured)
    return measured


def _wants_baseline(config: Config) -> bool:
    return config.baseline and config.method != "supervised"


@contextmanager
def open_baseline(
    config: Config,
    dataset: Dataset,
    split: Split,
    parent: Run,
    clock: Clock,
    source: str = "",
    earlier: str = "",
) -> Iterator[tuple[Run, Config, Clock]]:
    """The supervised arm's child run, its configuration and its own clock."""
    paired, own = step_images.baseline_of(config, len(split.labelled)), Clock()
    shown: Any = {"parent": parent, "source": source, "name": f"{BASELINE}: {{}}"}
    shown["earlier"] = earlier
    with (
        clock.section("baseline"),
        progress.subject(SUPERVISED),
        logged.opened(BASELINE, paired, dataset, split, **shown) as child,
    ):
        yield child, paired, own
        child.metrics(own.metrics())


def _train(
    run: Run,
    config: Config,
    dataset: Dataset,
    split: Split,
    clock: Clock,
    checkpoints: Checkpoints | None,
) -> LoggedModels:
    """Train one arm, log it and its models."""
    warning = configuration.short(config, len(dataset.train_images))
    if warning and run.parent is None:
        progress.warn(warning)
        run.tags({SHORT_RUN: warning})
    then = f"; then the {SUPERVISED}, at most as long" if _wants_baseline(config) else ""
    name = config.method if run.parent is None else SUPERVISED

    def foretell(forecast: "Forecast") -> None:
        progress.note(f"{name}: {forecast}{then}")

    trained = logged.fit(
        run, config, dataset, split, clock, foretell=foretell, checkpoints=checkpoints
    )
    return logged.keep_models(run, config, dataset, split, trained)
