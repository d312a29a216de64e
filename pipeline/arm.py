"""One arm in its MLflow run: a method trained and measured on a split, and what is logged of it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline import config as configuration
from pipeline import figures, interrupts, provenance, tracking
from pipeline.clock import Clock
from pipeline.data import Dataset
from pipeline.resume import CLASSIFIER, CONFIG_FILE, DIGEST, GENERATOR, MANIFEST
from pipeline.schema import BOOKKEEPING, Config
from pipeline.stages import split as splitting
from pipeline.stages import train as training
from pipeline.stages.manifest import from_manifest, to_manifest
from pipeline.stages.split import Split
from pipeline.stages.train import Model, TrainedModel
from pipeline.tracking import Run

if TYPE_CHECKING:
    from pipeline.training.loop import Report

SCORERS = Path("~/.cache/ssgan/scorers")
GRID_COLUMNS = 10  # of the samples logged while training
EXAMPLES = 4  # images in a logged model's input example
FINDINGS = "ssgan.data_findings"  # tag: what is unusual in the data, in words


def choose_split(config: Config, dataset: Dataset) -> Split:
    """The split that the configuration asks for, drawn anew or read from `split_file`."""
    everything = np.arange(len(dataset.train_labels))
    labels = dataset.train_labels.read(everything, "split")
    n_test = len(dataset.test_labels)
    if config.split_file is not None:
        return from_manifest(config.split_file, labels, n_test)
    return splitting.split(
        labels,
        n_test,
        label_frac=config.label_frac,
        labels_per_class=config.labels_per_class,
        valid_frac=config.valid_frac,
        split_seed=config.split_seed,
        valid_labels=config.valid_labels,
    )


@contextmanager
def opened(
    kind: str,
    config: Config,
    dataset: Dataset,
    split: Split,
    *,
    source: str = "",
    parent: Run | None = None,
    more_tags: Mapping[str, str] | None = None,
    draw_split: bool = True,
) -> Iterator[Run]:
    """A run with everything that is known before training: parameters, inputs, provenance.

    draw_split: log a picture of the label counts; a child run has its parent's.
    """
    name = f"{config.method}, {split.n_labels} labels"
    tags = {DIGEST: dataset.digest, **provenance.tags(), **(more_tags or {})}
    if source:
        tags[tracking.SOURCE] = source
    if dataset.findings:
        tags[FINDINGS] = "; ".join(finding.sentence for finding in dataset.findings)
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
        if dataset.findings:
            run.metrics({f"data/{found.name}": found.count for found in dataset.findings})
        labels = dataset.train_labels.read(np.arange(len(dataset.train_labels)), "split")
        manifest = to_manifest(split, labels)
        run.table(manifest, MANIFEST)
        if draw_split and parent is None:
            counts = figures.label_counts(manifest, dataset.class_names, dataset.name)
            run.figure(counts, "split/label_counts.png")
        yield run


def fit(
    run: Run,
    config: Config,
    dataset: Dataset,
    split: Split,
    clock: Clock,
    goes_on: "Callable[[Report], bool]" = lambda report: True,
) -> TrainedModel:
    """Train one arm and log curves and samples; `goes_on` may end the training at a report.

    The clock's section "report" is what logging took, a part of "train".
    """

    def on_report(report: "Report") -> bool:
        interrupts.heed()
        with clock.section("report"):
            run.metrics(report.metrics, report.step)
            if report.samples is not None:
                sheet = figures.contact_sheet(report.samples, GRID_COLUMNS)
                run.image(sheet, "samples", report.step)
            return goes_on(report)

    with clock.section("train"):
        trained = training.train(dataset, split, config, on_report)
    curves = figures.learning_curves(trained.history.frame(), title(run, config))
    run.figure(curves, "figures/learning_curves.png")
    run.metrics(trained.history.totals())
    run.metrics({"labels_read": splitting.audit(split, dataset.train_labels)})
    return trained


def keep_models(
    run: Run, dataset: Dataset, trained: TrainedModel, register_as: str | None = None
) -> str:
    """Log the classifier and, if there is one, the generator; returns the classifier's id."""
    images = dataset.train_images[:EXAMPLES]
    model_id = run.model(
        trained.classifier,
        CLASSIFIER,
        images,
        trained.model.classify(images),
        register_as=register_as,
    )
    latents = trained.model.latents
    if latents is not None and trained.model.generate is not None:
        example = latents.draw(EXAMPLES, np.random.default_rng(0), latents.grid_labels(EXAMPLES))
        output = trained.model.generate(example)
        run.model(trained.generator, GENERATOR, example, output, latents=latents)
    return model_id


def evaluate(
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
        title=title(run, config),
    )
    metrics: dict[str, float] = {}
    while True:
        interrupts.heed()
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


def title(run: Run, config: Config) -> str:
    """What the run's figures are headed with."""
    return f"{config.dataset}, {config.method}, run {run.id[:8]}"
