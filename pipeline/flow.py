"""The order of the stages: the only place where stages and MLflow meet.

`run` is all three stages in one process and one MLflow run; `split`, `train` and `evaluate` are
one stage each, a run each, the last two continuing from an earlier run by `run_id`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline import config as configuration
from pipeline import data, figures, provenance, resume, summary, tracking
from pipeline.clock import Clock
from pipeline.data import Dataset
from pipeline.resume import CLASSIFIER, CONFIG_FILE, DIGEST, GENERATOR, MANIFEST
from pipeline.schema import BOOKKEEPING, Config
from pipeline.stages import split as splitting
from pipeline.stages import train as training
from pipeline.stages.split import Split
from pipeline.stages.train import Model
from pipeline.summary import Result
from pipeline.tracking import Run

if TYPE_CHECKING:
    from pipeline.training.loop import Report

BASELINE = "baseline"  # kind of the child run
SCORERS = Path("~/.cache/ssgan/scorers")
GRID_COLUMNS = 10  # of the samples logged while training
EXAMPLES = 4  # images in a logged model's input example


def run(config: Config) -> Result:
    """Split, train and evaluate in one process and one MLflow run, then the baseline's child."""
    clock = Clock()
    with clock.section("split"):
        dataset = data.load(config.dataset, config.data_dir)
        split = choose_split(config, dataset)
    with _open("pipeline", config, dataset, split) as run:
        trained = _train(run, config, dataset, split, clock)
        measured = _evaluate(run, config, dataset, split, trained, clock)
        baseline = None
        if _wants_baseline(config):
            with _open_baseline(config, dataset, split, run) as (child, arm, time):
                trained = _train(child, arm, dataset, split, time)
                baseline = _evaluate(child, arm, dataset, split, trained, time)
        labels_read = splitting.audit(split, dataset.train_labels)
        return _conclude(run, "run", config, split, clock, labels_read, measured, baseline)


def split(config: Config) -> Result:
    """The stage split alone: a run that holds the manifest and the resolved configuration."""
    clock = Clock()
    with clock.section("split"):
        dataset = data.load(config.dataset, config.data_dir)
        split = choose_split(config, dataset)
    with _open("split", config, dataset, split) as run:
        return _conclude(run, "split", config, split, clock)


def train(flags: Mapping[str, str]) -> Result:
    """The stage train alone, on the split of the run that `run_id` names."""
    clock = Clock()
    config, source = resume.continue_from(flags, "train", ("split", "train", "pipeline"))
    dataset, split = resume.dataset_and_manifest(config, source)
    with _open("train", config, dataset, split, source=source) as run:
        _train(run, config, dataset, split, clock)
        if _wants_baseline(config):
            with _open_baseline(config, dataset, split, run) as (child, arm, time):
                _train(child, arm, dataset, split, time)
        labels_read = splitting.audit(split, dataset.train_labels)
        return _conclude(run, "train", config, split, clock, labels_read)


def evaluate(flags: Mapping[str, str]) -> Result:
    """The stage evaluate alone, on the models of the run that `run_id` names."""
    clock = Clock()
    config, source = resume.continue_from(flags, "evaluate", ("train", "pipeline"))
    labels_read = resume.labels_read(source)
    dataset, split = resume.dataset_and_manifest(config, source)
    from pipeline.training import runtime

    runtime.start(config.seed, config.threads, config.deterministic)
    with _open("evaluate", config, dataset, split, source=source) as run:
        measured = _evaluate(run, config, dataset, split, resume.load_model(source), clock)
        baseline, baseline_run = None, tracking.child_of(source, BASELINE)
        if baseline_run:
            with _open_baseline(config, dataset, split, run, baseline_run) as (child, arm, time):
                loaded = resume.load_model(baseline_run)
                baseline = _evaluate(child, arm, dataset, split, loaded, time)
        return _conclude(run, "evaluate", config, split, clock, labels_read, measured, baseline)


def choose_split(config: Config, dataset: Dataset) -> Split:
    """The split that the configuration asks for, drawn anew or read from `split_file`."""
    everything = np.arange(len(dataset.train_labels))
    labels = dataset.train_labels.read(everything, "split")
    n_test = len(dataset.test_labels)
    if config.split_file is not None:
        return splitting.from_manifest(config.split_file, labels, n_test)
    return splitting.split(
        labels,
        n_test,
        label_frac=config.label_frac,
        labels_per_class=config.labels_per_class,
        valid_frac=config.valid_frac,
        split_seed=config.split_seed,
    )


def _wants_baseline(config: Config) -> bool:
    return config.baseline and config.method != "supervised"


