"""The report on a label curve: its answer as HTML, as Markdown, and as lines for a terminal."""

import math

from experiments.curve import page, tables, words
from experiments.curve.answer import About, Answer, Point, answer
from experiments.curve.labels_needed import Saved
from experiments.markdown import plain
from experiments.markdown import table as markdown_table

__all__ = ["About", "Answer", "answer", "html", "markdown", "question", "sentences", "told"]

NOTES = 5  # of them that a terminal shows


def question(given: Answer) -> str:
    """What the report answers."""
    others = [method for method in given.methods[1:] if method not in given.ceilings]
    verb = "do" if len(others) > 1 else "does"
    adds = f", and what {verb} {words.listed(others)} add to {given.baseline}" if others else ""
    return f"{given.about.dataset}: how far do n labels get me{adds}?"


def sentences(given: Answer) -> list[str]:
    """The answer: where each method stands, verdicts, labels saved and needed, images, rounds."""
    said = [_standing(given)]
    for method in given.saves:
        row = [one for one in given.comparisons if one.method == method]
        said.append(words.verdicts(method, given.baseline, row))
    for method, saves in given.saves.items():
        said += [_saving(given, method, found) for found in saves[:1] if not found.refusal]
    said += [_wanted(given, goal) for goal in given.goals]
    said += [_images(given, *key) for key in given.quality]
    best = min(
        (p for p in _largest(given) if p.method in given.rounds), key=lambda point: point.centre
    ).method
    said.append(words.next_rounds(best, given.rounds[best], given.curves[best]))
    return [sentence for sentence in said if sentence]


def told(given: Answer) -> list[str]:
    """Lines for a terminal: the answer, what weakens it, what failed, was cut or chosen."""
    notes = list(given.about.notes)
    if more := notes[NOTES:]:
        notes[NOTES:] = [f"{len(more)} more, which the report names"]
    said = [f"but: {doubt}" for doubt in given.doubts]
    return [*sentences(given), *said, *(f"note: {sentence}" for sentence in notes)]


def html(given: Answer) -> str:
    """One page that needs nothing else: no script, nothing fetched."""
    return page.html(given, question(given), sentences(given))


def markdown(given: Answer) -> str:
    """The same as Markdown, without pictures."""
    lines = [f"# {plain(question(given))}", ""]
    lines += [line for each in sentences(given) for line in (plain(each), "")]
    for table in tables.tables(given):
        lines += ["", f"**{plain(table.caption)}**", ""]
        lines += markdown_table(table.heads, table.rows)
    for title, items in (
        ("What weakens the claim", given.doubts),
        ("What failed, was cut or chosen", given.about.notes),
        ("What was run", [f"{name}: {value}" for name, value in tables.facts(given)]),
    ):
        if items:
            lines += ["", f"## {title}", "", *(f"- {plain(item)}" for item in items)]
    return "\n".join(lines) + "\n"


def _largest(given: Answer) -> list[Point]:
    """Every method's point at its largest count."""
    return [
        max((p for p in given.points if p.method == m), key=lambda p: p.n_labels)
        for m in given.methods
    ]


def _standing(given: Answer) -> str:
    points = _largest(given)
    ends = " (95 % intervals over seeds)" if any(math.isfinite(p.low) for p in points) else ""
    counts = {p.n_labels for p in points if p.method not in given.ceilings}
    if len(counts) > 1:
        return f"{words.listed([f'{_errs(p)} with {p.n_labels:,} labels' for p in points])}{ends}."
    said = words.listed([_errs(p) for p in points if p.method not in given.ceilings])
    above = [f"; {_errs(p)} with {p.n_labels:,}" for p in points if p.method in given.ceilings]
    return f"With {counts.pop():,} labels {said}{''.join(above)}{ends}."


def _errs(point: Point) -> str:
    return f"{point.method} errs {tables.over_seeds(point)}"


def _saving(given: Answer, method: str, found: Saved) -> str:
    largest = given.curves[given.baseline].counts[-1]  # of the fit, which needs three seeds a count
    return (
        f"At the {words.percent(found.error)} error of {given.baseline}'s fitted curve with "
        f"{largest:,.0f} labels, {method} {words.labels_saved(found)} (90 % interval)."
    )


def _wanted(given: Answer, goal: float) -> str:
    """The labels that an error which somebody wants needs."""
    needs = [
        f"{method}: {words.labels_needed(found)}"
        for method, all_of in given.needs.items()
        for found in all_of
        if found.error == goal
    ]
    return f"For an error of {words.goal(goal)}: {'; '.join(needs)} (90 % intervals)."


def _images(given: Answer, column: str, method: str) -> str:
    """How good a generator's images are, and the labels that the next round number needs."""
    last = given.quality_points[column, method][-1]
    real = f" (real images {words.percent(given.real[column])})" if column in given.real else ""
    now = f"{words.percent(1 - last.centre)} with {last.n_labels:,} labels{real}"
    said = f"{method}'s images, {tables.MEASURES[column]}: {now}"
    ahead = [n for n in given.quality_needs[column, method] if n.error < last.centre]
    if not ahead or (math.isinf(ahead[0].middle) and not math.isfinite(ahead[0].low)):
        return f"{said}."
    return f"{said}; {words.goal(1 - ahead[0].error)}: {words.labels_needed(ahead[0])}."
