"""The report, logged to its run and written beside it."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.curve import report
from experiments.curve.grid import Grid, folder
from experiments.curve.report import Answer
from pipeline import progress, tracking
from pipeline.errors import UserError
from pipeline.tracking import Run

HTML, MARKDOWN, CELLS = "report.html", "report.md", "cells.csv"
NOTE_LENGTH = 5000  # characters of a run's description, which every store takes


@dataclass(frozen=True)
class Given:
    """What a command ends with."""

    lines: Sequence[str]  # the answer first
    files: Path  # folder of report.md and cells.csv
    page: Path  # the report
    address: str  # of the run that holds the same


def written(answer: Answer, frame: pd.DataFrame, run: Run, there: Path, out: str | None) -> Given:
    """Log the report to its run, then write the same beside it."""
    page = Path(out).expanduser() if out else there / HTML
    html, markdown, lines = report.html(answer), report.markdown(answer), report.told(answer)
    run.text(html, HTML)
    run.text(markdown, MARKDOWN)
    run.table(frame, CELLS)
    run.tags({tracking.NOTE: "\n\n".join([report.question(answer), *lines])[:NOTE_LENGTH]})
    kept_there = f"the run has the report as an artifact: {run.address}"
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(html, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{_unwritable(page, error)} {kept_there}") from None
    try:
        there.mkdir(parents=True, exist_ok=True)
        (there / MARKDOWN).write_text(markdown, encoding="utf-8")
        frame.to_csv(there / CELLS, index=False)
    except OSError as error:
        if not out:
            raise UserError(f"{_unwritable(page, error)} {kept_there}") from None
        reason = error.strerror
        progress.note(f"{there}/{MARKDOWN} and {CELLS} cannot be written ({reason}); {kept_there}")
    return Given(lines, there, page, run.address)


def check_writable(grid: Grid) -> None:
    """Try where the report is to lie, before anything else; makes nothing.

    Raises:
        UserError: nothing can be written there.
    """
    out = grid.settings.out
    page = Path(out).expanduser() if out else folder(grid.name) / HTML
    tried = page
    try:
        if page.exists():
            with page.open("ab"):
                return
        tried = next(path for path in page.absolute().parents if path.exists())
        with tempfile.TemporaryFile(dir=tried):
            pass
    except OSError as error:
        error.filename = str(tried)
        raise UserError(_unwritable(page, error)) from None


def _unwritable(page: Path, error: OSError) -> str:
    return (
        f"out = {page}: {error.filename} cannot be written ({error.strerror}); give "
        "another file by --out."
    )
