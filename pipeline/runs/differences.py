"""What the training has found to differ between images with and without a label, in words."""

from collections.abc import Mapping

import pandas as pd

from pipeline import progress
from pipeline.data import Dataset
from pipeline.measure.class_shift import SHARE
from pipeline.tracking import Run

TOLD_APART, SURE = 0.6, 1e-3  # share told apart, and p-value, from which a difference is told
NAMED = 4  # classes that the sentence names
SHARES = "train/class_shares.csv"
FINDINGS = "ssgan.data_findings"  # tag: what is unusual in the data, in words


def tell(run: Run, dataset: Dataset, compared: Mapping[str, float]) -> None:
    """Say what is found, on stderr and on the run; the shares of the classes also as a table.

    compared: as `History.compared`.
    """
    sentences = [*_other_images(compared), *_other_shares(run, dataset, compared)]
    for sentence in sentences:
        progress.warn(f"dataset={dataset.name}: {sentence}.")
    if sentences:
        known = [found.sentence for found in dataset.findings]
        run.tags({FINDINGS: "; ".join([*known, *sentences])})


def _other_images(compared: Mapping[str, float]) -> list[str]:
    share = compared.get("unlabelled_told_apart", 0.5)
    if share < TOLD_APART or compared["unlabelled_p_value"] > SURE:
        return []
    return [
        f"images without a known label differ from those with one: a classifier tells {share:.0%} "
        "of them apart (50% is chance) by their features; if they show other things, "
        "come from another source or have another mix of classes, they may do harm: look at them, "
        "and compare with the baseline"
    ]


def _other_shares(run: Run, dataset: Dataset, compared: Mapping[str, float]) -> list[str]:
    found = {
        name: compared[f"{SHARE}{number}"]
        for number, name in enumerate(dataset.class_names)
        if f"{SHARE}{number}" in compared
    }
    if not found:
        return []
    run.table(pd.DataFrame({"class": [*found], "estimated_share": [*found.values()]}), SHARES)
    ranked = sorted(found, key=lambda name: -found[name])
    named = ranked if len(ranked) <= NAMED else [*ranked[: NAMED // 2], *ranked[-NAMED // 2 :]]
    shares = ", ".join(f"{name} {found[name]:.0%}" for name in named)
    return [
        f"the images have another mix of classes than the labels: about {shares}"
        f"{'' if named is ranked else ' (the largest and the smallest)'}; pseudo-labels follow "
        f"this estimate ({SHARES})"
    ]
