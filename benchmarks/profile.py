"""Where a step's time goes, by TensorFlow operation.

    python -m benchmarks.profile [--method feature_matching] [--by type] [--steps 30]
                                 [--threads 1] [--rows 25] [--markdown FILE] [--set key=value …]

A method with a warm-up gets two tables. Times are of the threads that execute operations, so with
several threads they add up to more than a step. With `--threads 1`, the default, every operation's
time is its own work. `--by name` lists the single operations of the graph, `--by type` sums over
the operations of a kind. Images are random: 28 × 28 and grey, with `--set dataset=cifar10` (or
`kind=photos`) 32 × 32 in colour.
"""

import argparse
import collections
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.ours import program
from benchmarks.throughput import resolved, synthetic


def table(run: Callable[[int], float], steps: int, by: str = "type") -> pd.DataFrame:
    """Profile so many steps; rows by time, longest first.

    Returns:
        DataFrame of columns `op`, `calls` a step, `ms` a step and `share` of all operations' time.
    """
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder, options=options)
        try:
            run(steps)
        finally:
            tf.profiler.experimental.stop()
        (file,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    picoseconds: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        names = {key: value.name for key, value in plane.event_metadata.items()}
        for line in plane.lines:
            for name, own in own_times(
                (names[event.metadata_id], event.offset_ps, event.duration_ps)
                for event in line.events
                if is_operation(names[event.metadata_id])
            ):
                op = name.rpartition(":")[2 if by == "type" else 0]
                picoseconds[op] += own
                calls[op] += 1
    rows = [(op, calls[op] / steps, ps / 1e9 / steps) for op, ps in picoseconds.most_common()]
    frame = pd.DataFrame(rows, columns=["op", "calls", "ms"])
    return frame.assign(share=frame["ms"] / frame["ms"].sum())


def is_operation(name: str) -> bool:
    """Whether an event of the profiler is an operation of the graph: "name:Type"."""
    place, colon, kind = name.rpartition(":")
    return bool(colon and place) and kind.isidentifier() and not place.endswith(":")


def own_times(events: Iterable[tuple[str, int, int]]) -> Iterator[tuple[str, int]]:
    """(name, begin, duration) of one thread's events → (name, duration less nested events')."""
    opened: list[list[Any]] = []  # name, end, own time
    for name, begin, duration in sorted(events, key=lambda event: (event[1], -event[2])):
        while opened and opened[-1][1] <= begin:
            yield opened[-1][0], opened.pop()[2]
        if opened:
            opened[-1][2] -= duration
        opened.append([name, begin + duration, duration])
    for name, _, own in opened:
        yield name, own


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n", maxsplit=1)[0],
        epilog=__doc__.rpartition("\n\n")[2],
    )
    parser.add_argument("--method", default="feature_matching")
    parser.add_argument("--by", choices=["type", "name"], default="type")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=25)
    parser.add_argument("--markdown", type=Path, help="write the whole tables into this file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="keys")
    options = parser.parse_args()
    keys = dict(pair.split("=", 1) for pair in options.keys)
    config = resolved(options.method, options.threads, keys)
    lines = []
    shape = (32, 32, 3) if config.kind == "photos" else (28, 28, 1)
    for phase, run in program(config, *synthetic(shape)).runs.items():
        run(10)
        milliseconds = np.median([run(options.steps) for _ in range(5)]) / options.steps * 1e3
        found = table(run, options.steps, options.by)
        title = (
            f"{options.method}, {phase}: {milliseconds:.1f} ms a step, {options.threads} threads"
        )
        Console().print(shown(found, title, options.rows))
        lines += ["", f"# {title}", "", "| operation | calls / step | ms / step | share |"]
        lines.append("|---|--:|--:|--:|")
        lines += [f"| {' | '.join(cells(row))} |" for row in found.itertuples(index=False)]
    if options.markdown:
        options.markdown.write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")


def shown(found: pd.DataFrame, title: str, rows: int) -> Table:
    """The longest operations, and the sum of the others, for the terminal."""
    listed = Table(title=title)
    for column in ("operation", "calls / step", "ms / step", "share"):
        listed.add_column(column, justify="left" if column == "operation" else "right")
    for row in found[:rows].itertuples(index=False):
        listed.add_row(*cells(row))
    if len(rest := found[rows:]):
        listed.add_row(*cells((f"({len(rest)} more)", *rest[["calls", "ms", "share"]].sum())))
    return listed


def cells(row: Sequence[Any]) -> tuple[str, str, str, str]:
    """A row of the table as text."""
    op, calls, ms, share = row
    return str(op), f"{calls:.1f}", f"{ms:.3f}", f"{share:.1%}"


if __name__ == "__main__":
    main()
