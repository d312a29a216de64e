"""What a stage needs of the run it continues from: configuration, split, models.

The names under which `flow` keeps them stand here too.
"""

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import data, tracking
from pipeline.config import continuing, named
from pipeline.config import layers as configuration
from pipeline.config.key import Value
from pipeline.config.schema import SAID, SPLIT, Config
from pipeline.data import Dataset
from pipeline.errors import UserError
from pipeline.networks import backbones
from pipeline.stages import train as training
from pipeline.stages.manifest import Split, from_manifest
from pipeline.stages.train import Model
from pipeline.tracking import LoadedModel

CONFIG_FILE = "config.yaml"
MANIFEST = "split/manifest.parquet"
CLASSIFIER, GENERATOR = "classifier", "generator"
GENERATOR_LOST = "ssgan.generator_lost"  # tag: why there is none, though there should be
DIGEST = "ssgan.data_digest"
TYPED = "ssgan.typed"  # tag: the keys that somebody gave, defaults among them
PIXELS = "ssgan.data_pixels"  # tag: the range of the training images' pixels, if narrow
SCALE = "ssgan.data_scale"  # tag: how values of more than eight bits became pixels


@dataclass(frozen=True)
class LoggedModels:
    """A run's models and the ids under which MLflow keeps them."""

    model: Model
    classifier: str
    generator: str  # "" if there is none


def continue_from(
    flags: Mapping[str, str], stage: str, kinds: tuple[str, ...]
) -> tuple[Config, str]:
    """The configuration to continue with and the source run's id.

    Raises:
        UserError: no run_id, no such run, one of another kind, or a flag that contradicts it.
    """
    source = flags.get("run_id")
    if not source:
        raise UserError(
            f"{stage} needs run_id: the run to continue from, of kind {' or '.join(kinds)}; "
            "the end of every run shows its id."
        )
    tracking.send_of(source, needed=False)
    kind = tracking.source_kind(source)
    if kind not in kinds:
        raise UserError(
            f"run_id = {source!r} (from --run_id): that run is of kind {kind!r}; {stage} "
            f"continues from {' or '.join(kinds)}."
        )
    base = values_of(source)
    if stage == "train":
        typed = (tracking.tag(source, TYPED) or "").split()
        config = continuing.load(flags, base, [key for key in typed if key in base])
    else:
        config = configuration.load(flags, base)
    decided = SPLIT if stage == "train" else {"method", *base}
    free = {name for name, said in SAID.items() if said.free}
    now = config.flat()
    recipe = configuration.recipe_of(config, config.steps).flat()
    # The method first: another one has other keys, which would be blamed instead. Then what was
    # typed: it sets others back.
    order = sorted(decided - free, key=lambda key: (key != "method", key not in flags, key))
    for key in order:
        was = base.get(key, recipe.get(key))
        if now.get(key) != was:
            raise UserError(
                f"{key} = {now.get(key)!r}: run {source} has decided {was!r} and {stage} "
                f"continues from it; leave {key} out, or start again without run_id."
            )
    return config, source


def values_of(source: str) -> dict[str, Value]:
    """The values of a run's `config.yaml`, without keys that its method has no more."""
    with tempfile.TemporaryDirectory() as folder:
        text = tracking.fetch(source, CONFIG_FILE, Path(folder)).read_text(encoding="utf-8")
    # Runs from before there were backbones had none.
    values = {"backbone": backbones.NONE, **configuration.from_yaml(text)}
    return configuration.still_known(values)


def detailed(config: Config) -> Config:
    """The same with the backbone that `auto` may choose, which sees images in their details."""
    if config.backbone != backbones.AUTO:
        return config
    return configuration.with_backbone(config, backbones.at_hand(config.backbone_weights))


def load_data(config: Config) -> Dataset:
    """The data that `config` names, as finely as the backbone that `auto` may choose would see."""
    return data.of(detailed(config))


def load_chosen(config: Config, before: Config, dataset: Dataset) -> Dataset:
    """The data as `config` wants them, once a backbone is chosen; `before` has loaded `dataset`.

    Only pictures in files come in two sizes.

    Raises:
        UserError: other files, classes or labels than before.
    """
    if not dataset.train_files or data.options(config) == data.options(detailed(before)):
        return dataset
    again = data.of(config)
    if not again.shows_the_same(dataset):
        raise UserError(
            f"data_dir = {config.data_dir}: its pictures or labels have changed since they were "
            "read; leave them as they are until the training has begun, and run again."
        )
    return again


