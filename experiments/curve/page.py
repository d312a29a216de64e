"""The answer as one page of HTML that needs nothing else, and as Markdown."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.curve import words
from experiments.curve.answer import SHARES, Answer
from experiments.curve.statistics import Comparison
from experiments.curve.table import SAMPLES

if TYPE_CHECKING:
    from pipeline.figures.curves import Series

TEMPLATES = Path(__file__).parent
SHEETS_BYTES = 3_000_000  # of all sheets of samples; larger ones are made smaller
SMALLEST_SHEET = 64  # pixels, below which a sheet is left out
MEASURES = {
    SAMPLES[0]: "read as wanted",
    SAMPLES[1]: "coverage",
    SAMPLES[2]: "density",
    SAMPLES[3]: "KID",
}


@dataclass(frozen=True)
class Table:
    """A table as text: a caption, heads of columns, rows whose first cell is the row's head."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


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
        tables=tables(answer),
        sheets=_sheets(answer.about.sheets),
        facts=facts(answer),
    )


def tables(answer: Answer) -> list[Table]:
    """Errors, verdicts, labels needed and saved, rounds, samples: those that there are."""
    found = [_errors(answer), _verdicts(answer.comparisons), _needs(answer), _saves(answer)]
    found += [_rounds(answer), _samples(answer), _quality(answer)]
    return [table for table in found if table.rows]


def facts(answer: Answer) -> list[tuple[str, str]]:
    """What was run: names and values."""
    about = answer.about
    seeds = sorted({len(point.values) for point in answer.points})
    rows = [
        ("data set", about.dataset),
        ("digest of the data", about.digest),
        ("digest of the code", about.code),
        ("methods", words.listed(answer.methods)),
        ("baseline", answer.baseline),
        ("label counts", ", ".join(f"{n:,}" for n in sorted({p.n_labels for p in answer.points}))),
        ("seeds a cell", "–".join(map(str, sorted({seeds[0], seeds[-1]})))),
        ("test images", f"{answer.n_test:,}"),
        ("images without a label", "" if about.n_unlabelled is None else f"{about.n_unlabelled:,}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in about.versions.items())),
        ("command", about.command),
    ]
    return [(name, value) for name, value in rows if value]


def _errors(answer: Answer) -> Table:
    counts = sorted({point.n_labels for point in answer.points})
    rows = []
    for n in counts:
        cells = [answer.point(method, n) for method in answer.methods]
        rows.append(
            [f"{n:,}", *(words.interval(p.centre, p.low, p.high) if p else "–" for p in cells)]
        )
    caption = "Test error by label count, 95 % interval over seeds (median below 50 labels)"
    return Table(caption, ["labels", *answer.methods], rows)


def _verdicts(comparisons: Sequence[Comparison]) -> Table:
    rows = [
        [
            f"{one.method}, {one.n_labels:,} labels",
            str(len(one.differences)),
            words.difference(one),
            f"{one.p_value:.2g}",
            f"{one.adjusted:.2g}",
            words.verdict(one),
        ]
        for one in comparisons
    ]
    caption = "Beside the baseline: difference of paired seeds, above 0 the method is better"
    heads = ["method", "pairs", "difference, 95 % interval", "p", "p after Holm", "verdict"]
    return Table(caption, heads, rows)


def _needs(answer: Answer) -> Table:
    rows = [
        [f"{words.percent(found.error)} error", method, words.labels_needed(found)]
        for method, needs in answer.needs.items()
        for found in needs
    ]
    rows.sort(key=lambda row: -float(row[0].split()[0]))
    return Table("Labels that an error needs, 90 % interval", ["goal", "method", "labels"], rows)


def _saves(answer: Answer) -> Table:
    rows = [
        [f"{words.percent(found.error)} error", method, words.labels_saved(found)]
        for method, saves in answer.saves.items()
        for found in saves
        if np.isfinite(found.error)
    ]
    caption = f"Labels that a method saves over {answer.baseline}, 90 % interval"
    return Table(caption, ["at", "method", "labels"], rows)


def _rounds(answer: Answer) -> Table:
    rows = [
        [method, f"{one.n_labels:,}", words.interval(one.expected, one.low, one.high)]
        for method, found in answer.rounds.items()
        for one in found
    ]
    caption = "What to label next: expected error after each round, 90 % interval"
    return Table(caption, ["method", "labels in all", "expected error"], rows)


def _samples(answer: Answer) -> Table:
    measured = [c for c in SAMPLES if any(c in point.samples for point in answer.points)]
    rows = [
        [
            f"{point.method}, {point.n_labels:,} labels",
            *(_measure(column, point.samples.get(column, np.nan)) for column in measured),
        ]
        for point in answer.points
        if point.samples
    ]
    heads = ["method", *(MEASURES[column] for column in measured)]
    return Table("The generator's images, mean over seeds", heads, rows)


def _measure(column: str, value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return words.percent(value) if column in SHARES else f"{value:.3g}"


def _quality(answer: Answer) -> Table:
    rows = [
        [f"{words.percent(1 - need.error)} {MEASURES[column]}", method, words.labels_needed(need)]
        for (column, method), needs in answer.quality_needs.items()
        for need in needs
    ]
    caption = "Labels that the generator's images need, 90 % interval"
    return Table(caption, ["goal", "method", "labels"], rows)


def _figures(answer: Answer) -> list[Figure]:
    from pipeline.figures import curves

    detail = (
        f"{answer.n_test:,} test images; dots: every seed; marks and bars: mean (median below 50 "
        "labels) and 95 % interval; lines and bands: fitted curve and 90 % interval"
    )
    title = f"{answer.about.dataset}: test error by number of labels"
    series = [_series(answer, method) for method in answer.methods]
    drawn = curves.label_curve(series, 0.5 / answer.n_test, title, detail, "test error (log)")
    return [Figure(_address(curves.svg(drawn).encode(), "svg+xml"), _in_words(answer), title)]


def _series(answer: Answer, method: str) -> "Series":
    from pipeline.figures.curves import Series

    of = [point for point in answer.points if point.method == method]
    curve = answer.curves[method]
    grid, band = curve.grid, np.empty((3, 0))
    if not curve.refusal:
        band = curve.at(grid)
    return Series(
        method,
        [point.n_labels for point in of],
        [point.centre for point in of],
        [point.low for point in of],
        [point.high for point in of],
        [point.values for point in of],
        grid,
        band,
    )


def _in_words(answer: Answer) -> str:
    """What the figure shows, for those who do not see it."""
    lines = []
    for method in answer.methods:
        of = [point for point in answer.points if point.method == method]
        ends = f"{words.percent(of[0].centre)} with {of[0].n_labels:,} labels"
        if len(of) > 1:
            ends += f" to {words.percent(of[-1].centre)} with {of[-1].n_labels:,}"
        lines.append(f"{method}: {ends}")
    return f"Test error over the number of labels. {'; '.join(lines)}. The table has all numbers."


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
