"""Every picture of a run: arrays and tables in, a matplotlib Figure out; nothing is saved here.

Uses the object API only (`matplotlib.figure.Figure`), so no window system, no global state and no
figure left open. matplotlib takes half a second to import and is imported by the first figure.
Colours: Okabe & Ito's palette, told apart by every common kind of colour vision.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
LIGHT_BLUE = "#9fcbe6"  # lines drawn on it stay visible
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE)
INK, MUTED, GRID = "#1f2933", "#66717d", "#e4e7eb"

TILE_PIXELS = 28  # smaller images are enlarged to at least this
TILE_GAP = 2
GAP_GREY = 235  # told apart from both black and white image borders
MISTAKES_SHOWN = 24
NUMBERS_UP_TO = 20  # classes; a larger confusion matrix has no room for numbers


def contact_sheet(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Lay images [n, h, w, 1 or 3] out row by row as one RGB image [H, W, 3].

    Images under 28 pixels are enlarged by a whole factor, pixel by pixel. Between tiles lies a gap
    of 2 pixels; with fewer images than columns the sheet is as wide as the images.
    Raises ValueError without an image, without a column, or for other channels.
    """
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or len(images) == 0 or columns < 1:
        raise ValueError(f"need images [n, h, w, 1 or 3], got {images.shape}, columns={columns}")
    factor = _enlargement(images)
    tiles = np.repeat(np.repeat(images, factor, axis=1), factor, axis=2)
    n, h, w, _ = tiles.shape
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    step_y, step_x = h + TILE_GAP, w + TILE_GAP
    sheet = np.full((rows * step_y, columns * step_x, 3), GAP_GREY, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * step_y, i % columns * step_x
        sheet[y : y + h, x : x + w] = tile  # one grey channel fills all three
    return sheet[:-TILE_GAP, :-TILE_GAP]


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
        f"{_count(n, 'image')}, {_count(wrong, 'mistake')}; blue: share of the true class, "
        "orange: relative to the most frequent mistake"
    )
    figure = _figure(title, detail, side + 0.4, side)
    axes = _axes(figure, "predicted class", "true class", grid=None)
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
    _class_ticks(axes, "x", class_names)
    _class_ticks(axes, "y", class_names)
    axes.spines[:].set_visible(False)
    return figure


def reliability(reliability_frame: pd.DataFrame, ece: float, title: str) -> Figure:
    """Draw accuracy over confidence with the number of images per bin below.

    Takes `Classification.reliability` and the ECE as a fraction (Guo et al. 2017).
    """
    frame = reliability_frame
    detail = f"{_count(int(frame['n'].sum()), 'image')}, expected calibration error {ece:.1%}"
    figure = _figure(title, detail, 5.4, 6)
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
    _style(top, "", "accuracy (share of images)", grid="y")
    _style(bottom, "confidence (probability of the predicted class)", "images (log)", grid="y")
    return figure


def mistakes(
    images: NDArray[np.uint8], predictions: pd.DataFrame, class_names: Sequence[str], title: str
) -> Figure:
    """Show the most confident mistakes with true class, predicted class and confidence.

    Takes the test images [n, h, w, c] and `Classification.predictions`, whose `index` points into
    them.
    """
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    shown = wrong.sort_values("confidence", ascending=False, kind="stable").head(MISTAKES_SHOWN)
    detail = f"{_count(len(wrong), 'mistake')} in {_count(len(predictions), 'image')}"
    if len(wrong):
        detail += f"; the {len(shown)} most confident: true → predicted, confidence"
    columns = 6
    rows = math.ceil(len(shown) / columns)
    figure = _figure(title, detail, 9, 1.85 * rows + 0.8)
    if not rows:
        return figure
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    rows_shown = shown[["index", "label", "predicted", "confidence"]].to_numpy(np.float64)
    for axes, (index, label, predicted, confidence) in zip(grid, rows_shown, strict=False):
        _show(axes, contact_sheet(images[int(index)][None], 1))
        names = [_short(class_names[int(i)], 12) for i in (label, predicted)]
        caption = f"{names[0]}\n→ {names[1]}, {confidence:.0%}"
        axes.set_title(caption, fontsize=9, color=INK, parse_math=False)
    return figure


