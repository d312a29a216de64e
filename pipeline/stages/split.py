"""Labels and a seed → which images are labelled, unlabelled, validation and test.

A label is a budget: n labels are chosen, stratified by class (or at random, `stratified: false`)
and nested (the 10-label set lies inside the 20-label set), and validation is paid from them.
Depends on `split_seed` alone.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from pipeline.config.schema import Config
from pipeline.data import UNKNOWN
from pipeline.data.dataset import Dataset, LabelDoor
from pipeline.errors import RunFailure, UserError
from pipeline.stages.manifest import Indices, Split, from_manifest

TENTH = 0.1  # of the images get a label if nobody says how many and all could


def choose_split(config: Config, dataset: Dataset) -> Split:
    """The split that the configuration asks for, drawn anew or read from `split_file`."""
    everything = np.arange(len(dataset.train_labels))
    labels = dataset.train_labels.read(everything, "split")
    n_test = len(dataset.test_labels)
    if config.split_file is not None:
        files = dataset.train_files, dataset.test_files
        return from_manifest(config.split_file, labels, n_test, dataset.class_names, files)
    return split(
        labels,
        n_test,
        label_frac=config.label_frac,
        labels_per_class=config.labels_per_class,
        valid_frac=config.valid_frac,
        split_seed=config.split_seed,
        valid_labels=config.valid_labels,
        class_names=dataset.class_names,
        stratified=config.stratified,
    )


def split(
    labels: Indices,
    n_test: int,
    *,
    label_frac: float | None,
    labels_per_class: int | None,
    valid_frac: float,
    split_seed: int,
    valid_labels: int | None = None,
    class_names: Sequence[str] = (),
    stratified: bool = True,
) -> Split:
    """Choose the labelled and validation images of the training part.

    labels: int64 [n], -1 = unknown, each class 0..K-1 with a known label. label_frac in (0, 1] of
    the n images get a label (None: all that have one, but `TENTH` of the images if all have), or
    labels_per_class of every class if given; valid_frac in [0, 1) of the labels go to validation;
    or valid_labels images besides get a label for validation, the same ones whatever label_frac
    is, so that errors compare. class_names are for messages. Not stratified, every image is as
    likely as any other to be labelled next, once each class has one.
    Raises UserError if a value is not allowed or cannot be met.
    """
    _check(label_frac, labels_per_class, valid_frac, split_seed)
    order, rank = _order(labels, split_seed, stratified)
    if labels_per_class is None:
        chosen = np.arange(len(order)) < _wanted(label_frac, labels)
    else:
        _check_labels_per_class(labels_per_class, labels, class_names)
        chosen = rank < labels_per_class
    # Systematic sampling along each class's own ranks keeps both sets nested as the budget grows,
    # and leaves rank 0 labelled. Counted with the decimal the user typed: as floats, 100 labels
    # times 0.29 are fewer than 29.
    share = Fraction(str(valid_frac))
    paid = [(j * share.numerator) // share.denominator for j in range(int(rank.max()) + 2)]
    is_valid = np.diff(paid)[rank] > 0
    if valid_frac > 0 and not is_valid[chosen].any():
        raise UserError(
            _too_few_for_validation(valid_frac, int(chosen.sum()), is_valid, len(labels))
        )
    if valid_labels is not None:
        is_valid = _last(valid_labels, chosen, valid_frac)
        if (chosen & is_valid).any():
            raise UserError(
                f"valid_labels={valid_labels}: validation takes the last {valid_labels} of the "
                f"labelling order, whatever the budget, and {int((chosen & is_valid).sum())} of "
                f"them are among labels_per_class={labels_per_class}; use a smaller one of the two"
            )
        chosen = chosen | is_valid
    labelled, valid = order[chosen & ~is_valid], order[chosen & is_valid]
    return Split(
        labelled=np.sort(labelled),
        unlabelled=np.setdiff1d(np.arange(len(labels)), order[chosen]),
        valid=np.sort(valid),
        test=np.arange(n_test),
    )


def _last(valid_labels: int, chosen: NDArray[np.bool_], valid_frac: float) -> NDArray[np.bool_]:
    """Mark the last valid_labels of the labelling order; chosen, bool [n], is needed for training.

    The tail of the order is stratified as its head is, and a growing head leaves it as it is.
    """
    if valid_frac:
        raise UserError(
            f"valid_labels={valid_labels} and valid_frac={valid_frac}: each says which labels "
            "validate; give one of them"
        )
    free = len(chosen) - int(chosen.sum())
    if valid_labels > free:
        raise UserError(
            f"valid_labels={valid_labels}: {int(chosen.sum())} of {len(chosen)} known labels are "
            f"for training, which leaves {free}; use a smaller valid_labels or label_frac"
        )
    return np.arange(len(chosen)) >= len(chosen) - valid_labels


def _order(labels: Indices, split_seed: int, stratified: bool) -> tuple[Indices, Indices]:
    """Known indices in the order in which they get their labels, and each one's rank in its class.

    Rank j of a class of m images has the key (j + 0.5) / m, so that each prefix of the order is
    stratified; rank 0 comes before all others, so that each prefix of K or more has every class.
    Not stratified, the keys of the others are drawn evenly from [0, 1).
    """
    indices, ranks, keys, ties = [], [], [], []
    n_classes = int(labels.max()) + 1
    # Equal classes have equal keys: the seed, not the class number, says who goes first.
    tie = np.random.default_rng(split_seed).permutation(n_classes)
    for label in range(n_classes):
        members = np.flatnonzero(labels == label)
        rank = np.arange(len(members))
        indices.append(np.random.default_rng([split_seed, label]).permutation(members))
        ranks.append(rank)
        even = (rank + 0.5) / max(len(members), 1)
        if not stratified:
            drawn = np.random.default_rng([split_seed, label, 1]).random(len(members) - 1)
            even = np.append(0.0, np.sort(drawn))
        keys.append(np.where(rank == 0, 0.0, even))
        ties.append(np.full(len(members), tie[label]))
    order = np.lexsort((np.concatenate(ties), np.concatenate(keys)))
    return np.concatenate(indices)[order], np.concatenate(ranks)[order]


def _check(
    label_frac: float | None, labels_per_class: int | None, valid_frac: float, split_seed: int
) -> None:
    """Raise UserError for a value outside its range (written so that NaN is outside, too)."""
    if labels_per_class is None and label_frac is not None and not 0 < label_frac <= 1:
        raise UserError(
            f"label_frac={label_frac} is not allowed: it is the labelled fraction of the training "
            "images, above 0 and at most 1, such as 0.1"
        )
    if labels_per_class is not None and labels_per_class < 1:
        raise UserError(f"labels_per_class={labels_per_class} is not allowed: give 1 or more")
    if not 0 <= valid_frac < 1:
        raise UserError(
            f"valid_frac={valid_frac} is not allowed: it is the fraction of the labels kept for "
            "validation, at least 0 (none) and below 1"
        )
    if split_seed < 0:
        raise UserError(f"split_seed={split_seed} is not allowed: give a whole number from 0 up")


def _wanted(label_frac: float | None, labels: Indices) -> int:
    """How many labels label_frac asks for.

    Raises UserError if they are fewer than classes or more than are known.
    """
    if label_frac is None:
        n_known = int((labels != UNKNOWN).sum())
        tenth = max(round(TENTH * len(labels)), int(labels.max()) + 1)
        return n_known if n_known < len(labels) else tenth
    n, n_classes, n_known = len(labels), int(labels.max()) + 1, int((labels != UNKNOWN).sum())
    wanted = round(label_frac * n)
    if wanted < n_classes:
        raise UserError(
            f"label_frac={label_frac} of {n} training images is {wanted} label(s), but {n_classes} "
            f"classes need one each; use label_frac={_fraction(n_classes, n)} or more"
        )
    if wanted > n_known:
        raise UserError(
            f"label_frac={label_frac} of {n} training images is {wanted} labels, but only "
            f"{n_known} are known; use label_frac={_fraction(n_known, n)} or less, or "
            "label_frac=none for all of them"
        )
    return wanted


def _check_labels_per_class(
    labels_per_class: int, labels: Indices, class_names: Sequence[str]
) -> None:
    """Raise UserError if the smallest class has fewer known labels than asked for."""
    counts = np.bincount(labels[labels != UNKNOWN])
    smallest = int(counts.argmin())
    name = class_names[smallest] if class_names else smallest
    if counts[smallest] < labels_per_class:
        raise UserError(
            f"labels_per_class={labels_per_class} but class {name} has only "
            f"{counts[smallest]} known label(s) among the training images; use "
            f"labels_per_class={counts[smallest]} or less"
        )


def _fraction(wanted: int, n: int) -> str:
    """Shortest decimal whose share of n images is exactly `wanted`: for people to type."""
    for digits in range(1, 16):
        fraction = round(wanted / n, digits)
        if round(fraction * n) == wanted:
            return f"{fraction:.{digits}f}"
    return str(wanted / n)


def _too_few_for_validation(
    valid_frac: float, n_chosen: int, is_valid: NDArray[np.bool_], n: int
) -> str:
    """Say how many labels it takes until one goes to validation; is_valid in labelling order."""
    head = f"valid_frac={valid_frac} of {n_chosen} labels leaves no class a validation label"
    if not is_valid.any():
        return f"{head}, nor would all labels that are known; use valid_frac=0 or a larger one"
    needed = int(is_valid.argmax()) + 1
    of_a_class = -(-1 // Fraction(str(valid_frac)))  # the first j with j · valid_frac >= 1
    return (
        f"{head}; it takes {of_a_class} labels of a class, {needed} in all "
        f"(label_frac={_fraction(needed, n)}); label more, or use a larger valid_frac, "
        "or valid_frac=0 for none"
    )


def audit(split: Split, train_labels: LabelDoor, test_labels: LabelDoor) -> int:
    """Return labels_read, the number of distinct training labels that "train" has read.

    Raises RunFailure if one of them is neither labelled nor valid in the split, or if "train" has
    read a test label.
    """
    read = train_labels.indices_read("train")
    leaked = np.setdiff1d(read, np.union1d(split.labelled, split.valid))
    if len(leaked):
        raise RunFailure(
            f"label leak: training read {len(leaked)} label(s) the split does not allow (first: "
            f"training image {leaked[0]}); the split pays for {split.n_labels} labels: the "
            "result cannot be trusted; please report it"
        )
    if len(tested := test_labels.indices_read("train")):
        raise RunFailure(
            f"label leak: training read {len(tested)} test label(s) (first: test image "
            f"{tested[0]}): the result cannot be trusted; please report it"
        )
    return len(read)