def dataset_and_manifest(config: Config, source: str, key: str = "run_id") -> tuple[Dataset, Split]:
    """The data that `config` names, checked to be the source run's, and its split.

    key: by which the source run was named.

    Raises:
        UserError: other data, or no manifest.
    """
    dataset = load_data(config)
    if not _is_of(dataset, config, tracking.tag(source, DIGEST)):
        raise UserError(
            f"dataset = {config.dataset} (data_dir = {config.data_dir}): these are not the data "
            f"of run {source}, or another version of ssgan read them otherwise; give the same "
            f"data_dir, or start again without {key}."
        )
    labels = dataset.train_labels.read(np.arange(len(dataset.train_labels)), "split")
    with tempfile.TemporaryDirectory() as folder:
        manifest = tracking.fetch(source, MANIFEST, Path(folder))
        return dataset, from_manifest(
            manifest, labels, len(dataset.test_labels), dataset.class_names
        )


def _is_of(dataset: Dataset, config: Config, digest: str | None) -> bool:
    """Whether data have this digest, or have it in the other size that a backbone decides."""
    if dataset.digest == digest:
        return True
    how = data.options(detailed(config))
    if not dataset.train_files or how.image_size:
        return False
    for largest in {*data.LARGEST} - {how.largest}:
        other = data.load(config.dataset, config.data_dir, how._replace(largest=largest))
        if other.digest == digest and other.shows_the_same(dataset):
            return True
    return False


def data_tags(dataset: Dataset) -> dict[str, str]:
    """What a run notes of its data, for the stages and commands that read it."""
    known = {SCALE: dataset.scale, PIXELS: dataset.pixels}
    return {DIGEST: dataset.digest, **{key: text for key, text in known.items() if text}}


def load_model(run_id: str) -> LoggedModels:
    """The models of a run.

    Raises:
        UserError: the run has no classifier.
    """
    classifier = tracking.load_model(run_id, CLASSIFIER)
    if classifier is None:
        raise UserError(f"run_id = {run_id!r}: that run has no classifier; did it finish?")
    generator, shape = tracking.load_model(run_id, GENERATOR), classifier.shape
    model = Model(
        classify=classify_with(run_id, classifier),
        generate=training.batched(generator.call, math.prod(shape[:2])) if generator else None,
        latents=generator.latents if generator else None,
        drawn=training.drawn_size(shape, values_of(run_id)) if generator else None,
    )
    return LoggedModels(model, classifier.id, generator.id if generator else "")


def classify_with(
    run_id: str, classifier: LoadedModel
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The classifier of a run as a function, uint8 images [n, h, w, c] → probabilities [n, K]."""
    from pipeline.networks.pretrained import working_side

    values, side = values_of(run_id), min(classifier.shape[:2])
    if named.is_pretrained(values["backbone"]):
        side = working_side(side, int(values.get("backbone_side") or 0))  # type: ignore[arg-type]
    return training.batched(classifier.call, side**2)


def load_one(run_id: str, kind: str, role: str) -> LoadedModel:
    """The classifier or the generator of a run of this kind.

    Raises:
        UserError: the run has none.
    """
    found = tracking.load_model(run_id, role)
    if found is not None:
        return found
    said = f"run_id = {run_id!r}: that run"
    source = tracking.tag(run_id, tracking.SOURCE) if kind in ("evaluate", "baseline") else None
    if source:
        raise UserError(f"{said} measured another; give run_id={source}.")
    if role == GENERATOR and (why := tracking.tag(run_id, GENERATOR_LOST)):
        raise UserError(f"{said} has no generator, it was lost in training: {why}")
    if role == GENERATOR and tracking.parameter(run_id, "generator") == "False":
        raise UserError(f"{said} trained no generator (generator: false); train with one.")
    method = tracking.parameter(run_id, "method") if role == GENERATOR else None
    has = f"method {method} trains none, or it did not finish." if method else "did it finish?"
    raise UserError(f"{said}, of kind {kind!r}, has no {role}; {has}")


def labels_read(source: str) -> int:
    """What the audit of the source run has counted."""
    metrics = tracking.last_metrics(source)
    if "labels_read" not in metrics:
        raise UserError(f"run_id = {source!r}: that run did not finish; train again.")
    return int(metrics["labels_read"])
