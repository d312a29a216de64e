"""What a table of finished cells says: errors by label count, verdicts, forecasts, doubts."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from experiments.curve import doubts, statistics
from experiments.curve.label_curve import Curve, fitted, replicates
from experiments.curve.labels_needed import Needed, Saved, needed, saved
from experiments.curve.rounds import Round, rounds
from experiments.curve.settings import CEILING
from experiments.curve.statistics import Comparison
from experiments.curve.table import ERROR, METHOD, N_LABELS, N_TEST, REAL, SAMPLES, SEED
from pipeline.errors import UserError

NEEDED = {METHOD: "string", N_LABELS: "int64", SEED: "int64", ERROR: "float64", N_TEST: "int64"}
SHARES = SAMPLES[:2]  # measures of samples that rise to 1, so that a curve of the rest can fall
ROUND_NUMBERS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)  # of percent, times powers of ten
GOALS = 4  # errors that labels are forecast for


@dataclass(frozen=True)
class About:
    """What was run, for whoever reads the answer.

    n_unlabelled: training images without a label at the largest count, None if not known.
    notes: what failed, was cut or chosen; doubts: what no table of cells shows; both in sentences.
    sheets: PNG files of samples by method and label count.
    """

    dataset: str
    digest: str = ""
    code: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    n_unlabelled: int | None = None
    notes: Sequence[str] = ()
    sheets: Mapping[tuple[str, int], bytes] = field(default_factory=dict)
    doubts: Sequence[str] = ()


@dataclass(frozen=True)
class Point:
    """One method at one label count: the mean over seeds, below 50 labels the median, of an error.

    low, high: its 95 % interval, NaN with fewer than six seeds. values: every seed's, by ascending
    seed. samples: mean of each measure of samples that there is, by its column.
    """

    method: str
    n_labels: int
    centre: float
    low: float
    high: float
    values: tuple[float, ...]
    samples: Mapping[str, float]


@dataclass(frozen=True)
class Answer:
    """The answer to: how far do n labels get me, and what does semi-supervision add?

    Errors and shares lie in [0, 1]. methods: the baseline first. ceilings: those among them with
    all labels, or at one label count beyond the baseline's: nothing is compared or forecast for
    them. curves: of the error, by method. quality, quality_points: by
    measure and method, of the share of samples that lacks to 1, as if it were an error; goals of
    quality_needs likewise, none beyond what real images get. real: that, by measure, where it is
    known. doubts: sentences. goals: errors that somebody wants.
    """

    about: About
    baseline: str
    methods: tuple[str, ...]
    ceilings: tuple[str, ...]
    n_test: int
    points: tuple[Point, ...]
    comparisons: tuple[Comparison, ...]
    curves: Mapping[str, Curve]
    quality: Mapping[tuple[str, str], Curve]
    quality_points: Mapping[tuple[str, str], tuple[Point, ...]]
    needs: Mapping[str, tuple[Needed, ...]]
    quality_needs: Mapping[tuple[str, str], tuple[Needed, ...]]
    real: Mapping[str, float]
    saves: Mapping[str, tuple[Saved, ...]]
    rounds: Mapping[str, tuple[Round, ...]]
    doubts: tuple[str, ...]
    goals: tuple[float, ...] = ()

    def point(self, method: str, n_labels: int) -> Point | None:
        """A method's errors at a label count."""
        of = [p for p in self.points if (p.method, p.n_labels) == (method, n_labels)]
        return of[0] if of else None


def answer(table: pd.DataFrame, baseline: str, about: About, goals: Sequence[float] = ()) -> Answer:
    """What the cells of `table` (columns of `table.py`, one row a training) say.

    baseline: the method that the others are compared with; a single method is its own. goals:
    errors in (0, 1) to forecast labels for; of none, round numbers within the forecast's reach.

    Raises UserError if columns are missing, nothing is left, the baseline is not there, or the
    cells are of several data sets.
    """
    cells, baseline = _checked(table, baseline, goals)
    methods = (baseline, *sorted(set(cells[METHOD]) - {baseline}))
    ceilings = _ceilings(cells, baseline)
    lines = tuple(method for method in methods if method not in ceilings)
    curves = _curves(cells, lines, ERROR)
    quality, quality_points = {}, {}
    for column in SHARES:
        if column in cells and cells[column].notna().any():
            lacking = cells[cells[column].notna()].assign(**{ERROR: 1 - cells[column]})
            for method, curve in _curves(lacking, lines, column).items():
                quality[column, method] = curve
                quality_points[column, method] = tuple(_points(lacking, (method,)))
    comparisons = tuple(statistics.compare(cells[cells[METHOD].isin(lines)], baseline))
    wanted = tuple(goals) or round_errors(list(curves.values()))
    available = _available(cells[cells[METHOD].isin(lines)], about)
    points = tuple(_points(cells, methods))
    most = cells.groupby(METHOD)[N_LABELS].max()
    real = {
        column: float(cells[of_real].mean())
        for column, of_real in REAL.items()
        if of_real in cells and cells[of_real].notna().any()
    }
    return Answer(
        about,
        baseline,
        methods,
        ceilings,
        int(cells[N_TEST].min()),
        points,
        comparisons,
        curves,
        quality,
        quality_points,
        {m: tuple(needed(curve, e, available) for e in wanted) for m, curve in curves.items()},
        {
            (column, method): tuple(
                needed(curve, e, available)
                for e in round_errors([curve], 1 - real.get(column, 1.0))
            )
            for (column, method), curve in quality.items()
        },
        real,
        {m: _saves(curves[baseline], curves[m], wanted) for m in lines[1:]},
        {
            method: tuple(rounds(curve, available, min(goals, default=None), most[method]))
            for method, curve in curves.items()
        },
        (*about.doubts, *doubts.found(cells, table, lines, comparisons, curves)),
        tuple(goals),
    )


