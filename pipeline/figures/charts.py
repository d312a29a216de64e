"""Figures made of numbers: confusion, calibration, labels per class, learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.figures.style import (
    BLUE,
    INK,
    LIGHT_BLUE,
    MUTED,
    ORANGE,
    PALETTE,
    VERMILION,
    blank_figure,
    class_ticks,
    counted,
    single_axes,
    style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUMBERS_UP_TO = 20  # classes; a larger confusion matrix has no room for numbers


def confusion_matrix(
    confusion: NDArray[np.int64], class_names: Sequence[str], title: str
) -> Figure:
    """Draw counts [K, K], rows = true class; the colour is the share of the row.

    The diagonal and the mistakes have colours of their own, because a good classifier's mistakes
    would vanish on the diagonal's scale.
    """
    n, K = int(confusion.sum()), len(confusion)
    wrong = n - int(np.trace(confusion))
    side = float(np.clip(0.48 * K + 2.2, 5, 11))
    detail = (
        f"{counted(n, 'image')}, {counted(wrong, 'mistake')}; blue: share of the true class, "
        "orange: relative to the most frequent mistake"
    )
    figure = blank_figure(title, detail, side + 0.4, side)
    axes = single_axes(figure, "predicted class", "true class", grid=None)
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    diagonal = np.eye(K, dtype=bool)
    largest = max(float(share[~diagonal].max(initial=0)), 0.01)
    axes.imshow(np.ma.masked_array(share, ~diagonal), cmap="Blues", vmin=0, vmax=1.3)
    mistakes = np.ma.masked_array(share, diagonal | (confusion == 0))
    axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=1.6 * largest)
    if K <= NUMBERS_UP_TO:
        for i, j in np.argwhere(confusion > 0):
            colour = "white" if i == j and share[i, j] > 0.6 else INK
            axes.text(j, i, f"{confusion[i, j]:,}", ha="center", va="center", color=colour, size=9)
    class_ticks(axes, "x", class_names)
    class_ticks(axes, "y", class_names)
    axes.spines[:].set_visible(False)
    return figure


def reliability(reliability_frame: pd.DataFrame, ece: float, title: str) -> Figure:
    """Draw accuracy over confidence with the number of images per bin below.

    Takes `Classification.reliability` and the ECE as a fraction (Guo et al. 2017).
    """
    frame = reliability_frame
    detail = f"{counted(int(frame['n'].sum()), 'image')}, expected calibration error {ece:.1%}"
    figure = blank_figure(title, detail, 5.4, 6)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width = frame["high"] - frame["low"]
    bars = {"align": "edge", "edgecolor": "white", "linewidth": 1}
    top.bar(frame["low"], frame["accuracy"], width, color=LIGHT_BLUE, label="accuracy", **bars)
    top.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="calibrated")
    top.plot(
        frame["confidence"],
        frame["accuracy"],
        color=VERMILION,
        marker="o",
        markersize=5,
        linestyle="none",
        label="mean confidence of the bin",
    )
    top.set(xlim=(0, 1), ylim=(0, 1.02))
    top.legend(loc="upper left", frameon=False, fontsize=9)
    bottom.bar(frame["low"], frame["n"], width, color=MUTED, **bars)
    bottom.set_yscale("symlog", linthresh=1)  # most images lie in the last bin
    style(top, "", "accuracy (share of images)", grid="y")
    style(bottom, "confidence (probability of the predicted class)", "images (log)", grid="y")
    return figure


def label_counts(manifest: pd.DataFrame, class_names: Sequence[str], title: str) -> Figure:
    """Draw the labels a run pays for: labelled and validation images per class.

    Takes the split's manifest (index, part, label); the other parts have no label in it.
    """
    K = len(class_names)
    counts = {
        part: np.bincount(manifest.loc[manifest["part"] == part, "label"], minlength=K)
        for part in ("labelled", "valid")
    }
    n_labelled, n_valid = (int(c.sum()) for c in counts.values())
    unlabelled = int((manifest["part"] == "unlabelled").sum())
    detail = (
        f"{counted(n_labelled + n_valid, 'label')}: {n_labelled:,} for training, {n_valid:,} for "
        f"validation; {counted(unlabelled, 'image')} unlabelled"
    )
    figure = blank_figure(title, detail, float(np.clip(0.5 * K + 2, 6, 14)), 4)
    axes = single_axes(figure, "class", "labels (images)", grid="y")
    axes.bar(range(K), counts["labelled"], color=BLUE, width=0.7, label="training")
    if n_valid:
        bottom = counts["labelled"]
        axes.bar(range(K), counts["valid"], 0.7, bottom, color=ORANGE, label="validation")
        axes.margins(y=0.18)  # room for the legend
        axes.legend(loc="upper right", frameon=False, fontsize=9, ncols=2)
    class_ticks(axes, "x", class_names)
    axes.locator_params(axis="y", integer=True)
    return figure


def learning_curves(history: pd.DataFrame, title: str) -> Figure:
    """Draw what training reported (columns step, name, value), one panel for each unit.

    Names that end in "loss" share a panel, so do those that end in "error"; any other has its own.
    """
    unit = history["name"].map(_unit)
    units = sorted(unit.unique(), key=lambda u: (u not in ("error (share)", "loss"), u))
    rows = max(len(units), 1)
    last = int(history["step"].max()) if units else 0
    figure = blank_figure(title, counted(last, "optimiser step"), 8, 2.3 * rows + 0.7)
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False).ravel()
    for axes, name in zip(panels, units or ["nothing reported"], strict=True):
        style(axes, "", name, grid="both")
        _plot_series(axes, history[unit == name])
        if name.startswith("error"):
            axes.set_ylim(bottom=0)
    panels[-1].set_xlabel("optimiser step", color=INK)
    return figure


def _plot_series(axes: Axes, history: pd.DataFrame) -> None:
    """One line for each name in (step, name, value), with the legend beside the axes."""
    series = list(history.sort_values("step").groupby("name"))
    for i, (name, rows) in enumerate(series):
        axes.plot(
            rows["step"],
            rows["value"],
            color=PALETTE[i % len(PALETTE)],
            linestyle=("-", "--", ":")[i // len(PALETTE) % 3],
            linewidth=1.6,
            marker="o" if len(rows) < 30 else "",  # keeps a series of one report visible
            markersize=3,
            label=str(name).removesuffix("_loss"),
        )
    if series:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)


def _unit(name: str) -> str:
    """The axis label a reported metric belongs to."""
    if name.endswith("loss"):
        return "loss"
    if name.endswith("error"):
        return "error (share)"
    return name.rsplit("/", maxsplit=1)[-1].replace("_per_second", " / s").replace("_", " ")
