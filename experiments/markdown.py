"""Text in Markdown that stays what it is, whatever a user or an error message has put into it."""

import re
from collections.abc import Sequence


def plain(text: str) -> str:
    """Text that Markdown shows as it is: no tag, link, emphasis, cell or line of its own."""
    escaped = re.sub(r"([\\`*_<>|&])", r"\\\1", " ".join(text.split()))
    return escaped.replace("](", "]\\(")


def row(cells: Sequence[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(map(plain, cells))} |"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table, line by line."""
    return [row(heads), "|" + "---|" * len(heads), *map(row, rows)]
