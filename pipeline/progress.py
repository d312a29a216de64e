"""What goes on, told on stderr while it does: a bar on a terminal, plain lines in a pipe or a log.

Whoever works says so here (`phase`, `advance`, `report`, `note`); a command opens the display
(`shown`). Where none is open, as in the workers of a search, nothing is told.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console

from pipeline.displays import GONE, SILENCE, Display, Lines, Now, bar_shown, lines_shown

_displays: list[Display] = []  # the last one is shown


def phase(name: str, *, done: int = 0, total: int = 0, unit: str = "steps") -> None:
    """Say what is done from now on; `total` if it can be counted, `done` of which lie behind."""
    for display in _displays[-1:]:
        # Another thread may be showing the old one.
        display.now = Now(display.now.subject, name, time.monotonic(), done, total, unit)
        display.changed()


def advance(done: int, detail: str | None = None, left: float | None = None) -> None:
    """Say how much of the phase is done; no line is printed for it."""
    for display in _displays[-1:]:
        display.now.advance(time.monotonic(), done, left)
        display.now.detail = display.now.detail if detail is None else detail


def report(done: int, detail: str, left: float | None = None) -> None:
    """Say how much of the phase is done, and the numbers that go with it."""
    advance(done, detail, left)
    for display in _displays[-1:]:
        display.reported()


def note(text: str) -> None:
    """Print a line that stays. Lines before the first one wait for it: see `Lines`."""
    for display in _displays[-1:]:
        display.noted(text)


def warn(text: str) -> None:
    """Print a line on stderr at once, whatever is shown; without a reader it is lost."""
    with contextlib.suppress(*GONE):
        print(f"ssgan: {text}", file=sys.stderr, flush=True)


@contextmanager
def subject(name: str) -> Iterator[None]:
    """The phases of the block are those of `name`."""
    display = _displays[-1] if _displays else None
    before = display.now.subject if display else ""
    if display:
        display.now.subject = name
    try:
        yield
    finally:
        if display:
            display.now.subject = before


def numbers(metrics: Mapping[str, float]) -> str:
    """A report's metrics in a few words: what matters first, losses last."""
    shown = {key: value for key, value in metrics.items() if not key.endswith("images_per_second")}
    words = []
    if (error := shown.pop("valid/error", None)) is not None:
        words.append(f"validation error {error:.2%}")
    if (rate := metrics.get("train/images_per_second")) is not None:
        words.append(f"{rate:,.0f} images/s")
    for key, value in sorted(shown.items(), key=lambda item: not item[0].endswith("_loss")):
        name = key.rpartition("/")[2].removesuffix("_loss").replace("_", " ")
        words.append(f"{name} {value:.3g}")
    return ", ".join(words)


@contextmanager
def shown(silence: float = SILENCE) -> Iterator[None]:
    """Show on stderr what goes on while the block runs; nothing of a bar is left behind.

    silence: seconds after which a plain line says that the work goes on.
    """
    stream = _stderr()
    console = Console(file=stream, highlight=False, soft_wrap=True, markup=False, emoji=False)
    on_terminal = stream.isatty() and console.is_interactive
    opened = bar_shown(console) if on_terminal else lines_shown(Lines(stream, silence))
    try:
        with opened as display:
            _displays.append(display)
            try:
                yield
            finally:
                _displays.remove(display)
    finally:
        if stream is not sys.stderr:
            with contextlib.suppress(*GONE):
                stream.close()


def _stderr() -> TextIO:
    """stderr by another number: TensorFlow is started with what it writes held back."""
    try:
        number = os.dup(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # no file: a notebook's, a test's
        return sys.stderr
    encoding = sys.stderr.encoding
    return os.fdopen(number, "w", buffering=1, encoding=encoding, errors="backslashreplace")
