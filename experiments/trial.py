"""One trial: its trainings, each an MLflow run, and what the study is told of them. No optuna."""

import functools
import gc
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import data, tracking
from pipeline.config import step_images
from pipeline.config.schema import Config
from pipeline.data import UNKNOWN, Dataset
from pipeline.errors import Collapsed, Diverged, RunFailure, Stopped, UserError
from pipeline.runs import kept, logged, provenance
from pipeline.runs.clock import Clock
from pipeline.stages import train as training
from pipeline.stages.manifest import Split
from pipeline.stages.split import choose_split

if TYPE_CHECKING:
    from pipeline.training.history import Report

KIND = "trial"
ERROR = "valid/error"
AGAIN = "the store was away at its end: the trial is trained again"
REFUSED = "the store refused what the trial told, so that it failed"
ATTACHED = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")  # of the run that `mlflow run` has made
Goes = Callable[[int, float | None], str]  # step, validation error if any → why to stop, or ""


@dataclass(frozen=True)
class Outcome:
    """What one training of a trial gave."""

    error: float  # on the validation images, of the last averaged weights, in [0, 1]
    n_labels: int  # that it cost, validation labels among them
    run_id: str
    training_s: float  # seconds of training and validation


def train(
    config: Config,
    digest: str,
    name: str,
    searched: Collection[str],
    tags: Mapping[str, str],
    began: Callable[[str], None],
    goes_on: Goes,
) -> Outcome:
    """Train one configuration in a run of its own in the experiment `config.experiment`.

    Args:
        config: of the training; has validation labels.
        digest: of the study's data.
        name: of the run; {} stands for what tells it from others.
        searched: keys that the study searches.
        tags: what ties the run to its study.
        began: is told the run's id before anything is trained.
        goes_on: is asked at every report.

    A training of the same configuration, data and code that was killed is gone on from its last
    checkpoint; its reports are told again.

    Raises:
        Stopped: `goes_on` gave a reason; the run is KILLED with it.
        RunFailure, UserError: training was lost, or the data or the store are bad; FAILED.
    """
    clock, why = Clock(), ""
    with clock.section("split"):
        dataset = _loaded(config.dataset, config.data_dir, data.options(config)).unread()
        split = choose_split(config, dataset)
        config = step_images.shared_out(config, len(split.labelled))
    if dataset.digest != digest:
        raise UserError(
            f"dataset = {config.dataset!r}: not the data that the study began with (digest "
            f"{dataset.digest}, not {digest}); put those back, or choose another study."
        )

    def ask(report: "Report") -> bool:
        nonlocal why
        why = goes_on(report.step, report.metrics.get(ERROR))
        return not why

    shown: Any = {"more_tags": tags, "draw_split": False, "name": name, "searched": searched}
    shown["patience"] = tracking.PATIENCE
    place = kept.place(config, _kept_as(config, dataset, split))
    with (
        kept.opened(place, config, needed=False) as folder,
        logged.opened(KIND, config, dataset, split, **shown) as run,
    ):
        began(run.id)
        checkpoints = folder.checkpoints(kept.METHOD)
        try:
            trained = logged.fit(run, config, dataset, split, clock, ask, checkpoints=checkpoints)
        except (Collapsed, Diverged):  # it would be lost again
            folder.remove()
            raise
        if why:
            trained.release()
            folder.remove()
            raise Stopped(why)
        logged.keep_models(run, config, dataset, split, trained)
        told = [report.metrics for report in trained.history.reports]
        error = next(metrics[ERROR] for metrics in reversed(told) if ERROR in metrics)
        run.metrics(clock.metrics())
        trained.release()
    try:
        tracking.check_sent()
    except tracking.StoreAway:  # the trial is given back, and trained again
        tracking.disown(run, AGAIN)
        raise
    except RunFailure:  # refused for good: the trial has failed
        tracking.disown(run, REFUSED)
        folder.remove()
        raise
    folder.remove()
    gc.collect()  # a finished training's graphs form cycles
    if not gc.get_freeze_count():
        gc.freeze()  # the libraries' million objects stay and need not be searched every time
    return Outcome(
        error=error,
        n_labels=split.n_labels,
        run_id=run.id,
        training_s=trained.history.seconds,
    )


def check_splits(splits: Iterable[tuple[Config, str]], dataset: Dataset) -> None:
    """Try splits that a search may ask for.

    Args:
        splits: a configuration, and what of it is searched, for messages.
        dataset: the study's data.

    Raises:
        UserError: one of them cannot be made, such as too few labels for one of each class.
    """
    for config, searched in splits:
        try:
            choose_split(config, dataset.unread())
        except UserError as error:
            raise UserError(f"{searched}: {error}{_advice(dataset)}") from None


def check_pictures(ends: Iterable[tuple[Config, str]]) -> None:
    """Refuse a search whose trials would have other images than its first one.

    ends: of the space; a configuration, and what of it is searched, for messages.

    Raises:
        UserError: a key that decides how pictures are read has several values.
    """
    first = None
    for config, searched in ends:
        how = data.options(config)
        if not data.reads_pictures(config.dataset):  # they keep their size
            how = how._replace(largest=0)
        first = first or how
        if how != first:
            raise UserError(
                f"{searched}: gives other images than the first value, and all trials of a search "
                "are on the same ones; give it a value, or do a search for each."
            )


def _advice(dataset: Dataset) -> str:
    """What a search of data can ask for that have fewer labels than images; else nothing."""
    labels = dataset.unread().train_labels.read(np.arange(len(dataset.train_labels)), "split")
    known = labels[labels != UNKNOWN]
    if len(known) == len(labels):
        return ""
    fewest = int(np.bincount(known, minlength=len(dataset.class_names)).min())
    return (
        ". A search takes no label_frac=none: give labels_per_class: {choices: […]} and a small "
        f"valid_labels; {len(known)} labels are known, {fewest} of them of the smallest class"
    )


def _kept_as(config: Config, dataset: Dataset, split: Split) -> str:
    """The name of the checkpoints' folder: a trial that is repeated finds those of the lost one."""
    code = provenance.tags()[provenance.CODE]
    return f"trial-{code}-{training.identity(dataset, split, config)[:32]}"


def detach() -> None:
    """Forget the run that `mlflow run` has made: a worker's runs are its own."""
    for name in ATTACHED:
        os.environ.pop(name, None)


@functools.lru_cache(maxsize=1)
def _loaded(name: str, data_dir: Path | None, how: data.Options) -> Dataset:
    return data.load(name, data_dir, how)
