"""Figures made of images: sheets, samples, mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.figures.style import (
    INK,
    MUTED,
    blank_figure,
    counted,
    font_file,
    shortened,
    shortened_left,
    single_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TILE_PIXELS = 28  # smaller images are enlarged to at least this
LONGEST = 280  # unless their longer side would then exceed this: 1x3000 stays as it is
TILE_GAP = 2
NAME_GAP = 6  # pixels on both sides of a class's name
GAP_GREY = 235  # told apart from both black and white image borders
MISTAKES_SHOWN = 24
FILE_NAME = {"fontsize": 6.5, "color": MUTED, "ha": "center", "va": "top", "parse_math": False}


def contact_sheet(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Lay images [n, h, w, 1 or 3] out row by row as one RGB image [H, W, 3].

    Images under 28 pixels are enlarged by a whole factor, pixel by pixel; long ones less. Between
    tiles lies a gap of 2 pixels; with fewer images than columns the sheet is as wide as the images.
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


def class_sheet(
    images: NDArray[np.uint8], classes: NDArray[np.int64], class_names: Sequence[str]
) -> NDArray[np.uint8]:
    """`contact_sheet` of images [n, h, w, 1 or 3] with one class a row, its name before it.

    classes: int64 [n], in runs of equal length.
    """
    kinds = list(dict.fromkeys(classes.tolist()))
    sheet = contact_sheet(images, len(images) // len(kinds))
    step = (len(sheet) + TILE_GAP) / len(kinds)
    short = shortened(class_names, 20)
    names = [short[kind] for kind in kinds]
    font = _font("".join(names), min(14, 0.6 * step))
    width = math.ceil(max(font.getlength(name) for name in names)) + 2 * NAME_GAP
    margin = Image.new("RGB", (width, len(sheet)), "white")
    draw = ImageDraw.Draw(margin)
    for row, name in enumerate(names):
        place = (width - NAME_GAP, (row + 0.5) * step)
        draw.text(place, name, "black", font, anchor="rm")
    return np.hstack([np.asarray(margin), sheet])


def _font(text: str, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own font, which has no sign beyond ASCII but "…", or one that has those."""
    if text.replace("…", "").isascii():
        return ImageFont.load_default(size)
    return ImageFont.truetype(font_file(text), size)


def mistakes(
    images: NDArray[np.uint8], predictions: pd.DataFrame, class_names: Sequence[str], title: str
) -> Figure:
    """Show the most confident mistakes with true class, predicted class, confidence and file.

    Takes the test images [n, h, w, c] and `Classification.predictions`, whose `index` points into
    them; without a column `file` there is no file to name.
    """
    wrong = predictions[predictions["label"] != predictions["predicted"]]
    shown = wrong.sort_values("confidence", ascending=False, kind="stable").head(MISTAKES_SHOWN)
    detail = f"{counted(len(wrong), 'mistake')} in {counted(len(predictions), 'image')}"
    if len(wrong):
        detail += f"; the {len(shown)} most confident: true → predicted, confidence"
    columns = 6
    rows = math.ceil(len(shown) / columns)
    named = "file" in shown
    figure = blank_figure(title, detail, 9, (2.05 if named else 1.85) * rows + 0.8)
    if not rows:
        return figure
    names = shortened(class_names, 12)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    rows_shown = shown[["index", "label", "predicted", "confidence"]].to_numpy(np.float64)
    for number, (axes, row) in enumerate(zip(grid, rows_shown, strict=False)):
        index, label, predicted, confidence = row
        _show(axes, contact_sheet(images[int(index)][None], 1))
        caption = f"{names[int(label)]}\n→ {names[int(predicted)]}, {confidence:.0%}"
        axes.set_title(caption, fontsize=9, color=INK, parse_math=False)
        if named:
            file = shortened_left(str(shown["file"].iloc[number]), 22)
            axes.text(0.5, -0.04, file, **FILE_NAME, transform=axes.transAxes)
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
        detail = counted(len(images), "sample")
    else:
        classes, counts = np.unique(labels, return_counts=True)
        columns = int(counts.max())
        tiles = np.full((len(classes), columns, *images.shape[1:]), GAP_GREY, np.uint8)
        for row, (label, n) in enumerate(zip(classes, counts, strict=True)):
            tiles[row, :n] = images[labels == label]
        sheet = contact_sheet(tiles.reshape(-1, *images.shape[1:]), columns)
        short = shortened(class_names or [])
        names = [short[i] if short else str(i) for i in classes]
        detail = f"{counted(len(images), 'sample')}, one class per row"
        if class_names and len(classes) < len(class_names):
            detail += f", {len(classes)} of {len(class_names)} classes"
    height, width = sheet.shape[:2]
    scale = 7 / max(height, width)  # the longer side in inches
    figure = blank_figure(title, detail, max(width * scale, 4) + 0.9, height * scale + 0.8)
    axes = single_axes(figure, "", "class" if names else "", grid=None)
    _show(axes, sheet)
    if names:
        step = (height + TILE_GAP) / len(names)
        centres = [(row + 0.5) * step - 1.5 for row in range(len(names))]
        axes.set_yticks(centres, names, parse_math=False)
    return figure


def sample_pairs(samples: NDArray[np.uint8], training: NDArray[np.uint8], title: str) -> Figure:
    """Show samples [2, m, h, w, c] and below each the training image nearest to it, same shape.

    The first row of samples holds the nearest pairs of all, the second some drawn by chance.
    """
    tiles = np.stack([samples, training], axis=1)  # [2, 2, m, h, w, c]
    shape = tiles.shape[-3:]
    sheet = contact_sheet(tiles.reshape(-1, *shape), tiles.shape[2])
    height, width = sheet.shape[:2]
    scale = 7 / max(height, width)
    detail = "above: samples; below each: the training image nearest in the measures' features"
    figure = blank_figure(title, detail, max(width * scale, 4) + 1.5, height * scale + 0.9)
    axes = single_axes(figure, "", "", grid=None)
    _show(axes, sheet)
    step = (height + TILE_GAP) / 4
    rows = ["nearest pairs", "training", "any samples", "training"]
    axes.set_yticks([(row + 0.5) * step - 1.5 for row in range(4)], rows)
    return figure


def _show(axes: Axes, image: NDArray[np.uint8]) -> None:
    """An image without ticks and box."""
    axes.imshow(image, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _enlargement(images: NDArray[np.uint8]) -> int:
    """Whole factor that brings the shorter side of [n, h, w, c] to TILE_PIXELS, or near it."""
    shorter, longer = sorted(int(side) for side in images.shape[1:3])
    return max(1, min(math.ceil(TILE_PIXELS / shorter), LONGEST // longer))
