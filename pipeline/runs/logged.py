"""One arm in its MLflow run: a method trained and measured on a split, and what is logged of it."""

import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline import figures, interrupts, progress, tracking
from pipeline.config import layers as configuration
from pipeline.config import named
from pipeline.config.schema import Config
from pipeline.data import Dataset, reported
from pipeline.networks import backbones
from pipeline.runs import differences, provenance, resume, shown
from pipeline.runs.clock import Clock
from pipeline.runs.resume import (
    CLASSIFIER,
    CONFIG_FILE,
    GENERATOR,
    GENERATOR_LOST,
    MANIFEST,
    LoggedModels,
)
from pipeline.stages import split as splitting
from pipeline.stages import train as training
from pipeline.stages.manifest import Split, to_labels, to_manifest
from pipeline.stages.train import TrainedModel
from pipeline.tracking import Run
from pipeline.training.checkpoints import Checkpoints

if TYPE_CHECKING:
    from pipeline.training.forecast import Forecast
    from pipeline.training.history import Report

MODELS = {  # what they take and give
    CLASSIFIER: "uint8 images [n, h, w, c] → class probabilities [n, K]. Trained on",
    GENERATOR: "Latents [n, size], or latents with a one-hot class, → uint8 images [n, h, w, c]. "
    "Trained on",
}
SCORERS = Path("~/.cache/ssgan/scorers")
FINAL_SAMPLES = "final_samples"
GRID_COLUMNS = 10  # of the samples logged while training
NAMED = 20  # classes that a model's page names
VALIDATION = "validation"  # reads their labels anew, after the training
EXAMPLES = 4  # images in a logged model's input example
LABELS = "split/labels.csv"  # of picture files, as `dataset: folder` reads it
REPORT = "data/report.csv"
WEIGHTS = "ssgan.backbone_weights"  # tag: which they are, and what they were trained on


@dataclass(frozen=True)
class Measured:
    """What `evaluate` has found, or without the test images `validate`."""

    metrics: dict[str, float]
    wrong: NDArray[np.bool_]  # [n_test], where the class was wrong
    wrong_valid: NDArray[np.bool_]  # [n_valid], the same of the validation images
    classifier: str  # its role in the run, or its id in MLflow; "" if MLflow does not keep it


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
    name: str = "{}",
    searched: Collection[str] = (),
    earlier: str = "",
    ours: bool = True,
    patience: float | None = None,
) -> Iterator[Run]:
    """A run with everything that is known before training: parameters, inputs, provenance.

    draw_split: log a picture of the label counts; a child run has its parent's.
    name: of the run, unless the user gives one; {} stands for what tells it from others.
    searched: keys that are logged as parameters, whatever their values.
    earlier: id of a run to go on with, instead of a new one.
    ours: `config.method` is a method of the pipeline; of another, which has no recipe, only what
        says the split, the seed and the backbone is logged as parameters.
    patience: seconds that a store is waited for that is away, at the beginning and at the end. By
        default it must be there at the beginning, and is waited for two minutes at the end.
    """
    tags = {**resume.data_tags(dataset), **provenance.tags(), **(more_tags or {})}
    tags[tracking.COLOUR] = tracking.colour(config.method, split.n_labels)
    if source:
        tags[tracking.SOURCE] = source
    if config.given:
        tags[resume.TYPED] = " ".join(sorted(config.given))
    if dataset.findings and not earlier:  # a run that goes on may have noted more by now
        tags[differences.FINDINGS] = "; ".join(finding.sentence for finding in dataset.findings)
    with tracking.open_run(
        kind,
        experiment=config.experiment,
        name=shown.name_of(config, split, name)
        if parent or not config.run_name
        else config.run_name,
        keep_name=config.run_name is None,
        parent=parent,
        tags=tags,
        earlier=earlier,
        patience=patience,
    ) as run:
        run.text(configuration.to_yaml(config), CONFIG_FILE)
        run.params(shown.compared(config, searched) if ours else shown.of_others(config))
        run.metrics({"n_labels": split.n_labels})
        environment = "environment-resumed.json" if earlier else "environment.json"
        run.text(json.dumps(provenance.environment(), indent=2), environment)
        run.dataset(dataset.name, dataset.digest, dataset.train_images)
        if dataset.findings:
            run.metrics({f"data/{found.name}": found.count for found in dataset.findings})
        labels = dataset.train_labels.read(np.arange(len(dataset.train_labels)), "split")
        files = dataset.train_files, dataset.test_files
        manifest = to_manifest(split, labels, dataset.class_names, files)
        run.table(manifest, MANIFEST)
        if dataset.train_files:
            run.table(to_labels(split, dataset), LABELS)
        if dataset.findings:
            run.table(reported(dataset.findings), REPORT)
        if draw_split and parent is None:
            counts = figures.label_counts(manifest, dataset.class_names, dataset.name)
            run.figure(counts, "split/label_counts.png")
        with tracking.system_metrics(run) if config.system_metrics else nullcontext():
            yield run


