"""What a curve's last command asked for, kept with its summary run: what a report goes by."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pipeline import tracking
from pipeline.errors import UserError
from pipeline.tracking import Run

WANTED = "cells.json"


@dataclass(frozen=True)
class Choice:
    """The network that `backbone: auto` has come to."""

    backbone: str
    reason: str  # a sentence
    data: str  # digest of what it was chosen on


@dataclass(frozen=True)
class Kept:
    """A command on a curve."""

    against: str | None  # the method that the others are compared with; None: not known
    cells: Mapping[str, str]  # digest → method, labels, seed, in words
    command: str = ""  # that its trainings are told apart by
    words: Sequence[str] = ()  # what was cut or chosen, in sentences
    choice: Choice | None = None
    goal: float | None = None  # an error that is wanted
    doubts: Sequence[str] = ()  # that were known beforehand, in sentences


def keep(run: Run, asked: Kept) -> None:
    """Write it to the summary run, in place of the command's before."""
    run.text(json.dumps(asdict(asked)), WANTED)


def read(run_id: str) -> Kept | None:
    """What was kept with a summary run; None if nothing was, as by an earlier version."""
    try:
        with tempfile.TemporaryDirectory() as there:
            found = json.loads(tracking.fetch(run_id, WANTED, Path(there)).read_text())
    except UserError:
        return None
    if choice := found.get("choice"):
        found["choice"] = Choice(**choice)
    known = {field.name for field in fields(Kept)}
    return Kept(**{key: value for key, value in found.items() if key in known})


def choice(experiment: str, curve: str) -> Choice | None:
    """What the curve's last command has come to for `backbone: auto`, if it had to choose."""
    summary = tracking.known_summary(experiment, curve)
    asked = read(summary.id) if summary else None
    return asked.choice if asked else None
