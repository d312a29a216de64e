"""What a finished study says: the front or the best of each budget, tested once, kept for use."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from experiments import markdown
from experiments.plan import Cell, folder
from experiments.search import figures, sampling
from experiments.search.sampling import best
from experiments.search.study import Study
from experiments.search.trials import has_failed
from experiments.search.winners import tested
from experiments.settings import ELASTIC
from pipeline import progress, tracking
from pipeline.config.key import Value
from pipeline.tracking import Run

REASONS, REASON = 5, 200  # why trials failed: how many, and characters of each
BOOKKEEPING = ("alive", "replaced", "index")  # of trials, which no table shows


@dataclass(frozen=True)
class Point:
    """A trial that the study recommends."""

    number: int
    method: str
    n_labels: int  # validation labels among them
    cost: float  # n_labels times the price of one
    errors: tuple[float, ...]  # on the validation images, by the seeds that count, in [0, 1]
    values: Mapping[str, Value]  # what was searched
    run_id: str  # whose model is tested: the first of the seeds that count
    on_front: bool  # no other point has both fewer labels and a lower error
    test: Mapping[str, float] | None = None  # of the run's model
    file: str = ""  # its configuration, for `python -m pipeline run --config <file>`

    @property
    def error(self) -> float:
        """Mean validation error."""
        return float(np.mean(self.errors))


@dataclass(frozen=True)
class Answer:
    """A study's result."""

    study: str
    mode: str
    counts: Mapping[str, int]  # trials by state
    failures: Mapping[str, int]  # the most frequent reasons why trials failed
    points: Sequence[Point]
    folder: Path
    address: str
    trials: str  # the addresses of views in the MLflow UI
    winners: str


def give(study: Study, run: Run, threads: int | None) -> Answer:
    """Test what the study recommends, once each, and log tables, figures and files on `run`."""
    points = recommended(study)
    there = folder(study.plan.study)
    there.mkdir(parents=True, exist_ok=True)
    untested = [point.run_id for point in points if tracking.evaluation_of(point.run_id) is None]
    if untested:
        progress.phase(f"testing {len(untested)} winner{'s' * (len(untested) > 1)}")
    with tested(study, untested, threads):
        everything = pooled_frame(study)
        everything.to_parquet(there / "trials.parquet", index=False)
        run.table(everything, "trials.parquet")
        figures.draw(study, run, there)
    progress.phase("writing the answer")
    points = [
        replace(p, test=tracking.evaluation_of(p.run_id), file=_keep(p, there)) for p in points
    ]
    remove_beaten(there, points)
    run.table(front_frame(points), "front.csv")
    for point in points:
        run.text(Path(point.file).read_text(encoding="utf-8"), f"best/{Path(point.file).name}")
    everyone = study.all_trials()
    counts = Counter(trial.state.name for trial in everyone)
    failed = [trial.user_attrs for trial in everyone if has_failed(trial)]
    answer = Answer(
        study.plan.study,
        study.plan.settings.mode,
        {state.name: counts[state.name] for state in TrialState if counts[state.name]},
        dict(Counter(str(t.get("reason"))[:REASON] for t in failed).most_common(REASONS)),
        points,
        there,
        run.address,
        run.view(tracking.TRIALS),
        run.view(tracking.WINNERS),
    )
    _log(answer, study, run)
    return answer


def recommended(study: Study) -> list[Point]:
    """Mode pareto: the front. Mode budget: each cell's best by its fresh seeds."""
    if study.plan.settings.mode == "pareto":
        cell = study.cells[0]
        front = study.optuna(cell).best_trials if _complete(study.trials(cell)) else []
        points = [_point(study, cell, trial) for trial in front]
    else:
        points = [
            _point(study, top, winners[0])
            for top in study.tops
            if (winners := best(study.trials(top)))
        ]
    points.sort(key=lambda point: (point.cost, point.error))
    return [replace(p, on_front=not any(_beats(o, p) for o in points)) for p in points]


def best_so_far(study: Study) -> str:
    """The lowest validation error in a few words, "" before there is one."""
    complete = [t for cell in study.cells for t in _complete(study.trials(cell))]
    if not complete:
        return ""
    lowest = min(complete, key=lambda trial: trial.values[0])
    return (
        f"lowest validation error {lowest.values[0]:.2%} at {lowest.user_attrs['n_labels']} labels"
    )


def pooled_frame(study: Study) -> pd.DataFrame:
    """All trials, lost ones too, as rows: state, values, what was searched, seconds, runs."""
    values_of, rows = partial(sampling.searched, study.plan), []
    for cell in [*study.cells, *study.tops]:
        for trial in study.optuna(cell).get_trials(deepcopy=False):
            kept = {k: v for k, v in trial.user_attrs.items() if k not in BOOKKEEPING}
            kept |= {k: json.dumps(v) for k, v in kept.items() if isinstance(v, list)}
            errors = trial.values or [None]
            row = {"cell": cell.name, "number": trial.number, "state": trial.state.name}
            row |= {"validation_error": errors[0], **dict(cell.given), **values_of(trial), **kept}
            row |= {"started": trial.datetime_start, "ended": trial.datetime_complete}
            rows.append(row)
    frame = pd.DataFrame(rows)
    mixed = [c for c in frame.columns if frame[c].dtype == object]
    return frame.astype(
        {column: "string" for column in mixed if column not in ("started", "ended")}
    )