def start(config: Config, clock: Clock) -> None:
    """Start TensorFlow, which is the clock's section "start"."""
    from pipeline.ops import runtime

    if "tensorflow" not in sys.modules:
        progress.phase("starting TensorFlow")
    with clock.section("start"):
        runtime.start(config.seed, config.threads, config.deterministic, config.devices)


def fit(
    run: Run,
    config: Config,
    dataset: Dataset,
    split: Split,
    clock: Clock,
    goes_on: "Callable[[Report], bool]" = lambda report: True,
    foretell: "Callable[[Forecast], None] | None" = None,
    checkpoints: Checkpoints | None = None,
    draw: bool = True,
) -> TrainedModel:
    """Train one arm and log curves and samples; `goes_on` may end the training at a report.

    foretell: is told before the first step how long the training will take.
    checkpoints: of this training, which goes on from the last one.
    draw: log a figure of the curves too.
    """

    def on_report(report: "Report") -> bool:
        interrupts.heed()
        with clock.section("log"):
            if report.metrics:
                run.metrics(report.metrics, report.step)
            if report.samples is not None:  # by percent: runs of all lengths stand side by side
                run.image(_sheet(report, dataset), "samples", report.percent)
            return goes_on(report)

    tell_weights(run, config.backbone, config.backbone_weights)
    start(config, clock)
    with clock.section("train"):
        trained = training.train(dataset, split, config, on_report, foretell, checkpoints)
    progress.phase("logging the curves")
    if draw:
        curves = figures.learning_curves(trained.history.frame(), title(run, config))
        run.figure(curves, "figures/learning_curves.png")
    run.metrics(trained.history.totals() | provenance.peak_memory())
    differences.tell(run, dataset, trained.history.compared)
    if trained.history.generator_lost:
        tell_lost_generator(run, trained.history.generator_lost)
    frames = [each for each in trained.history.reports if each.samples is not None]
    if frames:  # at one step, so that runs of all lengths stand side by side
        run.image(_sheet(frames[-1], dataset), FINAL_SAMPLES, 0)
    run.metrics({"labels_read": splitting.audit(split, dataset.train_labels, dataset.test_labels)})
    return trained


def _sheet(report: "Report", dataset: Dataset) -> NDArray[np.uint8]:
    """The samples of a report as one image, a class a row where they were made for classes."""
    assert report.samples is not None
    if report.classes is None:
        return figures.contact_sheet(report.samples, GRID_COLUMNS)
    return figures.class_sheet(report.samples, report.classes, dataset.class_names)


def tell_weights(run: Run, backbone: str, file: Path | None) -> None:
    """Say on the run which weights a training on a backbone begins from."""
    if named.is_pretrained(backbone):
        run.tags({WEIGHTS: backbones.described(backbone, file)})


def tell_lost_generator(run: Run, why: str) -> None:
    """Say, on stderr and on the run, that it has a classifier and no generator."""
    progress.warn(f"no generator, the classifier is not touched: {why}")
    run.tags({GENERATOR_LOST: why})


