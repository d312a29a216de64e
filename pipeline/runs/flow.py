"""The order of the stages: the only place where stages and MLflow meet.

`run` is all three stages in one process and one MLflow run; `split`, `train` and `evaluate` are
one stage each, a run each, the last two continuing from an earlier run by `run_id`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from pipeline import progress, tracking
from pipeline.config import layers as configuration
from pipeline.config import step_images
from pipeline.config.schema import Config
from pipeline.data import Dataset
from pipeline.networks import backbones
from pipeline.runs import arms, going_on, kept, logged, provenance, resume, summary, verdict
from pipeline.runs.clock import Clock
from pipeline.runs.kept import BASELINE, Folder
from pipeline.runs.logged import Measured
from pipeline.runs.summary import Result
from pipeline.stages import split as splitting
from pipeline.stages import told as telling
from pipeline.stages.choose import SCRATCH, Choice, check_backbone, choose
from pipeline.stages.manifest import Split
from pipeline.tracking import Run

CHOICE = "ssgan.backbone"  # tag: why this backbone, or none


def run(config: Config) -> Result:
    """Split, train and evaluate in one process and one MLflow run, then the baseline's child."""
    clock = Clock()
    config, dataset, split, choice = _chosen(config, *_split(config, clock), clock)
    with (
        _opened("pipeline", config, dataset, split) as run,
        _kept(run, config) as folder,
    ):
        _tell_choice(run, choice)
        found = arms.both(run, "run", config, dataset, split, clock, folder)
        result = _conclude(run, "run", config, split, clock, *found)
    folder.remove()
    return result


def go_on(flags: Mapping[str, str]) -> Result:
    """Go on with the run that `resume` names, of `run` or of `train`, in the same MLflow run."""
    clock = Clock()
    found = going_on.asked(flags)
    config, stage = found.config, going_on.KINDS[found.kind]
    with clock.section("split"):
        dataset, split = resume.dataset_and_manifest(config, found.run_id, going_on.RESUME)
    check_backbone(config)
    note = f"Goes on with run {found.run_id}."
    with kept.opened(found.folder, config) as folder:
        tracking.describe_attached(going_on.RESUME, f"resume of {found.run_id[:8]}", note)
        with (
            _opened(found.kind, config, dataset, split, earlier=found.run_id) as run,
            kept.advising(folder, going_on.command(run.id)),
        ):
            _note_place(run, folder)
            run.tags({provenance.CODE: found.code})
            progress.note(f"going on with run {run.id}")
            measured = arms.both(run, stage, config, dataset, split, clock, folder)
            result = _conclude(run, stage, config, split, clock, *measured)
    folder.remove()
    return result


def split(config: Config) -> Result:
    """The stage split alone: a run that holds the manifest and the resolved configuration.

    Which backbone `auto` is, and the number of steps that follows from it, is left to `train`.
    """
    clock = Clock()
    dataset, split = _split(config, clock)
    if config.backbone != backbones.AUTO:
        config = configuration.settled(config, len(dataset.train_images))
    with _opened("split", config, dataset, split, name="split: {}") as run:
        return _conclude(run, "split", config, split, clock)


def train(flags: Mapping[str, str]) -> Result:
    """The stage train alone, on the split of the run that `run_id` names."""
    clock = Clock()
    config, source = resume.continue_from(flags, "train", ("split", "train", "pipeline"))
    with clock.section("split"):
        dataset, split = resume.dataset_and_manifest(config, source)
    config, dataset, split, choice = _chosen(config, dataset, split, clock)
    with (
        _opened("train", config, dataset, split, source, "train: {}") as run,
        _kept(run, config) as folder,
    ):
        _tell_choice(run, choice)
        found = arms.both(run, "train", config, dataset, split, clock, folder)
        result = _conclude(run, "train", config, split, clock, *found)
    folder.remove()
    return result


def evaluate(flags: Mapping[str, str]) -> Result:
    """The stage evaluate alone, on the models of the run that `run_id` names."""
    clock = Clock()
    config, source = resume.continue_from(flags, "evaluate", ("train", "pipeline", "trial"))
    labels_read = resume.labels_read(source)
    with clock.section("split"):
        dataset, split = resume.dataset_and_manifest(config, source)
    tested = tracking.source_kind(source) == "trial"
    name = f"test of {tracking.run_name(source)}" if tested else "evaluate: {}"
    with _opened("evaluate", config, dataset, split, source, name) as run:
        measured = _evaluate(run, config, dataset, split, source, clock)
        baseline = None
        baseline_run = tracking.child_of(source, BASELINE) if config.baseline else None
        if baseline_run:
            with arms.open_baseline(config, dataset, split, run, clock, baseline_run) as opened:
                child, paired, time = opened
                baseline = _evaluate(child, paired, dataset, split, baseline_run, time)
        elif config.baseline and (lost := tracking.tag(source, arms.BASELINE_LOST)):
            arms.tell_lost_baseline(run, config, lost)
        return _conclude(run, "evaluate", config, split, clock, labels_read, measured, baseline)


