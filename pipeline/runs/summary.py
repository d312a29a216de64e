"""What a run says at its end: a Markdown description for MLflow, a small table for the terminal."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from pipeline.figures.style import counted
from pipeline.runs import verdict

# What people read instead of a metric's own name.
TIMES = {"time/start_s": "start of TensorFlow", "time/log_s": "logging"}

SHOWN = {verdict.HELPS: "bold", verdict.HURTS: "bold red"}  # on a terminal


@dataclass(frozen=True)
class Result:
    """The outcome of a run, or of one of its stages."""

    stage: str  # run, split, train or evaluate
    run_id: str
    address: str  # the run's page in the MLflow UI
    view: str  # the same for a view of all runs beside it
    dataset: str
    method: str
    n_labels: int  # validation labels among them
    n_valid: int
    n_test: int
    n_pool: int
    seeds: tuple[int, int]  # seed, split_seed
    metrics: Mapping[str, float]
    baseline: Mapping[str, float] | None  # the supervised baseline's metrics
    model: str  # the classifier's id in MLflow, "" after split

    def as_json(self) -> dict[str, object]:
        """Everything, the verdict first; ready for `result.json`."""
        return {"verdict": self.verdict, "conclusion": " ".join(self.conclusion), **asdict(self)}

    @property
    def verdict(self) -> str:
        """Whether the images without labels have helped, in a word; "" without a baseline."""
        return verdict.word(self.metrics)

    @property
    def conclusion(self) -> list[str]:
        """The same in sentences."""
        return verdict.sentences(self.metrics, self.method, self.n_test, self.n_valid)


def markdown(result: Result) -> str:
    """The run's description: the answer first, then what it rests on."""
    lines = [line for sentence in result.conclusion for line in (f"**{sentence}**", "")]
    lines += [
        f"**{result.method}** on **{result.dataset}** with **{result.n_labels} labels** "
        f"({result.n_valid} of them for validation), {_unlabelled(result):,} images without a "
        f"label, seed {result.seeds[0]}, split_seed {result.seeds[1]}.",
    ]
    if "test/error" in result.metrics:
        rows = [f"| {' | '.join(row)} |" for row in _rows(result)]
        lines += ["", "| method | test error | 95 % interval |", "|---|---|---|", *rows]
    if "lift" in result.metrics:
        lines += ["", f"{_difference(result)}"]
    if "labels_read" in result.metrics:
        lines += ["", f"Labels read by training: {result.metrics['labels_read']:.0f} (audited)."]
    return "\n".join(lines)


def show(result: Result) -> None:
    """Print the verdict, the table and the next command to type."""
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    for sentence in result.conclusion:
        console.print(sentence, style=SHOWN.get(result.verdict))
    if "test/error" in result.metrics:
        images = counted(result.n_test, "test image")
        title = f"{result.dataset}: {result.n_labels} labels, {images}"
        table = Table(title=title, title_justify="left")
        for column in ("method", "test error", "95 % interval"):
            table.add_column(column, justify="left" if column == "method" else "right")
        for row in _rows(result):
            table.add_row(*row)
        console.print(table)
    if "lift" in result.metrics:
        console.print(_difference(result))
    seconds = ", ".join(
        f"{TIMES.get(name, name.removeprefix('time/').removesuffix('_s'))} {value:.1f} s"
        for name, value in result.metrics.items()
        if name.startswith("time/")
    )
    what = "curves" if result.stage == "train" else "error by labels"
    model = f"model models:/{result.model}\n" if result.model else ""
    console.print(f"time  {seconds}\nrun   {result.run_id}\n{model}next  {_next(result)}")
    console.print(f"all   {what}: {result.view}")


def _unlabelled(result: Result) -> int:
    return result.n_pool - (result.n_labels - result.n_valid)


def _rows(result: Result) -> list[tuple[str, str, str]]:
    rows = [(result.method, result.metrics)]
    if result.baseline:
        rows.append(("supervised baseline", result.baseline))
    return [
        (
            name,
            f"{metrics['test/error']:.2%}",
            f"{metrics['test/error_low']:.2%} – {metrics['test/error_high']:.2%}",
        )
        for name, metrics in rows
    ]


def _difference(result: Result) -> str:
    ends = [result.metrics.get(f"lift_{end}", math.nan) for end in ("low", "high")]
    one = verdict.Lift(result.metrics["lift"], *ends)
    lift, low, high = (100 * value for value in one)
    points = f"{abs(lift):.{max(2, one.digits)}f} points"
    how = f"{points} {'lower' if lift > 0 else 'HIGHER'} than" if lift else "equal to"
    low, high = (low, high) if lift >= 0 else (-high, -low)
    shown = f"{low:z.{one.digits}f} – {high:z.{one.digits}f}"
    interval = "" if math.isnan(low) else f" (95 % interval {shown})"
    return (
        f"The test error is {how} the supervised baseline's on the same labels{interval}. One "
        "pair of runs is no proof: repeat over seed and split_seed."
    )


def _next(result: Result) -> str:
    if result.stage == "split":
        return f"python -m pipeline train --run_id {result.run_id}"
    if result.stage == "train":
        return f"python -m pipeline evaluate --run_id {result.run_id}"
    return f"make ui, then open {result.address}"