def keep_models(
    run: Run, config: Config, dataset: Dataset, split: Split, trained: TrainedModel
) -> LoggedModels:
    """Log the classifier and, if there is one, the generator."""
    progress.phase("logging the models")
    name = shown.name_of(config, split, "{}")

    def keep(role: str, model: Any, example: NDArray[Any], output: NDArray[Any]) -> None:
        run.model(
            model,
            f"{config.dataset}-{config.method}-{split.n_labels}-labels-{role}",
            role,
            example,
            output,
            latents=latents if role == GENERATOR else None,
            params={**shown.compared(config), "n_labels": split.n_labels},
            note=f"{MODELS[role]} {name}. {_classes(dataset.class_names)}",
            class_names=dataset.class_names,
            register_as=config.register_as if role == CLASSIFIER and run.parent is None else None,
        )

    latents, images = trained.model.latents, dataset.train_images[:EXAMPLES]
    keep(CLASSIFIER, trained.classifier, images, trained.model.classify(images))
    generator = ""
    if latents is not None and trained.model.generate is not None:
        example = latents.draw(EXAMPLES, np.random.default_rng(0), latents.grid_labels(EXAMPLES))
        keep(GENERATOR, trained.generator, example, trained.model.generate(example))
        generator = GENERATOR
    return LoggedModels(trained.model, CLASSIFIER, generator)


def _classes(names: Sequence[str]) -> str:
    """What the classes are called, for a model's page."""
    more = f", … ({len(names)} classes)" if len(names) > NAMED else ""
    return f"Classes 0 to {len(names) - 1}: {', '.join(names[:NAMED])}{more}."


def validate(dataset: Dataset, split: Split, models: LoggedModels) -> Measured:
    """Where a classifier is wrong on the validation images; no test label is read."""
    wrong = np.empty(0, bool)
    if len(split.valid):
        labels = dataset.train_labels.read(split.valid, VALIDATION)
        predicted = models.model.classify(dataset.train_images[split.valid]).argmax(axis=1)
        wrong = predicted != labels
    return Measured({}, np.empty(0, bool), wrong, models.classifier)


def evaluate(
    run: Run,
    config: Config,
    dataset: Dataset,
    split: Split,
    models: LoggedModels,
    clock: Clock,
    draw: bool = True,
) -> Measured:
    """Measure models and log metrics (on the run and on the models), tables and figures.

    draw: figures of the classifier too.
    """
    from pipeline.stages import evaluate as evaluation

    parts = evaluation.evaluate(
        dataset,
        models.model,
        n_labels=split.n_labels,
        seed=config.seed,
        scorer_dir=SCORERS,
        title=title(run, config),
        draw=draw,
    )
    with clock.section("evaluate"):
        measured = validate(dataset, split, models)
    while True:
        interrupts.heed()
        with clock.section("evaluate"):
            part = next(parts, None)
        if part is None:
            break
        progress.phase("logging tables and figures")
        model = models.classifier if "test/error" in part.metrics else models.generator
        run.metrics(part.metrics, model=model, dataset=(dataset.name, dataset.digest))
        for path, table in part.tables.items():
            run.table(table, path)
        for path, figure in part.figures.items():
            run.figure(figure, path)
        wrong = measured.wrong if part.wrong is None else part.wrong
        measured = replace(measured, metrics={**measured.metrics, **part.metrics}, wrong=wrong)
    if models.classifier:
        run.describe_versions(
            models.classifier,
            {"test_error": f"{measured.metrics['test/error']:.4f}", "n_labels": str(split.n_labels)}
            | {"dataset": config.dataset, "method": config.method},
            f"{shown.name_of(config, split, '{}')}: test error "
            f"{measured.metrics['test/error']:.2%} on {len(split.test):,} images (run {run.id}).",
        )
    return measured


def title(run: Run, config: Config) -> str:
    """What the run's figures are headed with."""
    return f"{config.dataset}, {config.method}, run {run.id[:8]}"