def sample_grid(
    images: NDArray[np.uint8],
    title: str,
    labels: NDArray[np.int64] | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Show generated images [n, h, w, c] in a square, or, with labels [n], one class per row.

    A row of a class with few images ends early. Without class_names the rows are numbered.
    """
    if labels is None:
        columns = math.ceil(math.sqrt(len(images)))
        sheet, names = contact_sheet(images, columns), None
        detail = _count(len(images), "sample")
    else:
        classes, counts = np.unique(labels, return_counts=True)
        columns = int(counts.max())
        blank = np.full((len(classes), columns, *images.shape[1:]), GAP_GREY, np.uint8)
        for row, (label, n) in enumerate(zip(classes, counts, strict=True)):
            blank[row, :n] = images[labels == label]
        sheet = contact_sheet(blank.reshape(-1, *images.shape[1:]), columns)
        names = [class_names[i] if class_names else str(i) for i in classes]
        detail = f"{_count(len(images), 'sample')}, one class per row"
    height, width = sheet.shape[:2]
    scale = 7 / max(height, width)  # the longer side in inches
    figure = _figure(title, detail, max(width * scale, 4) + 0.9, height * scale + 0.8)
    axes = _axes(figure, "", "class" if names else "", grid=None)
    _show(axes, sheet)
    if names:
        step = (height + TILE_GAP) / len(names)
        centres = [(row + 0.5) * step - 1.5 for row in range(len(names))]
        axes.set_yticks(centres, [_short(name) for name in names], parse_math=False)
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
        f"{_count(n_labelled + n_valid, 'label')}: {n_labelled:,} for training, {n_valid:,} for "
        f"validation; {_count(unlabelled, 'image')} unlabelled"
    )
    figure = _figure(title, detail, float(np.clip(0.5 * K + 2, 6, 14)), 4)
    axes = _axes(figure, "class", "labels (images)", grid="y")
    axes.bar(range(K), counts["labelled"], color=BLUE, width=0.7, label="training")
    if n_valid:
        bottom = counts["labelled"]
        axes.bar(range(K), counts["valid"], 0.7, bottom, color=ORANGE, label="validation")
        axes.margins(y=0.18)  # room for the legend
        axes.legend(loc="upper right", frameon=False, fontsize=9, ncols=2)
    _class_ticks(axes, "x", class_names)
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
    figure = _figure(title, _count(last, "optimiser step"), 8, 2.3 * rows + 0.7)
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False).ravel()
    for axes, name in zip(panels, units or ["nothing reported"], strict=True):
        _style(axes, "", name, grid="both")
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


def _figure(title: str, detail: str, width: float, height: float) -> Figure:
    """A blank white figure, in inches, with its title and n at the top left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    per_line = int(width * 10.5)  # characters that fit across
    text = "\n".join(textwrap.fill(part, per_line) for part in (title, detail))
    figure.suptitle(
        text, x=0.01, ha="left", fontsize=11, color=INK, linespacing=1.4, parse_math=False
    )
    return figure


def _axes(figure: Figure, x_label: str, y_label: str, grid: str | None) -> Axes:
    """The only axes of a figure."""
    axes = figure.subplots()
    _style(axes, x_label, y_label, grid)
    return axes


def _style(axes: Axes, x_label: str, y_label: str, grid: Any) -> None:
    """Labels, no box, light grid lines (x, y, both or None) behind the data."""
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)


def _show(axes: Axes, image: NDArray[np.uint8]) -> None:
    """An image without ticks and box."""
    axes.imshow(image, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _class_ticks(axes: Axes, which: str, class_names: Sequence[str]) -> None:
    """Name the classes on an axis: every one, or with many of them every second, fifth, …"""
    K = len(class_names)
    shown = range(0, K, math.ceil(K / 40))
    names = [_short(class_names[i]) for i in shown]
    slanted = which == "x" and max(map(len, names)) > 3
    look: dict[str, Any] = (
        {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    )
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(shown, names, parse_math=False, **look)
    axis.set_tick_params(length=0)


def _unit(name: str) -> str:
    """The axis label a reported metric belongs to."""
    if name.endswith("loss"):
        return "loss"
    if name.endswith("error"):
        return "error (share)"
    return name.rsplit("/", maxsplit=1)[-1].replace("_per_second", " / s").replace("_", " ")


def _enlargement(images: NDArray[np.uint8]) -> int:
    """Whole factor that brings the shorter side of [n, h, w, c] to TILE_PIXELS or more."""
    return math.ceil(TILE_PIXELS / min(int(side) for side in images.shape[1:3]))


def _count(n: int, noun: str) -> str:
    """'1 image', '1,797 images'."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _short(name: str, length: int = 16) -> str:
    """A class name that fits beside a tick."""
    return name if len(name) <= length else name[: length - 1] + "…"
