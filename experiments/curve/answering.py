"""From finished cells to the report: built, logged to the summary run, written beside it."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from experiments.curve import collect, report
from experiments.curve.grid import Cell, Grid, folder
from experiments.curve.report import About, Answer
from experiments.curve.settings import SUPERVISED
from experiments.curve.table import METHOD, N_LABELS
from experiments.curve.work import State
from pipeline import progress, tracking
from pipeline.data import Dataset
from pipeline.errors import RunFailure, UserError
from pipeline.runs import provenance
from pipeline.tracking import Found, Run

HTML, MARKDOWN, CELLS = "report.html", "report.md", "cells.csv"
WANTED = "cells.json"  # what the curve's last command asked for: `remember`
NOTE_LENGTH = 5000  # characters of a run's description, which every store takes
NAMED = 3  # trainings without a result that a sentence names
REASON_LENGTH = 150  # characters of a failure's reason that a sentence repeats


@dataclass(frozen=True)
class Given:
    """What a command ends with."""

    lines: Sequence[str]  # the answer first
    files: Path  # folder of report.md and cells.csv
    page: Path  # the report
    address: str  # of the run that holds the same


class Asked(NamedTuple):
    """A report that is wanted."""

    filter: str  # of MLflow's
    experiment: str | None
    curve: str | None
    against: str | None  # None: the curve's own, or else `supervised`
    out: str | None


def give(
    grid: Grid, run: Run, now: State, words: Sequence[str], command: str, dataset: Dataset
) -> Given:
    """The report on all finished cells of a curve.

    Args:
        grid: what was asked for.
        run: the summary run.
        now: of the cells.
        words: what was cut or chosen, in sentences.
        command: that makes it again.
        dataset: of the curve.

    Raises:
        RunFailure: no cell has ended well.
    """
    progress.phase("writing the report")
    cells = grid.cells()
    found = [now.finished[cell.digest] for cell in cells if cell.digest in now.finished]
    frame = collect.table(found)
    if frame.empty:
        why = "; ".join(_failures(now)[-1:]) or "none has been done"
        raise RunFailure(f"curve {grid.name}: there is nothing to report on: {why}.")
    notes = _failures(now)
    missing = len(cells) - len(found) - sum(cell.digest in now.failed for cell in cells)
    if missing:
        notes.append(f"{missing} of {len(cells)} trainings were not done")
    notes += words
    assert grid.data is not None
    most = int(collect.besides_ceiling(frame)[N_LABELS].max())
    unlabelled = grid.data.n_images - most
    against, doubts = grid.against, _lost(cells, now)
    if against not in set(frame[METHOD]):
        against = next(m for m in grid.settings.methods if m in set(frame[METHOD]))
        doubts.append(f"All is compared with {against}, as {grid.against} has no result.")
    about = _about(frame, dataset.name, command, unlabelled, notes, doubts)
    answer = report.answer(frame, against, about)
    return _written(answer, frame, run, folder(grid.name), grid.settings.out)


def remember(run: Run, grid: Grid, cells: Sequence[Cell]) -> None:
    """Keep with the summary run which cells the curve's last command is about, and what it asks."""
    names = {cell.digest: str(cell) for cell in cells}
    run.text(json.dumps({"against": grid.against, "cells": names}), WANTED)


def _of_last_command(
    summary: Run, cells: Sequence[Found]
) -> tuple[list[Found], str | None, list[str]]:
    """The runs that a curve's last command is about, what it compares with, and what lacks.

    Raises:
        UserError: none is.
    """
    try:
        with tempfile.TemporaryDirectory() as there:
            asked = json.loads(tracking.fetch(summary.id, WANTED, Path(there)).read_text())
    except UserError:  # drawn by an earlier version
        unknown = "nothing tells which trainings the curve's last command asked for"
        return list(cells), None, [unknown]
    wanted = asked["cells"]
    kept = [run for run in cells if run.tags.get(tracking.CELL_DIGEST) in wanted]
    if not kept:
        raise UserError(
            f"none of the {len(cells)} finished trainings is one of the curve's last command; "
            "repeat that command, or choose the runs by --experiment and --filter."
        )
    said, left = [], len(cells) - len(kept)
    if left:
        said.append(f"{left} trainings are of earlier commands with other settings")
    there_are = {run.tags[tracking.CELL_DIGEST] for run in kept}
    lacking = [name for digest, name in wanted.items() if digest not in there_are]
    if lacking:
        more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
        said.append(
            f"{len(lacking)} of {len(wanted)} trainings have no result that is reported here: "
            f"{'; '.join(lacking[:NAMED])}{more}"
        )
    return kept, asked["against"], said


