"""What is known of a curve's answer before anything is trained, in sentences."""

from collections.abc import Iterator, Sequence

import numpy as np

from experiments.curve.grid import Grid
from experiments.curve.label_curve import LEAST_COUNTS, LEAST_SEEDS
from experiments.curve.settings import CEILING, SUPERVISED
from experiments.curve.words import listed
from pipeline.config import named
from pipeline.config.schema import Config

NEARLY_ALL = 0.8  # of the known labels, from where on the seeds' labels are much the same
LADDER = 5  # counts that are proposed


def doubts(grid: Grid) -> Iterator[str]:
    """What will weaken the claim, whatever comes of the trainings; of a grid that has its data."""
    yield from _same_labels(grid)
    yield from _other_baselines(grid)


def without_forecast(grid: Grid, counts: Sequence[int], seeds: int) -> list[str]:
    """What is said if so many counts and seeds give no forecast; else none."""
    if len(counts) < LEAST_COUNTS:
        return [f"fewer than {LEAST_COUNTS} label counts give no forecast{_proposal(grid)}"]
    if seeds < LEAST_SEEDS:
        return [f"fewer than {LEAST_SEEDS} seeds give no forecast"]
    return []


def _proposal(grid: Grid) -> str:
    """Counts that the known labels allow, if they are what is short."""
    assert grid.data is not None
    config, known = grid.config(grid.settings.methods[0]), grid.data.n_known
    least = grid.data.n_classes + (config.valid_labels or 0)
    if len(grid.counts) >= LEAST_COUNTS or max(grid.counts) < NEARLY_ALL * known:
        return ""
    ladder = np.geomspace(least, NEARLY_ALL * known, LADDER).round().astype(int)
    if min(np.diff(ladder)) < 1:
        return ""
    return f": perhaps --label_counts {','.join(map(str, ladder))}"


def _same_labels(grid: Grid) -> Iterator[str]:
    """The counts at which there is hardly a choice of which labels to read."""
    assert grid.data is not None
    known = grid.data.n_known
    if known in grid.counts and grid.settings.seeds > 1:
        yield (
            f"With {known:,} labels, all that are known, every seed has the same ones: intervals "
            "and verdicts there do not hold the chance of which labels."
        )
    nearly = [n for n in grid.counts if NEARLY_ALL * known <= n < known]
    if nearly and grid.settings.seeds > 1:
        yield (
            f"With {listed([f'{n:,}' for n in nearly])} of {known:,} known labels the seeds share "
            "most of them: intervals there hold little of the chance of which labels."
        )


def _other_baselines(grid: Grid) -> Iterator[str]:
    """Methods that differ from the baseline in more than what they are."""
    if not {SUPERVISED, CEILING} & {*grid.settings.methods}:
        return
    base = grid.base(SUPERVISED)
    theirs = grid.config(base)
    for method in grid.settings.methods:
        if method in (SUPERVISED, base) or method not in named.names("method"):
            continue
        if unlike := _unlike(grid.config(method), theirs):
            yield (
                f"{SUPERVISED} is the baseline of {base}. {method} has {listed(unlike)}: that "
                f"may be what tells it from {SUPERVISED}."
            )


def _unlike(one: Config, other: Config) -> list[str]:
    """In what a method's network, views or length differ from another's."""
    found = [
        f"{key} {getattr(one, key)} in place of {getattr(other, key)}"
        for key in ("network", "backbone", "steps")
        if getattr(one, key) != getattr(other, key)
    ]
    ours, theirs = (
        {key: value for key, value in config.flat().items() if key.startswith("augment_")}
        for config in (one, other)
    )
    if any(ours[key] != theirs[key] for key in ours.keys() & theirs.keys()):
        found.append("other views")
    return found
