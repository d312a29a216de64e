"""What all figures look like: colours, title with its detail, axes, class names.

Colours: Okabe & Ito's palette, told apart by every common kind of colour vision.
"""

from __future__ import annotations

import functools
import math
import textwrap
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
LIGHT_BLUE = "#9fcbe6"  # lines drawn on it stay visible
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE)
INK, MUTED, GRID = "#1f2933", "#66717d", "#e4e7eb"
# Fonts of Linux, Windows and macOS that have the signs of Chinese, Japanese and Korean.
CJK = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC"),
    *("WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "IPAexGothic", "NanumGothic"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "PingFang SC", "Hiragino Sans"),
    *("Apple SD Gothic Neo", "Arial Unicode MS"),
)


def blank_figure(title: str, detail: str, width: float, height: float) -> Figure:
    """A blank white figure, in inches, with its title and n at the top left."""
    figure_of = _figure_type()
    figure = figure_of(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    per_line = int(width * 10.5)  # characters that fit across
    text = "\n".join(textwrap.fill(part, per_line) for part in (title, detail))
    figure.suptitle(
        text, x=0.01, ha="left", fontsize=11, color=INK, linespacing=1.4, parse_math=False
    )
    return figure


@functools.cache
def _figure_type() -> type[Figure]:
    """A figure whose words may be in any script; of signs that no font has it says nothing."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    others = _installed_cjk()

    class AnyScript(Figure):
        def draw(self, renderer: Any) -> None:
            for text in self.findobj(Text) if others else ():
                text.set_fontfamily(["sans-serif", *others])
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
                super().draw(renderer)

    return AnyScript


def _installed_cjk() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return [name for name in CJK if name in installed]


def font_file(text: str) -> str:
    """The file of the font that has most signs of a text in any script."""
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    def known(file: str) -> int:
        signs = FT2Font(file).get_charmap()
        return sum(ord(sign) in signs for sign in text)

    return max((findfont(name) for name in ("DejaVu Sans", *_installed_cjk())), key=known)


def single_axes(figure: Figure, x_label: str, y_label: str, grid: str | None) -> Axes:
    """The only axes of a figure."""
    axes = figure.subplots()
    style(axes, x_label, y_label, grid)
    return axes


def style(axes: Axes, x_label: str, y_label: str, grid: Any) -> None:
    """Labels, no box, light grid lines (x, y, both or None) behind the data."""
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=9)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)


def class_ticks(axes: Axes, which: str, class_names: Sequence[str]) -> None:
    """Name the classes on an axis: every one, or with many of them every second, fifth, …"""
    K = len(class_names)
    step = math.ceil(K / 40)
    shown, names = range(0, K, step), shortened(class_names)[::step]
    slanted = which == "x" and max(map(len, names)) > 3
    look: dict[str, Any] = (
        {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    )
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_ticks(shown, names, parse_math=False, **look)
    axis.set_tick_params(length=0)


def counted(n: int, noun: str) -> str:
    """'1 image', '1,797 images'."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def shortened(names: Sequence[str], length: int = 16) -> list[str]:
    """All names of classes, each short enough to fit beside a tick.

    Those that begin alike keep their ends, too; those that end alike as well get their number.
    """
    end = length // 2
    ways: tuple[Callable[[int, str], str], ...] = (
        lambda _, name: name[: length - 1] + "…",
        lambda _, name: name[: length - 1 - end] + "…" + name[-end:],
        lambda number, name: f"{number}: {name}"[: length - 1] + "…",
    )
    found = list(names)
    long = [number for number, name in enumerate(names) if len(name) > length]
    for way in ways:
        for number in long:
            found[number] = way(number, names[number])
        often = Counter(found)
        long = [number for number in long if often[found[number]] > 1]
    return found


def shortened_left(path: str, length: int) -> str:
    """A file's path, whose end says most."""
    return path if len(path) <= length else "…" + path[1 - length :]