def _checked(
    table: pd.DataFrame, baseline: str, goals: Sequence[float]
) -> tuple[pd.DataFrame, str]:
    """The finished cells with their types, and the baseline: the only method, if there is one only.

    Refuses what would give a wrong answer.
    """
    missing = [column for column in NEEDED if column not in table]
    if missing:
        raise UserError(f"the table of cells has no column {', '.join(missing)}")
    cells = table[table[ERROR].notna()].astype(NEEDED)
    if cells.empty:
        raise UserError("no training has finished yet: there is nothing to report")
    if not cells[ERROR].between(0, 1).all():
        raise UserError(f"column {ERROR} must hold shares from 0 to 1 (5 % is 0.05)")
    if (cells[N_LABELS] < 1).any() or (cells[N_TEST] < 1).any():
        raise UserError(f"columns {N_LABELS} and {N_TEST} must be 1 or more")
    known = sorted(set(cells[METHOD]))
    if baseline not in known and len(known) == 1:
        baseline = known[0]
    if baseline not in known:
        raise UserError(
            f"the baseline {baseline} has no finished training; there are {', '.join(known)}"
        )
    for column in ("dataset", "digest"):
        several = sorted(map(str, cells[column].dropna().unique())) if column in cells else []
        if len(several) > 1:
            raise UserError(
                f"the trainings are of several data sets ({column} {', '.join(several)}): choose "
                "one with the filter"
            )
    if not all(0 < goal < 1 for goal in goals):
        raise UserError("an error to forecast labels for lies between 0 and 1 (5 % is 0.05)")
    return cells, baseline


def _ceilings(cells: pd.DataFrame, baseline: str) -> tuple[str, ...]:
    counts = {method: set(own[N_LABELS]) for method, own in cells.groupby(METHOD)}
    return tuple(
        str(method)
        for method, own in sorted(counts.items())
        if method != baseline
        and (method == CEILING or (len(own) == 1 and min(own) > max(counts[baseline])))
    )


def _curves(cells: pd.DataFrame, methods: Sequence[str], measure: str) -> dict[str, Curve]:
    """A fitted curve of every method that has cells, their replicates on the same seeds.

    Each draws from a stream of its own, which no other method changes.
    """
    seeds = sorted(cells[SEED].unique())
    picks = replicates(len(seeds), np.random.default_rng(0))
    found = {}
    for method in methods:
        own = cells[cells[METHOD] == method]
        if own.empty:
            continue
        wide = own.pivot_table(index=SEED, columns=N_LABELS, values=ERROR).reindex(seeds)
        smallest = 0.5 / int(own[N_TEST].min())
        random = np.random.default_rng([1, zlib.crc32(f"{measure} {method}".encode())])
        found[method] = fitted(
            wide.to_numpy(np.float64), [int(n) for n in wide.columns], picks, smallest, random
        )
    return found


def _points(cells: pd.DataFrame, methods: Sequence[str]) -> list[Point]:
    found = []
    for method in methods:
        own = cells[cells[METHOD] == method]
        for n in sorted({int(n) for n in own[N_LABELS]}):
            here = own[own[N_LABELS] == n].sort_values(SEED)
            values = here.groupby(SEED)[ERROR].mean().to_numpy(np.float64)
            measured = {
                column: float(here[column].mean())
                for column in SAMPLES
                if column in here and here[column].notna().any()
            }
            middle = statistics.centre(values, n)
            low, high = np.clip(statistics.interval(values, n), 0.0, 1.0).tolist()
            found.append(Point(method, n, middle, low, high, tuple(values.tolist()), measured))
    return found


def round_errors(curves: Sequence[Curve], least: float = 0.0) -> tuple[float, ...]:
    """Round errors from the worst that is known down to the best that can be forecast.

    least: errors below this one are left out.
    """
    fitted_ = [curve for curve in curves if not curve.refusal]
    if not fitted_:
        return ()
    worst = max(float(np.median(c.draws[:, 0])) for c in fitted_)
    best = min(float(np.median(c.draws[:, -1])) for c in fitted_)
    ladder = [
        number * 10.0**power / 100 for power in (1, 0, -1, -2) for number in ROUND_NUMBERS[::-1]
    ]
    within = [e for e in ladder if max(np.exp(best), least - 1e-9) <= e < np.exp(worst)]
    step = max(1, -(-len(within) // GOALS))
    return tuple(within[::-1][::step][::-1])  # the lowest is what is asked for most


def _saves(baseline: Curve, method: Curve, goals: Sequence[float]) -> tuple[Saved, ...]:
    """At the error that the baseline has with its largest count, and at the goals."""
    if baseline.refusal:
        return (saved(baseline, method, np.nan),)
    there = float(baseline.at(baseline.counts[-1:])[0, 0])
    return tuple(saved(baseline, method, error) for error in (there, *goals))


def _available(cells: pd.DataFrame, about: About) -> int | None:
    if about.n_unlabelled is None:
        return None
    return int(cells[N_LABELS].max()) + about.n_unlabelled
