"""Backtest of the label curve: hidden counts predicted, labels needed told, verdicts given.

    python -m benchmarks.label_curve_backtest [--cells cells.csv] [--cases 300] [--seed 0]

Simulated curves have a known truth: the four families that are fitted, and two that are not (a
broken power law, a sigmoid over the logarithm of the labels). Seeds scatter it by 5 to 25 %, a
third of that shared by all counts of a seed; test images add their own chance. With --cells, a CSV
with the columns of experiments/curve/table.py (and perhaps `dataset`), real trainings too: each
method's largest counts are hidden in turn while four stay, and what was then measured is the truth,
its own noise included. Ten seeds and more are cut into fives, each a case, judged by all seeds.

Printed: how often 90 % intervals hold the hidden error, their width over it, refusals; the same of
the labels that round errors need (those told beyond the largest count with an upper end apart); how
often verdicts are false without a difference, and found with one of two standard deviations; how
often labels saved are held. Bars: 80–97 % of at least 60 cases, width 1.5; 5 % false, 90 % found.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from experiments.curve import statistics
from experiments.curve.answer import round_errors
from experiments.curve.label_curve import LEAST_COUNTS, REACH, Curve, fitted, replicates
from experiments.curve.labels_needed import needed, saved
from experiments.curve.table import ERROR, METHOD, N_LABELS, N_TEST, SEED
from pipeline.command_line import guarded
from pipeline.errors import RunFailure, UserError

GRIDS = (
    (20, 50, 100, 200, 500),
    (20, 50, 100, 200, 500, 1000),
    (10, 20, 50, 100, 200, 400),
    (50, 100, 250, 500, 1000, 2000, 4000),
    (20, 40, 80, 160, 320),
    (100, 200, 500, 1000, 3000, 10000),
)
SEEDS, NOISES, TEST_IMAGES = (3, 5, 10), (0.05, 0.12, 0.25), (360, 2000, 10000)
GROUP = 5  # seeds of a real case
SHARED = 0.3  # of a seed's variance: the same at all its counts
COVERED, WIDTH, LEAST_CASES = (0.80, 0.97), 1.5, 60
FALSE, FOUND = 0.05, 0.90
VERDICT_COUNTS, VERDICT_SEEDS = (20, 50, 100, 200, 500, 1000), 10
Truth = Callable[[Any], Any]


def power(r: np.random.Generator, first: float, last: float) -> Truth:
    exponent, floor = r.uniform(0.2, 1.2), r.uniform(0, 0.6) * (last / first)
    return lambda n: (n / first) ** -exponent + floor * (last / first) ** (-exponent - 1)


def exponential(r: np.random.Generator, first: float, last: float) -> Truth:
    scale, floor = last * np.exp(r.uniform(np.log(0.15), np.log(1.5))), r.uniform(0.03, 0.4)
    return lambda n: np.exp(-(n - first) / scale) + floor


def logarithmic(r: np.random.Generator, first: float, last: float) -> Truth:
    slope = r.uniform(0.3, 0.9) / np.log(REACH * last / first)
    return lambda n: 1 - slope * np.log(n / first)


def root(r: np.random.Generator, first: float, last: float) -> Truth:
    knee, bend = first * np.exp(r.uniform(0, 3)), r.uniform(0.5, 1.8)
    floor = r.uniform(0, 0.1)
    return lambda n: 1 - (1 + (n / knee) ** -bend) ** (-1 / bend) + floor


def broken(r: np.random.Generator, first: float, last: float) -> Truth:
    early, late = r.uniform(0.15, 0.5), r.uniform(0.4, 1.1)
    bend = np.exp(r.uniform(np.log(2 * first), np.log(last)))
    return lambda n: (n / first) ** -early * (1 + n / bend) ** (early - late)


def sigmoid(r: np.random.Generator, first: float, last: float) -> Truth:
    drop, middle = r.uniform(0.8, 3), np.exp(r.uniform(np.log(first), np.log(last)))
    width = r.uniform(0.4, 1)
    return lambda n: np.exp(-drop / (1 + (n / middle) ** (-1 / width)))


KINDS = (power, exponential, logarithmic, root, broken, sigmoid)


def simulated(cases: int, seed: int) -> Iterator[dict[str, Any]]:
    """One row a simulated case: its largest count hidden, predicted from the others."""
    for case in range(cases):
        r = np.random.default_rng([seed, case])
        kind, grid = KINDS[case % len(KINDS)], GRIDS[r.integers(len(GRIDS))]
        seeds, noise, n_test = (r.choice(some) for some in (SEEDS, NOISES, TEST_IMAGES))
        truth, counts = _truth(r, kind, grid), np.array(grid)
        errors = _measured(r, truth, counts, seeds, noise, n_test)
        curve = fit(errors[:, :-1], counts[:-1], n_test, r)
        dense = np.geomspace(counts[0], REACH * counts[-2], 400)
        said = {"source": kind.__name__, "seeds": seeds, "noise": noise}
        yield said | judged(curve, counts[-1], float(truth(counts[-1])), dense, truth(dense))


def savings(cases: int, seed: int) -> Iterator[tuple[bool, bool]]:
    """Of each told saving whether it holds the truth, and whether it is an interval or a bound.

    A method needs a k-th of the baseline's labels, perhaps fewer than the smallest count.
    """
    for case in range(cases):
        r = np.random.default_rng([seed, case, 1])
        kind, grid = KINDS[case % len(KINDS)], GRIDS[r.integers(len(GRIDS))]
        seeds, noise, n_test = (r.choice(some) for some in (SEEDS, NOISES, TEST_IMAGES))
        truth, counts = _truth(r, kind, grid), np.array(grid)
        k = np.exp(r.uniform(np.log(0.8), np.log(12)))
        pair, picks = [], replicates(int(seeds), r)
        for true in (truth, lambda n, k=k, truth=truth: truth(k * n)):
            errors = _measured(r, true, counts, seeds, noise, n_test)
            pair.append(fitted(errors, counts.tolist(), picks, 0.5 / n_test, r))
        for labels in (np.sqrt(grid[0] * grid[-1]), grid[-1]):
            told = saved(pair[0], pair[1], float(truth(labels)))
            if not told.refusal:
                held = told.low <= labels - labels / k <= told.high
                yield held, bool(np.isfinite(told.middle))


def _truth(r: np.random.Generator, kind: Any, grid: Any) -> Truth:
    """A curve of this kind, from an error of 15 to 70 % with the fewest labels."""
    shape, start = kind(r, grid[0], grid[-1]), np.exp(r.uniform(np.log(0.15), np.log(0.7)))
    scale = start / shape(grid[0])
    return lambda n: np.clip(scale * shape(np.asarray(n, float)), 1e-4, 0.95)


def _measured(
    r: np.random.Generator, truth: Truth, counts: Any, seeds: int, noise: float, n_test: int
) -> Any:
    """Errors [seeds, counts] as trainings and test images scatter them."""
    scatter = np.sqrt(SHARED) * r.normal(size=(seeds, 1))
    scatter = scatter + np.sqrt(1 - SHARED) * r.normal(size=(seeds, len(counts)))
    sd = noise * (counts[0] / counts) ** 0.25
    mean = np.where(counts < statistics.MEDIANS_BELOW, 0, sd**2 / 2)  # of a log-normal's e^x
    return r.binomial(n_test, np.clip(truth(counts) * np.exp(sd * scatter - mean), 0, 1)) / n_test


def read(file: Path) -> pd.DataFrame:
    """The cells of a CSV."""
    if not file.is_file():
        raise UserError(f"--cells {file}: no such file")
    cells = pd.read_csv(file)
    missing = {METHOD, N_LABELS, SEED, ERROR, N_TEST} - set(cells)
    if missing:
        raise UserError(f"--cells {file} has no column {', '.join(sorted(missing))}")
    return cells


def measured(cells: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One row a real case: a method on a data set, its largest counts hidden in turn."""
    by = [column for column in ("dataset", METHOD) if column in cells]
    for name, own in cells.groupby(by):
        wide = own.pivot_table(index=SEED, columns=N_LABELS, values=ERROR)
        counts, errors = wide.columns.to_numpy(), wide.to_numpy()
        truth = np.array(
            [statistics.centre(e[~np.isnan(e)], n) for e, n in zip(errors.T, counts, strict=True)]
        )
        for kept in range(LEAST_COUNTS, len(counts)):
            for part in np.array_split(errors, max(len(errors) // GROUP, 1)):
                r = np.random.default_rng(kept)
                curve = fit(part[:, :kept], counts[:kept], int(own[N_TEST].min()), r)
                for hidden in range(kept, len(counts)):
                    if counts[hidden] <= REACH * counts[kept - 1]:
                        said = {"source": " ".join(map(str, name)), "seeds": len(part)}
                        yield said | judged(curve, counts[hidden], truth[hidden], counts, truth)


def fit(errors: Any, counts: Any, n_test: int, r: np.random.Generator) -> Curve:
    return fitted(errors, counts.tolist(), replicates(len(errors), r), 0.5 / n_test, r)


def judged(curve: Curve, hidden: float, error: float, known: Any, errors: Any) -> dict[str, Any]:
    """What the curve says of a hidden count, and of the labels that round errors need.

    known, errors: the true curve; an error that it does not reach needs more than the last.
    """
    if curve.refusal:
        return {"refused": True, "labels": []}
    _, low, high = curve.at(np.array([float(hidden)]))[:, 0]
    labels = []
    for goal in round_errors([curve]):
        told = needed(curve, goal)
        reached = np.minimum.accumulate(errors) <= goal
        i = int(reached.argmax())
        if not reached.any():
            i = len(known)
        below, upto = known[max(i - 1, 0)], known[i] if i < len(known) else np.inf
        if reached.any() and i and len(known) < len(curve.grid):
            part = np.log(errors[i - 1] / goal) / np.log(errors[i - 1] / errors[i])
            upto = below * (upto / below) ** part
        if not told.refusal:
            beyond = told.middle > curve.counts[-1]
            # A truth beyond what was measured is only known to lie there.
            held = told.low <= upto and (told.high >= (upto if np.isfinite(upto) else known[-1]))
            truth = upto if np.isfinite(upto) else known[-1]
            labels.append((held, np.isfinite(told.high), (told.high - told.low) / truth, beyond))
    return {
        "refused": False,
        "held": low <= error <= high,
        "width": (high - low) / error,
        "labels": labels,
    }


def verdicts(trials: int, seed: int) -> tuple[float, float, float]:
    """Shares of simulated methods: any false verdict without a difference; counts found with one of
    two standard deviations of the differences; counts found, of the errors (independent arms)."""
    false, found, independent = 0, 0, 0
    for trial in range(trials):
        r = np.random.default_rng([seed, trial])
        none, some, apart = (
            [one.verdict for one in statistics.compare(_pair(r, shift, shared), "supervised")]
            for shift, shared in ((0, 0.3), (2, 0.5), (2, 0))
        )
        false += any(word != statistics.CANNOT_TELL for word in none)
        found += sum(word == statistics.HELPS for word in some)
        independent += sum(word == statistics.HELPS for word in apart)
    total = trials * len(VERDICT_COUNTS)
    return false / trials, found / total, independent / total


def _pair(r: np.random.Generator, shift: float, shared: float) -> pd.DataFrame:
    """Cells of two methods whose errors have standard deviation 0.01, `shared` of it in common."""
    rows = []
    for n in VERDICT_COUNTS:
        common = r.normal(size=VERDICT_SEEDS) * np.sqrt(shared)
        for method, better in (("supervised", 0), ("ssgan", shift)):
            own = r.normal(size=VERDICT_SEEDS) * np.sqrt(1 - shared)
            errors = 0.2 + 0.01 * (common + own - better)
            rows += [(method, n, s, e) for s, e in enumerate(errors)]
    return pd.DataFrame(rows, columns=[METHOD, N_LABELS, SEED, ERROR])


def show(rows: pd.DataFrame, console: Console) -> bool:
    """Print a table by source and one line on the bars; whether they are met."""
    table = Table()
    for column in ("truth", "cases", "refused", "error held", "width / error", "labels held"):
        left = column == "truth"
        table.add_column(column, justify="left" if left else "right", no_wrap=left)
    for column in ("of closed beyond", "width / labels"):
        table.add_column(column, justify="right")
    for source, part in [*rows.groupby("source", sort=False), ("all", rows)]:
        told = part[~part["refused"]]
        labels = np.array([each for row in told["labels"] for each in row], float).reshape(-1, 4)
        closed = labels[:, 1] == 1
        beyond = labels[closed & (labels[:, 3] == 1), 0]
        table.add_row(
            str(source),
            str(len(part)),
            str(int(part["refused"].sum())),
            f"{told['held'].mean():.0%}",
            f"{told['width'].median():.2f}",
            f"{labels[:, 0].mean():.0%} of {len(labels)}" if len(labels) else "-",
            f"{beyond.mean():.0%} of {len(beyond)}" if len(beyond) else "-",
            f"{np.median(labels[closed, 2]):.2f}" if closed.any() else "-",
        )
    console.print(table)
    told = rows[~rows["refused"]]
    held, width = float(told["held"].mean()), float(told["width"].median())
    met = COVERED[0] <= held <= COVERED[1] and width <= WIDTH
    word = "met" if met else "MISSED"
    if len(told) < LEAST_CASES:
        word = f"too few cases for the bar, {LEAST_CASES} are the least"
    console.print(
        f"{len(told)} cases: held {held:.1%} (bar {COVERED[0]:.0%}–{COVERED[1]:.0%}), width over "
        f"truth {width:.2f} (bar {WIDTH}): {word}"
    )
    return met or len(told) < LEAST_CASES


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=Path, help="CSV of real trainings")
    parser.add_argument("--cases", type=int, default=300, help="simulated curves")
    parser.add_argument("--trials", type=int, default=200, help="simulated methods to judge")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    cells = read(given.cells) if given.cells else None
    console = Console(highlight=False, width=110)
    met = show(pd.DataFrame(simulated(given.cases, given.seed)), console)
    if cells is not None:
        rows = pd.DataFrame(measured(cells))
        if rows.empty:
            raise UserError(f"--cells {given.cells}: no method has {LEAST_COUNTS + 1} label counts")
        met &= show(rows, console)
    false, found, independent = verdicts(given.trials, given.seed)
    good = false <= FALSE and found >= FOUND
    console.print(
        f"{given.trials} methods at {len(VERDICT_COUNTS)} counts, {VERDICT_SEEDS} seeds: false "
        f"verdicts {false:.1%} (bar {FALSE:.0%}), two standard deviations found {found:.1%} (bar "
        f"{FOUND:.0%}; of unpaired errors {independent:.1%}): {'met' if good else 'MISSED'}"
    )
    told = np.array(list(savings(given.cases, given.seed)), bool).reshape(-1, 2)
    held, ends = told.T
    enough = held.sum() >= COVERED[0] * len(told) or len(told) < LEAST_CASES
    console.print(
        f"labels saved: held by {held[ends].sum()} of {ends.sum()} intervals and "
        f"{held[~ends].sum()} of {(~ends).sum()} bounds (bar {COVERED[0]:.0%}): "
        f"{'met' if enough else 'MISSED'}"
    )
    if not (met and good and enough):
        raise RunFailure("a bar is missed")


if __name__ == "__main__":
    sys.exit(guarded(main))