def front_frame(points: Sequence[Point]) -> pd.DataFrame:
    """The recommended trials as rows."""
    return pd.DataFrame(
        [
            {
                "labels": p.n_labels,
                "label_cost": p.cost,
                "method": p.method,
                "validation_error": p.error,
                "seeds": len(p.errors),
                **{
                    f"test_{k}": (p.test or {}).get(f"test/{k}")
                    for k in ("error", "error_low", "error_high")
                },
                "on_front": p.on_front,
                **p.values,
                "trial": p.number,
                "run_id": p.run_id,
            }
            for p in points
        ]
    )


def _point(study: Study, cell: Cell, trial: FrozenTrial) -> Point:
    held = {**cell.given, **sampling.searched(study.plan, trial)}
    return Point(
        number=trial.number,
        method=str(held.get("method") or _method(study)),
        n_labels=trial.user_attrs["n_labels"],
        cost=trial.user_attrs["label_cost"],
        errors=tuple(trial.user_attrs["errors"]),
        values=held,
        run_id=trial.user_attrs["run_ids"][0],
        on_front=True,
    )


def _method(study: Study) -> str:
    return str(study.plan.config(study.plan.firsts).method)


def _beats(one: Point, other: Point) -> bool:
    # By labels: their price may have been another when an earlier trial was made.
    no_worse = one.n_labels <= other.n_labels and one.error <= other.error
    return no_worse and (one.n_labels < other.n_labels or one.error < other.error)


def _complete(found: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in found if trial.state == TrialState.COMPLETE]


def _keep(point: Point, there: Path) -> str:
    """Save the configuration of a point's run; returns the file."""
    # Two trials with as many labels and the same error are both on the front.
    name = f"best-{point.n_labels}-labels-{point.method}-trial-{point.number}.yaml"
    file = tracking.fetch(point.run_id, "config.yaml", there)
    return str(file.replace(there / name))


def remove_beaten(there: Path, points: Sequence[Point]) -> None:
    """Remove the configurations of trials that an earlier answer has recommended, and this not."""
    kept = {Path(point.file).name for point in points}
    for file in there.glob("best-*-labels-*-trial-*.yaml"):
        if file.name not in kept:
            file.unlink()


def _log(answer: Answer, study: Study, run: Run) -> None:
    done = _complete(study.all_trials())
    if done:
        overhead = [trial.user_attrs["overhead_s"] for trial in done]
        run.metrics(
            {
                "study/trials": len(study.all_trials()),
                "study/complete": len(done),
                "study/lowest_valid_error": min(trial.values[0] for trial in done),
                "time/overhead_per_trial_s": float(np.median(overhead)),
            }
        )
    # What a later command may change is none of its parameters: a store keeps the first value.
    values = study.plan.settings.model_dump(exclude={"storage", *ELASTIC})
    space = {f"space/{k}": json.dumps(h.model_dump()) for k, h in study.plan.space.items()}
    run.params({**values, **space})
    shown = markdown.table(columns(answer), table(answer))
    reasons = [f"- {markdown.plain(line)}" for line in failures(answer)]
    said = [markdown.plain(headline(answer)), "", *shown, "", *reasons]
    run.tags({tracking.NOTE: "\n".join(said)})


def columns(answer: Answer) -> list[str]:
    """What `table` shows."""
    return ["labels", "method", "validation", "test error", "95 % interval", *_searched(answer)]


def headline(answer: Answer) -> str:
    """One sentence on what the table shows."""
    counts = ", ".join(f"{count} {name.lower()}" for name, count in answer.counts.items())
    what = "the Pareto front" if answer.mode == "pareto" else "the best of each label count"
    return f"Study {answer.study} ({counts} trials): {what}, chosen on validation labels alone"


def failures(answer: Answer) -> list[str]:
    """One line for each of the most frequent reasons why trials failed, pruned for it or not."""
    return [f"{count} failed: {reason}" for reason, count in answer.failures.items()]


def table(answer: Answer) -> list[list[str]]:
    """The recommended trials as text, by `columns`."""
    rows = []
    for p in answer.points:
        test = p.test or {}
        interval = [test.get(f"test/error_{end}", np.nan) for end in ("low", "high")]
        row = [f"{p.n_labels:,}{'' if p.on_front else ' (beaten)'}", p.method, f"{p.error:.2%}"]
        row += [f"{test.get('test/error', np.nan):.2%}", f"{interval[0]:.2%} – {interval[1]:.2%}"]
        rows.append([*row, *(_short(p.values.get(key)) for key in _searched(answer))])
    return rows


def _searched(answer: Answer) -> list[str]:
    return [key for key in (answer.points[0].values if answer.points else ()) if key != "method"]


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def next_command(answer: Answer) -> str:
    """The command that repeats the last recommended trial."""
    *_, last = (point for point in answer.points if point.on_front)
    return f"python -m pipeline run --config {shlex.quote(last.file)}"