def of_runs(asked: Asked, command: str) -> Given:
    """The report on any finished runs that a filter chooses.

    Raises:
        UserError: no such experiment, no such runs, or runs that cannot be compared.
    """
    progress.phase("reading the runs")
    experiment = f"ssgan/{asked.curve}" if asked.curve else asked.experiment
    where = [f"tags.`{tracking.CURVE}` = '{asked.curve}'"] if asked.curve else []
    found = tracking.chosen(" and ".join([*where, *filter(None, [asked.filter])]), experiment)
    cells = [run for run in found if run.tags.get(tracking.KIND) != "curve"]
    if not cells:
        raise UserError(
            f"filter = {asked.filter!r}: chooses no finished run in the experiment "
            f"{experiment or 'of the environment'}; look at its runs in MLflow's UI."
        )
    summary = tracking.latest_summary(cells[0].experiment_id, asked.curve) if asked.curve else None
    cells, compared, earlier = (
        _of_last_command(summary, cells) if summary else (cells, None, list[str]())
    )
    frame, unlabelled, words, differ = collect.of_any(cells)
    methods, wanted = sorted(set(frame[METHOD])), asked.against or compared or SUPERVISED
    against, of_curve = wanted, bool(compared and not asked.against)
    if wanted not in methods and (of_curve or len(methods) == 1):
        against = SUPERVISED if SUPERVISED in methods else methods[0]
        if of_curve:
            differ.append(f"All is compared with {against}, as {wanted} has no result.")
    if against not in methods:
        known = ", ".join(methods)
        raise UserError(
            f"against = {against!r}: none of the runs is of that method; there are: {known}."
        )
    dataset = str(frame[collect.DATASET].iloc[0])
    about = _about(frame, dataset, command, unlabelled, [*earlier, *words], differ)
    progress.phase("writing the report")
    answer = report.answer(frame, against, about)
    if asked.filter:  # a part must not stand in place of the curve's report
        summary = None
    there = folder(asked.curve) if asked.curve and summary else Path("reports")
    if summary:
        tracking.describe_attached("report", f"report on curve {asked.curve}", summary.address)
        given = _written(answer, frame, summary, there, asked.out)
        summary.outbox.close()
        return given
    with tracking.open_run(
        "report", experiment=experiment, name=f"report: {dataset}, {len(frame)} runs"
    ) as run:
        return _written(answer, frame, run, there, asked.out)


def _about(
    frame: pd.DataFrame,
    dataset: str,
    command: str,
    unlabelled: int,
    notes: Sequence[str],
    doubts: Sequence[str],
) -> About:
    """What the report says of its own making."""
    environment = provenance.environment()
    names = ("python", *provenance.PACKAGES)
    return About(
        dataset=dataset,
        digest=str(frame[collect.DATA_DIGEST].iloc[0]),
        code=", ".join(sorted(set(frame[collect.CODE].astype(str)))),
        versions={name: str(environment[name]) for name in names},
        command=command,
        n_unlabelled=unlabelled,
        notes=list(notes),
        doubts=list(doubts),
        sheets=collect.sheets(frame),
    )


def _failures(now: State) -> list[str]:
    """A sentence for each cell that has not ended well: what is missing weakens the answer."""
    found = []
    for run in now.failed.values():
        reason = " ".join(run.tags.get(tracking.REASON, "no reason was told").split())
        found.append(f"no result of {run.tags[tracking.CELL]}: {reason[:REASON_LENGTH]}")
    return found


def _lost(cells: Sequence[Cell], now: State) -> list[str]:
    """A sentence for each method of which trainings failed: the others may be the easier ones."""
    said = []
    for method in dict.fromkeys(cell.method for cell in cells):
        own = [cell.digest for cell in cells if cell.method == method]
        failed = sum(digest in now.failed for digest in own)
        if failed and not any(digest in now.finished for digest in own):
            said.append(f"{method} has no result: {failed} of its {len(own)} trainings failed.")
        elif failed:
            said.append(
                f"{failed} of {len(own)} trainings of {method} failed; its errors are of those "
                "that did not."
            )
    return said


def _written(answer: Answer, frame: pd.DataFrame, run: Run, there: Path, out: str | None) -> Given:
    page = Path(out).expanduser() if out else there / HTML
    html, markdown = report.html(answer), report.markdown(answer)
    try:
        there.mkdir(parents=True, exist_ok=True)
        page.parent.mkdir(parents=True, exist_ok=True)
        for path, text in ((page, html), (there / MARKDOWN, markdown)):
            path.write_text(text, encoding="utf-8")
        frame.to_csv(there / CELLS, index=False)
    except OSError as error:
        raise UserError(
            f"out = {page}: {error.filename} cannot be written ({error.strerror}); give another "
            "file by --out."
        ) from None
    run.text(html, HTML)
    run.text(markdown, MARKDOWN)
    run.table(frame, CELLS)
    lines = report.told(answer)
    run.tags({tracking.NOTE: "\n\n".join([report.question(answer), *lines])[:NOTE_LENGTH]})
    return Given(lines, there, page, run.address)
