"""The answer as one page of HTML that needs nothing else, and as Markdown."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.curve import tables, words
from experiments.curve.answer import SHARES, Answer, Point
from experiments.curve.label_curve import Curve
from experiments.curve.table import SAMPLES

if TYPE_CHECKING:
    from pipeline.figures.curves import Series

TEMPLATES = Path(__file__).parent
SHEETS_BYTES = 3_000_000  # of all sheets of samples; larger ones are made smaller
SMALLEST_SHEET = 64  # pixels, below which a sheet is left out
LACKING = {
    SAMPLES[0]: "share of images not read as wanted",
    SAMPLES[1]: "share of real images not covered",
}


@dataclass(frozen=True)
class Figure:
    """A picture as a data address, and the same in words."""

    source: str
    alt: str
    caption: str = ""


def html(answer: Answer, question: str, said: Sequence[str]) -> str:
    """One self-contained page: no script, no address that is fetched, fit to be printed."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(
        answer=answer,
        about=answer.about,
        question=question,
        said=said,
        figures=_figures(answer),
        tables=tables.tables(answer),
        sheets=_sheets(answer.about.sheets),
        facts=tables.facts(answer),
    )


def _figures(answer: Answer) -> list[Figure]:
    name = answer.about.dataset
    series = [
        _series(i, [p for p in answer.points if p.method == method], answer.curves.get(method))
        for i, method in enumerate(answer.methods)
    ]
    words_ = (
        f"Test error over the number of labels. {_in_words(series)}. The table has the numbers."
    )
    figures = [_drawn(answer, series, f"{name}: test error", "test error (log)", words_)]
    for column in SHARES:
        series = [
            _series(i, answer.quality_points[key], answer.quality[key])
            for i, method in enumerate(answer.methods)
            if (key := (column, method)) in answer.quality
        ]
        if series:
            lacking = LACKING[column]
            words_ = f"{lacking} over the number of labels. {_in_words(series)}."
            figures.append(_drawn(answer, series, f"{name}: {lacking}", f"{lacking} (log)", words_))
    return figures


def _drawn(
    answer: Answer, series: "Sequence[Series]", title: str, y_label: str, alt: str
) -> Figure:
    from pipeline.figures import curves

    seeds = [of for one in series for of in one.seeds]
    smallest, detail = _smallest(answer, seeds), _detail(answer, seeds)
    figure = curves.label_curve(series, smallest, f"{title} by number of labels", detail, y_label)
    return Figure(_address(curves.svg(figure).encode(), "svg+xml"), alt)


def _smallest(answer: Answer, seeds: Sequence[Sequence[float]]) -> float:
    """Where 0 is drawn: half a test image over the most seeds of a count."""
    return 0.5 / answer.n_test / max(map(len, seeds))


def _detail(answer: Answer, seeds: Sequence[Sequence[float]]) -> str:
    """What the marks of a figure mean; seeds: the values that it shows, by method and count."""
    detail = (
        f"{answer.n_test:,} test images; dots: every seed; marks and bars: mean (median below 50 "
        "labels) and 95\N{NO-BREAK SPACE}% interval; lines and bands: fitted curve and "
        "90\N{NO-BREAK SPACE}% interval"
    )
    if min(map(min, seeds)) > 0:
        return detail
    return f"{detail}; 0 is drawn at {words.percent(_smallest(answer, seeds))}"


def _series(place: int, of: Sequence[Point], curve: Curve | None) -> "Series":
    from pipeline.figures.curves import Series

    grid, band, fitted_to = np.empty(0), np.empty((3, 0)), 0.0
    if curve is not None and not curve.refusal:
        grid, band, fitted_to = curve.grid, curve.at(curve.grid), float(curve.counts[-1])
    return Series(
        of[0].method,
        place,
        [point.n_labels for point in of],
        [point.centre for point in of],
        [point.low for point in of],
        [point.high for point in of],
        [point.values for point in of],
        grid,
        band,
        fitted_to,
        ceiling=curve is None,
    )


def _in_words(series: "Sequence[Series]") -> str:
    """What a figure shows, for those who do not see it."""
    lines = []
    for one in series:
        ends = f"{words.percent(one.centres[0])} with {one.counts[0]:,} labels"
        if len(one.counts) > 1:
            ends += f" to {words.percent(one.centres[-1])} with {one.counts[-1]:,}"
        lines.append(f"{one.name}: {ends}")
    return "; ".join(lines)


def _sheets(given: Mapping[tuple[str, int], bytes]) -> dict[str, list[Figure]]:
    """Samples by method, ascending by label count, together within `SHEETS_BYTES`."""
    share = SHEETS_BYTES // max(len(given), 1)
    found: dict[str, list[Figure]] = {}
    for (method, n), png in sorted(given.items()):
        kind, small = _within(png, share)
        if small:
            alt = f"Images drawn by the generator of {method} with {n:,} labels"
            figure = Figure(_address(small, kind), alt, f"{n:,} labels")
            found.setdefault(method, []).append(figure)
    return found


def _within(png: bytes, most: int) -> tuple[str, bytes]:
    """The picture itself, or a smaller WebP of at most so many bytes."""
    from PIL import Image

    if len(png) <= most:
        return "png", png
    with Image.open(BytesIO(png)) as opened:
        picture = opened.convert("RGB")
    while min(picture.size) >= SMALLEST_SHEET:
        written = BytesIO()
        picture.save(written, "WEBP", quality=85)
        if written.tell() <= most:
            return "webp", written.getvalue()
        picture = picture.resize((picture.width * 3 // 4, picture.height * 3 // 4))
    return "", b""


def _address(picture: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