@contextmanager
def _open(
    kind: str,
    config: Config,
    dataset: Dataset,
    split: Split,
    *,
    source: str = "",
    parent: Run | None = None,
) -> Iterator[Run]:
    """A run with everything that is known before training: parameters, inputs, provenance."""
    name = f"{config.method}, {split.n_labels} labels"
    tags = {DIGEST: dataset.digest, **provenance.tags()}
    if source:
        tags[tracking.SOURCE] = source
    with tracking.open_run(
        kind,
        experiment=config.experiment,
        name=config.run_name if config.run_name and parent is None else name,
        keep_name=config.run_name is None,
        parent=parent,
        tags=tags,
    ) as run:
        run.text(configuration.to_yaml(config), CONFIG_FILE)
        values = {k: v for k, v in config.flat().items() if k not in BOOKKEEPING}
        run.params({**values, "n_labels": split.n_labels})
        run.text(json.dumps(provenance.environment(), indent=2), "environment.json")
        run.dataset(dataset.name, dataset.digest, dataset.train_images)
        labels = dataset.train_labels.read(np.arange(len(dataset.train_labels)), "split")
        manifest = splitting.to_manifest(split, labels)
        run.table(manifest, MANIFEST)
        if parent is None:
            counts = figures.label_counts(manifest, dataset.class_names, dataset.name)
            run.figure(counts, "split/label_counts.png")
        yield run


@contextmanager
def _open_baseline(
    config: Config, dataset: Dataset, split: Split, parent: Run, source: str = ""
) -> Iterator[tuple[Run, Config, Clock]]:
    """The supervised arm's child run, its configuration and its own clock."""
    arm, clock = configuration.baseline_of(config, len(split.labelled)), Clock()
    with _open(BASELINE, arm, dataset, split, parent=parent, source=source) as child:
        yield child, arm, clock
        child.metrics(clock.metrics())


def _train(
    run: Run, config: Config, dataset: Dataset, split: Split, clock: Clock
) -> tuple[Model, str]:
    """Train one arm, log curves, samples and models; returns the model and its logged id."""

    def on_report(report: "Report") -> bool:
        run.metrics(report.metrics, report.step)
        if report.samples is not None:
            sheet = figures.contact_sheet(report.samples, GRID_COLUMNS)
            run.image(sheet, "samples", report.step)
        return True

    with clock.section("train"):
        trained = training.train(dataset, split, config, on_report)
    images = dataset.train_images[:EXAMPLES]
    model_id = run.model(
        trained.classifier,
        CLASSIFIER,
        images,
        trained.model.classify(images),
        register_as=config.register_as if run.parent is None else None,
    )
    latents = trained.model.latents
    if latents is not None and trained.model.generate is not None:
        example = latents.draw(EXAMPLES, np.random.default_rng(0), latents.grid_labels(EXAMPLES))
        output = trained.model.generate(example)
        run.model(trained.generator, GENERATOR, example, output, latents=latents)
    curves = figures.learning_curves(trained.history.frame(), _title(run, config))
    run.figure(curves, "figures/learning_curves.png")
    run.metrics(trained.history.totals())
    run.metrics({"labels_read": splitting.audit(split, dataset.train_labels)})
    return trained.model, model_id


def _evaluate(
    run: Run,
    config: Config,
    dataset: Dataset,
    split: Split,
    model: tuple[Model, str],
    clock: Clock,
) -> dict[str, float]:
    """Measure one arm and log metrics (on the run and on its classifier), tables and figures."""
    from pipeline.stages import evaluate as evaluation

    parts = evaluation.evaluate(
        dataset,
        model[0],
        n_labels=split.n_labels,
        seed=config.seed,
        scorer_dir=SCORERS,
        title=_title(run, config),
    )
    metrics: dict[str, float] = {}
    while True:
        with clock.section("evaluate"):
            part = next(parts, None)
        if part is None:
            return metrics
        run.metrics(part.metrics, model_id=model[1])
        for path, table in part.tables.items():
            run.table(table, path)
        for path, figure in part.figures.items():
            run.figure(figure, path)
        metrics |= part.metrics


def _title(run: Run, config: Config) -> str:
    return f"{config.dataset}, {config.method}, run {run.id[:8]}"


def _conclude(
    run: Run,
    stage: str,
    config: Config,
    split: Split,
    clock: Clock,
    labels_read: int | None = None,
    measured: dict[str, float] | None = None,
    baseline: dict[str, float] | None = None,
) -> Result:
    """Log what is known at the end: comparison with the baseline, times, description, result."""
    metrics = dict(measured or {})
    if labels_read is not None:
        metrics["labels_read"] = labels_read
    if measured and baseline:
        metrics["baseline/test_error"] = baseline["test/error"]
        metrics["lift"] = metrics["baseline/test_error"] - metrics["test/error"]
    metrics |= clock.metrics()
    run.metrics({key: value for key, value in metrics.items() if key not in (measured or {})})
    result = Result(
        stage=stage,
        run_id=run.id,
        address=run.address,
        dataset=config.dataset,
        method=config.method,
        n_labels=split.n_labels,
        n_valid=len(split.valid),
        n_test=len(split.test),
        n_pool=len(split.pool),
        seeds=(config.seed, config.split_seed),
        metrics=metrics,
        baseline=baseline,
    )
    run.text(json.dumps(result.as_json(), indent=2), "result.json")
    run.tags({tracking.NOTE: summary.markdown(result)})
    return result
