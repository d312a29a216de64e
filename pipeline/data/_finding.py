"""What is told of the data."""

from dataclasses import dataclass

ROWS = 1_000  # most that a finding lists


@dataclass(frozen=True)
class Finding:
    """Something unusual in the data."""

    name: str  # of the metric `data/<name>`
    count: int  # images it concerns, or as the name says
    sentence: str  # for people: what was found, what it does, what to do
    rows: tuple[tuple[str, str], ...] = ()  # (file, what about it) for the table of the report
