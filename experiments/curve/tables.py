"""The answer as tables of text: errors, verdicts, labels needed and saved, rounds, samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from experiments.curve import words
from experiments.curve.answer import SHARES, Answer, Point
from experiments.curve.statistics import LEAST_PAIRS, Comparison
from experiments.curve.table import SAMPLES

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
        (
            "versions that wrote the report",
            ", ".join(f"{name} {version}" for name, version in about.versions.items()),
        ),
        ("command", about.command),
    ]
    return [(name, value) for name, value in rows if value]


def _errors(answer: Answer) -> Table:
    counts = sorted({point.n_labels for point in answer.points})
    rows = []
    for n in counts:
        cells = [answer.point(method, n) for method in answer.methods]
        rows.append([f"{n:,}", *(over_seeds(point) if point else "–" for point in cells)])
    caption = "Test error by label count (median below 50 labels), " + (
        "95 % interval over seeds"
        if any(np.isfinite(point.low) for point in answer.points)
        else f"too few seeds for an interval (the least are {LEAST_PAIRS})"
    )
    return Table(caption, ["labels", *answer.methods], rows)


def over_seeds(point: Point) -> str:
    """An error with its interval, or with what too few seeds span."""
    return words.over_seeds(point.centre, point.low, point.high, point.values)


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
        [words.goal(found.error), method, words.labels_needed(found)]
        for method, needs in answer.needs.items()
        for found in needs
    ]
    rows.sort(key=lambda row: -float(row[0].split()[0]))
    return Table(
        "Labels that a test error needs, 90 % interval", ["error", "method", "labels"], rows
    )


def _saves(answer: Answer) -> Table:
    rows = [
        [_at(found.error), method, words.labels_saved(found)]
        for method, saves in answer.saves.items()
        for found in saves
        if np.isfinite(found.error)
    ]
    caption = f"Labels that a method saves over {answer.baseline}, 90 % interval"
    return Table(caption, ["error", "method", "labels"], rows)


def _at(error: float) -> str:
    """An error that was asked for, or one that was measured."""
    round_ = words.goal(error)
    return round_ if abs(float(round_.split()[0]) / 100 - error) < 1e-9 else words.percent(error)


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
    if rows and answer.real:
        rows.append(["real images", *(_measure(c, answer.real.get(c, np.nan)) for c in measured)])
    heads = ["method", *(MEASURES[column] for column in measured)]
    return Table("The generator's images, mean over seeds", heads, rows)


def _measure(column: str, value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return words.percent(value) if column in SHARES else f"{value:.3g}"


def _quality(answer: Answer) -> Table:
    rows = [
        [f"{words.goal(1 - need.error)} {MEASURES[column]}", method, words.labels_needed(need)]
        for (column, method), needs in answer.quality_needs.items()
        for need in needs
    ]
    caption = "Labels that the generator's images need, 90 % interval"
    return Table(caption, ["goal", "method", "labels"], rows)
