"""From finished cells to the report: what is reported, what lacks, what weakens it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from experiments.curve import beforehand, collect, kept, report
from experiments.curve.grid import NOTHING_BESIDE, Cell, Grid, folder
from experiments.curve.report import About
from experiments.curve.settings import CEILING, SUPERVISED
from experiments.curve.table import METHOD, N_LABELS
from experiments.curve.work import State, state
from experiments.curve.writing import Given, written
from pipeline import progress, tracking
from pipeline.data import Dataset
from pipeline.errors import RunFailure, UserError
from pipeline.runs import provenance
from pipeline.tracking import Found, Run

NAMED = 3  # trainings without a result that a sentence names
REASON_LENGTH = 150  # characters of a failure's reason that a sentence repeats


class Asked(NamedTuple):
    """A report that is wanted."""

    filter: str  # of MLflow's
    experiment: str | None
    curve: str | None
    against: str | None  # None: the curve's own, or else `supervised`
    out: str | None
    goal: float | None = None  # an error that is wanted; None: the curve's own, or none


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
    names = wanted(cells)
    notes = [*_failures(now), *_lacking(names, {*now.finished, *now.failed}), *words]
    assert grid.data is not None
    most = int(collect.besides_ceiling(frame)[N_LABELS].max())
    unlabelled = grid.data.n_images - most
    against, doubts = grid.against, [*beforehand.doubts(grid), *_lost(names, now)]
    if against not in set(frame[METHOD]):
        against = _stand_in([m for m in grid.settings.methods if m in set(frame[METHOD])])
        doubts.append(f"All is compared with {against}, as {grid.against} has no result.")
    about = _about(frame, dataset.name, command, unlabelled, notes, doubts)
    answer = report.answer(frame, against, about, _goals(grid.settings.goal))
    return written(answer, frame, run, folder(grid.name), grid.settings.out)


def _goals(goal: float | None) -> tuple[float, ...]:
    return () if goal is None else (goal,)


def _stand_in(methods: Sequence[str]) -> str:
    """What is compared with where the baseline has no result: the ceiling only if it is alone."""
    return next((method for method in methods if method != CEILING), methods[0])


def wanted(cells: Sequence[Cell]) -> dict[str, str]:
    """Digest → what each is called, which begins with its method."""
    return {cell.digest: str(cell) for cell in cells}


def _lacking(names: Mapping[str, str], known: Collection[str]) -> list[str]:
    """A sentence on the trainings of `names` that are not among the digests that are known of."""
    lacking = [name for digest, name in names.items() if digest not in known]
    if not lacking:
        return []
    more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
    return [
        f"{len(lacking)} of {len(names)} trainings have no result that is reported here: "
        f"{'; '.join(lacking[:NAMED])}{more}"
    ]


@dataclass(frozen=True)
class Last:
    """What a report knows of the curve that it is on, by its last command."""

    runs: Sequence[Found]
    against: str | None = None  # what it compares with; None: not known
    notes: Sequence[str] = ()
    doubts: Sequence[str] = ()
    goal: float | None = None


def _of_last_command(summary: Run, cells: Sequence[Found], asked: Asked) -> Last:
    """The trainings that a curve's last command is about; of others nothing is reported.

    Raises:
        UserError: none of `cells` is one.
    """
    last = kept.read(summary.id)
    if last is None:  # drawn by an earlier version
        unknown = "nothing tells which trainings the curve's last command asked for"
        return Last(cells, notes=[unknown])
    runs = [run for run in cells if run.tags.get(tracking.CELL_DIGEST) in last.cells]
    if not runs:
        raise UserError(
            f"none of the {len(cells)} finished trainings is one of the curve's last command; "
            "repeat that command, or choose the runs by --experiment and --filter."
        )
    left = len(cells) - len(runs)
    notes = [f"{left} trainings are of earlier commands with other settings"] if left else []
    there = {run.tags[tracking.CELL_DIGEST] for run in runs}
    if asked.filter:  # what failed may be what it leaves out
        notes += [*_lacking(last.cells, there), *last.words]
        return Last(runs, last.against, notes, last.doubts, last.goal)
    every = tracking.cells(f"ssgan/{asked.curve}", str(asked.curve))
    now = state(every, last.command)
    notes += [*_failures(now), *_lacking(last.cells, {*there, *now.failed}), *last.words]
    doubts = [*last.doubts, *_lost(last.cells, now)]
    return Last(runs, last.against, notes, doubts, last.goal)


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
    last = _of_last_command(summary, cells, asked) if summary else Last(cells)
    frame, unlabelled, words, differ = collect.of_any(last.runs)
    differ = [*last.doubts, *differ]
    methods, first = sorted(set(frame[METHOD])), asked.against or last.against or SUPERVISED
    against, of_curve = first, bool(last.against and not asked.against)
    if first not in methods and (of_curve or len(methods) == 1):
        against = SUPERVISED if SUPERVISED in methods else _stand_in(methods)
        if of_curve:
            differ.append(f"All is compared with {against}, as {first} has no result.")
    if against not in methods:
        known = ", ".join(methods)
        raise UserError(
            f"against = {against!r}: none of the runs is of that method; there are: {known}."
        )
    if asked.against == CEILING and len(methods) > 1:
        raise UserError(f"against = {CEILING!r} (from --against): {NOTHING_BESIDE}")
    dataset = str(frame[collect.DATASET].iloc[0])
    about = _about(frame, dataset, command, unlabelled, [*last.notes, *words], differ)
    progress.phase("writing the report")
    answer = report.answer(frame, against, about, _goals(asked.goal or last.goal))
    if asked.filter:  # a part must not stand in place of the curve's report
        summary = None
    there = folder(asked.curve) if asked.curve and summary else Path("reports")
    if summary:
        tracking.describe_attached("report", f"report on curve {asked.curve}", summary.address)
        try:
            return written(answer, frame, summary, there, asked.out)
        finally:
            summary.outbox.close()
    with tracking.open_run(
        "report", experiment=experiment, name=f"report: {dataset}, {len(frame)} runs"
    ) as run:
        return written(answer, frame, run, there, asked.out)


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


def _lost(names: Mapping[str, str], now: State) -> list[str]:
    """A sentence for each method of which trainings failed: the others may be the easier ones."""
    said = []
    method_of = {digest: name.partition(",")[0] for digest, name in names.items()}
    for method in dict.fromkeys(method_of.values()):
        own = [digest for digest, of in method_of.items() if of == method]
        failed = sum(digest in now.failed for digest in own)
        if failed and not any(digest in now.finished for digest in own):
            said.append(f"{method} has no result: {failed} of its {len(own)} trainings failed.")
        elif failed:
            said.append(
                f"{failed} of {len(own)} trainings of {method} failed; its errors are of those "
                "that did not."
            )
    return said
