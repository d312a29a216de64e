"""What people read of a split before a training: which images have labels, what changes nothing."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from pipeline.config import layers
from pipeline.config.schema import Config
from pipeline.data import DRAWN_TEST, UNKNOWN
from pipeline.data.dataset import Dataset
from pipeline.networks import backbones
from pipeline.stages.manifest import Indices, Split
from pipeline.stages.split import TENTH

OF_THE_GENERATOR = (
    *("generator_steps", "augment_with", "augment_steps", "generator_lr", "generator_beta_1"),
    *("generator_size", "generator_units", "latent_size", "truncation"),
    *("generated_batch_size", "penalty_weight"),
)
NAMED = 12  # classes whose counts are told one by one
FEW_UNLABELLED = 0.05  # of the images; with fewer without a label a run is all but supervised


def described(split: Split, labels: Indices, class_names: Sequence[str], name: str) -> str:
    """Which images have labels, for people to read; labels int64 [n] of all training images."""
    n_train, n_valid = len(labels), len(split.valid)
    unused = n_train - len(split.pool) - n_valid
    left = f"{unused:,} stand in no part of split_file and are not used; " if unused else ""
    chosen = labels[np.union1d(split.labelled, split.valid)]
    counts = np.bincount(chosen, minlength=len(class_names))
    low, high = int(counts.min()), int(counts.max())
    if high - low <= 1:
        each = f"{low} of each" if low == high else f"{low}–{high} of each"
        classes = f"{each} of {len(counts)} classes"
    elif len(counts) <= NAMED:
        classes = ", ".join(f"{k}: {n}" for k, n in zip(class_names, counts, strict=True))
    else:
        fewest, most = (class_names[int(i)] for i in (counts.argmin(), counts.argmax()))
        classes = f"of {len(counts)} classes, from {low} ({fewest}) to {high} ({most})"
    return (
        f"{name}: {split.n_labels:,} of {n_train:,} training images have a label ({classes}; "
        f"{n_valid or 'none'} of them for validation), {_others(split, labels)}; "
        f"{left}{len(split.test):,} test images"
    )


def _others(split: Split, labels: Indices) -> str:
    """The images that are used without a label."""
    n, unread = len(split.unlabelled), int((labels[split.unlabelled] != UNKNOWN).sum())
    if not unread:
        return f"{n:,} have none"
    if unread == n:
        return f"{n:,} are used without theirs"
    return f"{n:,} are used without ({unread:,} of these have one that is not read)"


def unheeded(config: Config, dataset: Dataset) -> list[str]:
    """What of the values that somebody gave says nothing here, in sentences."""
    nothing = [*_of_the_split(config, dataset), *_of_the_generator(config), *_of_networks(config)]
    said = config.given & layers.changed(config).keys()
    told = [
        f"{key} = {config.flat()[key]} changes nothing: {why}"
        for key, why in nothing
        if key in said
    ]
    return [*told, *_all_but_few(config, dataset)]


def searched_in_vain(keys: Iterable[str], configs: Sequence[Config]) -> list[str]:
    """Those of the searched keys that decide no error in any of these configurations, and why."""
    whys = [
        dict([*_of_the_generator(each), *_of_images(each), *_of_networks(each)]) for each in configs
    ]
    return [
        f"{key} is searched and decides no error: {whys[0][key]}"
        for key in keys
        if all(key in of_one for of_one in whys)
    ]


def _of_images(config: Config) -> Iterator[tuple[str, str]]:
    """Keys that decide nothing of the classifier, and why."""
    if config.own.get("generator") and config.own.get("augment_with") == "none":
        why = "the generator comes after the classifier, so it decides the images alone"
        yield from ((key, why) for key in OF_THE_GENERATOR if key != "augment_with")
    elif "latent_size" not in config.own:
        for key in ("generator_lr", "generator_beta_1"):
            yield key, f"method {config.method} has no generator"


def _of_the_split(config: Config, dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Keys that say nothing of which images have labels, and why."""
    if config.split_file is not None:
        yield from ((key, "split_file names the labels") for key in ("split_seed", "stratified"))
    elif config.labels_per_class and not config.valid_labels:
        yield "stratified", "labels_per_class says how many labels a class has"
    if all(finding.name != DRAWN_TEST for finding in dataset.findings):
        yield "test_frac", "the data have a test part"


def _of_the_generator(config: Config) -> Iterator[tuple[str, str]]:
    """The same of a generator that comes after the classifier."""
    if config.own.get("generator") is False:
        yield from ((key, "generator = false leaves it out") for key in OF_THE_GENERATOR)
    elif config.own.get("augment_with") == "none":
        yield "augment_steps", "augment_with = none leaves them out"


def _of_networks(config: Config) -> Iterator[tuple[str, str]]:
    """The same of the classifier and its warm-up."""
    if config.backbone == backbones.NONE:
        yield "backbone_weights", "the training is on no backbone"
        yield "backbone_side", "the training is on no backbone"
        if config.network != "resnet":
            yield "width", f"network = {config.network} has no such width"
        if config.network != "dense":
            yield "dense_units", f"network = {config.network} is not dense"
    elif config.backbone != backbones.AUTO:
        keys = ("network", "width", "dense_units", "input_noise", "layer_noise")
        yield from ((key, f"the classifier is on {config.backbone}") for key in keys)
    if config.own.get("warm_up_share") == 0:
        own = [key for key in config.own if key.startswith("warm_up_") and key != "warm_up_share"]
        yield from ((key, "warm_up_share = 0 leaves it out") for key in (*own, "temperature"))


def _all_but_few(config: Config, dataset: Dataset) -> Iterator[str]:
    """How many labels are read where nobody has said it: all, or a tenth if all are known."""
    n, unknown = len(dataset.train_labels), len(dataset.train_labels.unknown())
    asked = {"label_frac", "labels_per_class", "split_file"} & config.given
    if asked or config.label_frac is not None:
        return
    if not unknown:
        yield "every image has a label, so a tenth of them is read; label_frac=1 reads all"
    if 0 < unknown < FEW_UNLABELLED * n:
        yield (
            f"only {unknown:,} of {n:,} training images have no label, and all others are read, so "
            f"next to nothing is learned without labels: label_frac={TENTH} reads a tenth"
        )