def tell_findings(dataset: Dataset) -> None:
    """Print what is unusual in the data on stderr, a line each."""
    for finding in dataset.findings:
        progress.warn(f"dataset={dataset.name}: {finding.sentence}.")


@contextmanager
def _kept(run: Run, config: Config) -> Iterator[Folder]:
    """The folder that a new run can go on from."""
    with (
        kept.opened(kept.place(config, run.id), config) as folder,
        kept.advising(folder, going_on.command(run.id)),
    ):
        _note_place(run, folder)
        yield folder


def _note_place(run: Run, folder: Folder) -> None:
    """Say on the run where its folder lies."""
    if folder.path:
        run.tags({tracking.CHECKPOINTS: str(folder.path)})


def _split(config: Config, clock: Clock) -> tuple[Dataset, Split]:
    """The data, as detailed as a backbone may need them, and their split."""
    progress.phase(f"loading and splitting {config.dataset}")
    with clock.section("split"):
        dataset = resume.load_data(config)
        return dataset, splitting.choose_split(config, dataset)


def _chosen(
    config: Config, dataset: Dataset, split: Split, clock: Clock
) -> tuple[Config, Dataset, Split, Choice]:
    """Settle `backbone: auto` on the labelled images, the number of steps, and their images.

    The pictures are read anew where what was chosen needs them in another size.
    """
    n_images, choice = len(dataset.train_images), Choice(config.backbone, "")
    if config.backbone != backbones.NONE:
        with clock.section("choice"):
            before, choice = config, choose(config, dataset, split)
            if choice.backbone != config.backbone:
                config = configuration.with_backbone(config, choice.backbone)
            dataset = resume.load_chosen(config, before, dataset)
    config = configuration.settled(config, n_images)
    return step_images.shared_out(config, len(split.labelled)), dataset, split, choice


def _tell_choice(run: Run, choice: Choice) -> None:
    """Say what `backbone: auto` came to and why, in the terminal and in the run."""
    if choice.reason:
        progress.note(choice.reason)
        run.tags({CHOICE: choice.reason})
    names = {SCRATCH: "choice/from_scratch_error"}
    run.metrics(
        {names.get(key, "choice/backbone_error"): error for key, error in choice.errors.items()}
    )


@contextmanager
def _opened(
    kind: str,
    config: Config,
    dataset: Dataset,
    split: Split,
    source: str = "",
    name: str = "{}",
    earlier: str = "",
) -> Iterator[Run]:
    """A stage's run; the terminal says which labels it has."""
    progress.phase("opening the run in MLflow")
    shown: Any = {"source": source, "name": name, "earlier": earlier}
    with logged.opened(kind, config, dataset, split, **shown) as run:
        labels = dataset.train_labels.read(np.arange(len(dataset.train_labels)), "split")
        if kind != "evaluate":  # then the source run has told them
            tell_findings(dataset)
        progress.note(telling.described(split, labels, dataset.class_names, config.dataset))
        for sentence in () if source or earlier else telling.unheeded(config, dataset):
            progress.note(sentence)
        with progress.subject(config.method):
            yield run


def _evaluate(
    run: Run, config: Config, dataset: Dataset, split: Split, source: str, clock: Clock
) -> Measured:
    """Measure the models of the run `source`."""
    logged.start(config, clock)
    progress.phase("loading the models")
    with clock.section("evaluate"):
        loaded = resume.load_model(source)
    return logged.evaluate(run, config, dataset, split, loaded, clock)


def _conclude(
    run: Run,
    stage: str,
    config: Config,
    split: Split,
    clock: Clock,
    labels_read: int | None = None,
    measured: Measured | None = None,
    baseline: Measured | None = None,
) -> Result:
    """Log what is known at the end: comparison with the baseline, times, description, result."""
    progress.phase("logging the result")
    known = measured.metrics if measured else {}
    metrics = dict(known)
    if labels_read is not None:
        metrics["labels_read"] = labels_read
    if measured and baseline:
        if baseline.metrics:
            metrics["baseline/test_error"] = baseline.metrics["test/error"]
        metrics |= verdict.metrics(baseline.wrong, measured.wrong)
        metrics |= verdict.metrics(baseline.wrong_valid, measured.wrong_valid, verdict.VALID)
    metrics |= clock.metrics()
    run.metrics({key: value for key, value in metrics.items() if key not in known})
    result = Result(
        stage=stage,
        run_id=run.id,
        address=run.address,
        view=run.view(tracking.CURVES if stage == "train" else tracking.LABELS),
        dataset=config.dataset,
        method=config.method,
        n_labels=split.n_labels,
        n_valid=len(split.valid),
        n_test=len(split.test),
        n_pool=len(split.pool),
        seeds=(config.seed, config.split_seed),
        metrics=metrics,
        baseline=baseline.metrics if baseline and baseline.metrics else None,
        model=run.model_id(measured.classifier) if measured and measured.classifier else "",
    )
    if result.verdict:
        run.tags({verdict.TAG: result.verdict})
    run.text(json.dumps(result.as_json(), indent=2), "result.json")
    run.tags({tracking.NOTE: summary.markdown(result)})
    return result
