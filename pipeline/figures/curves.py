"""Figures over the number of labels: errors of methods with every seed, intervals and forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.figures.style import (
    INK,
    MUTED,
    PALETTE,
    blank_figure,
    shortened,
    single_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "osD^vP"  # methods are told apart without colour too
APART = 0.02  # of a decade, between methods at the same count
WIDEST = 0.14  # of a decade, from the first of many methods to the last: within the margin
MARGIN = 1.2  # factor around what is drawn

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """One method: shares in [0, 1] over numbers of labels.

    place: of the method among all, which decides colour and mark in every figure.
    counts, centres, lows, highs: [m], the ends NaN where there is no interval; seeds: m rows of
    single trainings; grid [g] and band [3, g] (middle, low, high): the fitted curve, empty if none;
    fitted_to: the largest count that it was fitted to.
    """

    name: str
    place: int
    counts: Sequence[int]
    centres: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]
    seeds: Sequence[Sequence[float]]
    grid: Floats
    band: Floats
    fitted_to: float = 0.0
    ceiling: bool = False  # at one count far off: a line across at its centre


def label_curve(
    series: Sequence[Series], smallest: float, title: str, detail: str, y_label: str
) -> Figure:
    """Draw shares over labels, both axes logarithmic; what is forecast is dashed.

    smallest: where a share of 0 is drawn.
    """
    names = shortened([one.name for one in series], 28)
    series = [replace(one, name=name) for one, name in zip(series, names, strict=True)]
    figure = blank_figure(title, detail, 8.6, 5.4)
    axes = single_axes(figure, "labels (log)", y_label, grid="both")
    axes.set(xscale="log", yscale="log")
    lines = [one for one in series if not one.ceiling]
    middle = (len(lines) - 1) / 2
    apart = min(APART, WIDEST / max(len(lines) - 1, 1))
    for one in series:
        if one.ceiling:
            _draw_ceiling(axes, one, smallest)
    for i, one in enumerate(lines):
        _draw(axes, one, 10 ** (apart * (i - middle)), smallest)
    _limits(axes, series, smallest)
    _ticks(axes, sorted({n for one in lines for n in one.counts}))
    legend = axes.legend(loc="upper right", frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def svg(figure: Figure) -> str:
    """The figure as SVG, its letters as outlines: the same without any font, and every time."""
    import matplotlib as mpl

    written = StringIO()
    with mpl.rc_context({"svg.fonttype": "path", "svg.hashsalt": "ssgan"}):
        figure.savefig(
            written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
    return written.getvalue()


def _draw(axes: Axes, one: Series, shift: float, smallest: float) -> None:
    colour, marker = PALETTE[one.place % len(PALETTE)], MARKERS[one.place % len(MARKERS)]
    x = np.asarray(one.counts, float) * shift
    for n, values in zip(x, one.seeds, strict=True):
        shown = np.maximum(values, smallest)
        axes.plot(
            np.full(len(shown), n), shown, ".", color=colour, alpha=0.5, ms=5, zorder=2, mew=0
        )
    centres = np.maximum(one.centres, smallest)
    ends: Any = np.maximum(np.stack([one.lows, one.highs]), smallest)
    bars = np.abs(np.where(np.isfinite(ends), ends, centres) - centres)
    axes.errorbar(
        x,
        centres,
        yerr=bars,
        fmt=marker,
        color=colour,
        markersize=6,
        capsize=3,
        linewidth=1.4,
        label=one.name,
        zorder=4,
    )
    if not len(one.grid):
        axes.plot(x, centres, color=colour, linewidth=1, zorder=3)
        return
    known = one.grid <= one.fitted_to * (1 + 1e-9)
    axes.plot(one.grid[known], one.band[0, known], color=colour, linewidth=1.4, zorder=3)
    ahead = np.append(~known[1:], True)  # the last known place too, so that the line goes on
    axes.plot(
        one.grid[ahead], one.band[0, ahead], color=colour, linewidth=1.4, linestyle="--", zorder=3
    )
    axes.fill_between(one.grid, one.band[1], one.band[2], color=colour, alpha=0.12, linewidth=0)


def _draw_ceiling(axes: Axes, one: Series, smallest: float) -> None:
    colour, seeds = PALETTE[one.place % len(PALETTE)], np.maximum(one.seeds[0], smallest)
    at_the_edge: Any = {"transform": axes.get_yaxis_transform(), "clip_on": False}
    axes.plot(
        np.full(len(seeds), 0.992), seeds, ".", color=colour, alpha=0.5, ms=5, mew=0, **at_the_edge
    )
    axes.axhline(
        max(one.centres[0], smallest),
        color=colour,
        linestyle="-.",
        linewidth=1.2,
        label=f"{one.name}, {one.counts[0]:,} labels",
        zorder=2,
    )


def _limits(axes: Axes, series: Sequence[Series], smallest: float) -> None:
    """Room around all that is drawn, even around a single mark."""
    right = max([one.grid[-1] for one in series if len(one.grid)], default=0)
    counts = [n for one in series if not one.ceiling for n in one.counts]
    axes.set_xlim(min(counts) / MARGIN, max(right, *counts, 0) * MARGIN)
    values = [v for one in series for v in (*one.centres, *one.lows, *one.highs)]
    values += [v for one in series for of in one.seeds for v in of]
    shown = np.concatenate([values, *(one.band.ravel() for one in series)])
    shown = np.maximum(shown[np.isfinite(shown)], smallest)
    axes.set_ylim(shown.min() / MARGIN, shown.max() * MARGIN)


def _ticks(axes: Axes, counts: Sequence[int]) -> None:
    """Label the counts that were run and, up the side, round shares of 100."""
    from matplotlib.ticker import FixedLocator, FuncFormatter

    low, high = axes.get_xlim()
    kept: list[float] = []
    for n in (*counts, 2 * counts[-1], 4 * counts[-1]):
        if n <= high and (not kept or n / kept[-1] > (high / low) ** 0.045):
            kept.append(float(n))  # others would run into their neighbours
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axes.yaxis.set_major_locator(FixedLocator(_round_shares(*axes.get_ylim())))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(FixedLocator([]))
    if high > counts[-1] * 2:
        axes.axvline(counts[-1] * 1.06, color=MUTED, linewidth=0.8, linestyle=":")
        axes.annotate(
            "forecast",
            (counts[-1] * 1.1, 0.02),
            xycoords=("data", "axes fraction"),
            fontsize=9,
            color=INK,
        )


def _round_shares(low: float, high: float) -> list[float]:
    """At least three round numbers in an interval, if there are."""
    found: list[float] = []
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), np.arange(1, 10, 0.5)):
        found = [s * 10.0**k for k in range(-7, 1) for s in steps if low <= s * 10.0**k <= high]
        if len(found) >= 3:
            break
    return found
