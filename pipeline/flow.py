"""The order of the stages: the only place where stages and MLflow meet.

`run` is all three stages in one process and one MLflow run; `split`, `train` and `evaluate` are
one stage each, a run each, the last two continuing from an earlier run by `run_id`.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pipeline import arm, data, resume, summary, tracking
from pipeline import config as configuration
from pipeline.clock import Clock
from pipeline.data import Dataset
from pipeline.schema import Config
from pipeline.stages import split as splitting
from pipeline.stages.split import Split
from pipeline.stages.train import Model
from pipeline.summary import Result
from pipeline.tracking import Run

BASELINE = "baseline"  # kind of the child run


def run(config: Config) -> Result:
    """Split, train and evaluate in one process and one MLflow run, then the baseline's child."""
    clock = Clock()
    with clock.section("split"):
        dataset = data.load(config.dataset, config.data_dir)
        tell_findings(dataset)
        split = arm.choose_split(config, dataset)
    with arm.opened("pipeline", config, dataset, split) as run:
        trained = _train(run, config, dataset, split, clock)
        measured = arm.evaluate(run, config, dataset, split, trained, clock)
        baseline = None
        if _wants_baseline(config):
            with _open_baseline(config, dataset, split, run) as (child, paired, time):
                trained = _train(child, paired, dataset, split, time)
                baseline = arm.evaluate(child, paired, dataset, split, trained, time)
        labels_read = splitting.audit(split, dataset.train_labels)
        return _conclude(run, "run", config, split, clock, labels_read, measured, baseline)


def split(config: Config) -> Result:
    """The stage split alone: a run that holds the manifest and the resolved configuration."""
    clock = Clock()
    with clock.section("split"):
        dataset = data.load(config.dataset, config.data_dir)
        tell_findings(dataset)
        split = arm.choose_split(config, dataset)
    with arm.opened("split", config, dataset, split) as run:
        return _conclude(run, "split", config, split, clock)


def train(flags: Mapping[str, str]) -> Result:
    """The stage train alone, on the split of the run that `run_id` names."""
    clock = Clock()
    config, source = resume.continue_from(flags, "train", ("split", "train", "pipeline"))
    dataset, split = resume.dataset_and_manifest(config, source)
    tell_findings(dataset)
    with arm.opened("train", config, dataset, split, source=source) as run:
        _train(run, config, dataset, split, clock)
        if _wants_baseline(config):
            with _open_baseline(config, dataset, split, run) as (child, paired, time):
                _train(child, paired, dataset, split, time)
        labels_read = splitting.audit(split, dataset.train_labels)
        return _conclude(run, "train", config, split, clock, labels_read)


def evaluate(flags: Mapping[str, str]) -> Result:
    """The stage evaluate alone, on the models of the run that `run_id` names."""
    clock = Clock()
    config, source = resume.continue_from(flags, "evaluate", ("train", "pipeline", "trial"))
    labels_read = resume.labels_read(source)
    dataset, split = resume.dataset_and_manifest(config, source)
    tell_findings(dataset)
    from pipeline.training import runtime

    runtime.start(config.seed, config.threads, config.deterministic)
    with arm.opened("evaluate", config, dataset, split, source=source) as run:
        measured = arm.evaluate(run, config, dataset, split, resume.load_model(source), clock)
        baseline = None
        baseline_run = tracking.child_of(source, BASELINE) if config.baseline else None
        if baseline_run:
            with _open_baseline(config, dataset, split, run, baseline_run) as (child, paired, time):
                loaded = resume.load_model(baseline_run)
                baseline = arm.evaluate(child, paired, dataset, split, loaded, time)
        return _conclude(run, "evaluate", config, split, clock, labels_read, measured, baseline)


def tell_findings(dataset: Dataset) -> None:
    """Print what is unusual in the data on stderr, a line each."""
    for finding in dataset.findings:
        print(f"ssgan: dataset={dataset.name}: {finding.sentence}.", file=sys.stderr)


def _wants_baseline(config: Config) -> bool:
    return config.baseline and config.method != "supervised"


@contextmanager
def _open_baseline(
    config: Config, dataset: Dataset, split: Split, parent: Run, source: str = ""
) -> Iterator[tuple[Run, Config, Clock]]:
    """The supervised arm's child run, its configuration and its own clock."""
    paired, clock = configuration.baseline_of(config, len(split.labelled)), Clock()
    with arm.opened(BASELINE, paired, dataset, split, parent=parent, source=source) as child:
        yield child, paired, clock
        child.metrics(clock.metrics())


def _train(
    run: Run, config: Config, dataset: Dataset, split: Split, clock: Clock
) -> tuple[Model, str]:
    """Train one arm, log it and its models; returns the model and its logged id."""
    trained = arm.fit(run, config, dataset, split, clock)
    register_as = config.register_as if run.parent is None else None
    return trained.model, arm.keep_models(run, dataset, trained, register_as)


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
