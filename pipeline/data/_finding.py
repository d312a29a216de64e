"""What is told of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

DRAWN_TEST = "drawn_test"  # the finding where the data have no test part
ROWS = 1_000  # most that a finding lists


@dataclass(frozen=True)
class Finding:
    """Something unusual in the data."""

    name: str  # of the metric `data/<name>`
    count: int  # images it concerns, or as the name says
    sentence: str  # for people: what was found, what it does, what to do
    rows: tuple[tuple[str, str], ...] = ()  # (file, what about it) for the table of the report


def reported(found: Sequence[Finding]) -> pd.DataFrame:
    """All findings as a table: finding, file ("" for the sentence of the whole), what."""
    import pandas as pd  # here, for worker processes start without it

    rows = []
    for finding in found:
        rows.append((finding.name, "", finding.sentence))
        rows += [(finding.name, file, what) for file, what in finding.rows]
    return pd.DataFrame(rows, columns=["finding", "file", "what"])
