"""How what goes on is shown: a bar on a terminal, plain lines in a pipe or a log."""

import contextlib
import datetime
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

# Plain lines: seconds from one report to the next, a share of the time so far between two ends.
SHORTEST, LONGEST, SHARE = 5.0, 30.0, 1 / 30
# Seconds after which a line says that the work goes on, and what is held back is told.
SILENCE = 8.0
FRAMES = 5  # of the bar, a second
GONE = (OSError, ValueError)  # what a stream raises whose reader has gone; the work goes on
NARROWEST = 10  # columns of the bar; the phase's name gives way to it


@dataclass
class Now:
    """What goes on; times are those of a monotonic clock."""

    subject: str = ""  # whose phase it is: a method, a study
    name: str = ""
    since: float = 0.0
    done: int = 0
    total: int = 0  # 0: the phase is not counted
    unit: str = ""
    detail: str = ""  # what the last report said
    first: tuple[float, int] | None = None  # when something was first done, and how much
    end: float | None = None  # expected of the phase

    @property
    def title(self) -> str:
        """The phase with its subject."""
        return f"{self.subject}: {self.name}" if self.subject else self.name

    @property
    def count(self) -> str:
        """How much is done of how much."""
        return f"{self.done:,}/{self.total:,} {self.unit}"

    def left(self, now: float) -> str:
        """Time left, "" while nobody can know."""
        if self.end is None or self.done >= self.total:
            return ""
        return f"{_clock_time(max(0.0, self.end - now))} left"

    def advance(self, now: float, done: int, left: float | None) -> None:
        """Note how much is done; `left`: the seconds still to come, by default by the pace."""
        self.first = self.first or (now, done)
        began, before = self.first
        if left is None and done > before:
            left = (self.total - done) * (now - began) / (done - before)
        self.done, self.end = done, None if left is None else now + left


class Display(Protocol):
    """Shows `now`."""

    now: Now

    def changed(self) -> None:
        """A phase has begun."""

    def reported(self) -> None:
        """There are new numbers."""

    def noted(self, text: str) -> None:
        """Print a text that stays."""


class Lines:
    """Plain lines: phases as they begin, reports now and then, a sign of life in between.

    The first lines are held back until the first note, or `SILENCE` seconds: a mistake that is
    found before is the only line.
    """

    def __init__(
        self,
        stream: TextIO,
        silence: float = SILENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin now."""
        self.now, self.stream, self.silence, self.clock = Now(), stream, silence, clock
        self.begin = self.last = clock()
        self.held: list[str] | None = []
        self.reports = 0  # of this phase, printed
        self.lock = threading.Lock()

    def changed(self) -> None:
        """See `Display`."""
        self.reports = 0
        with self.lock:
            self._say(self.now.title)

    def reported(self) -> None:
        """See `Display`: the first and the last of a phase, others when it is time again."""
        with self.lock:
            due = self.clock() - self.last >= self._gap()
            if due or not self.reports or self.now.done >= self.now.total:
                self.reports += 1
                self._say(self._state())

    def noted(self, text: str) -> None:
        """See `Display`."""
        with self.lock:
            self._release()
            self._say(text)

    def tick(self) -> None:
        """Say that the work goes on if nothing was said for long."""
        with self.lock:
            silence = SILENCE if self.held is not None else max(self.silence, self._gap())
            if self.now.name and self.clock() - self.last >= silence:
                fresh = bool(self.held) and self.clock() - self.now.since < 1.0
                self._release()
                if not fresh:
                    self._say(self._state())

    def _gap(self) -> float:
        return min(max(SHORTEST, SHARE * (self.clock() - self.begin)), LONGEST)

    def _state(self) -> str:
        now, time_now = self.now, self.clock()
        if not now.total:
            return f"{now.title}, for {time_now - now.since:.0f} s"
        parts = [now.title, f"{now.count} ({now.done / now.total:.0%})"]
        return ", ".join(part for part in (*parts, now.left(time_now), now.detail) if part)

    def _release(self) -> None:
        held, self.held = self.held, None
        for line in held or ():
            self._write(line)

    def _say(self, text: str) -> None:
        begin = f"{_clock_time(self.clock() - self.begin)}  "
        line = begin + text.replace("\n", "\n" + " " * len(begin)) + "\n"
        if self.held is None:
            self._write(line)
        else:
            self.held.append(line)

    def _write(self, line: str) -> None:
        with contextlib.suppress(*GONE):
            self.stream.write(line)
            self.stream.flush()
        self.last = self.clock()


class Bar:
    """The phase with its bar, count and time left; the last report's numbers below."""

    def __init__(self, console: Console) -> None:
        """Show nothing yet."""
        self.now, self.console = Now(), console

    def changed(self) -> None:
        """See `Display`: the next frame shows it."""

    def reported(self) -> None:
        """See `Display`: the next frame shows it."""

    def noted(self, text: str) -> None:
        """See `Display`."""
        with contextlib.suppress(*GONE):
            self.console.print(text)

    def frame(self) -> RenderableType:
        """What is shown at this moment."""
        now, time_now = self.now, time.monotonic()
        title = Text(now.title, style="bold", no_wrap=True, overflow="ellipsis")
        left = now.left(time_now)
        bar = ProgressBar(now.total or None, now.done, pulse=not now.total, animation_time=time_now)
        count = now.count if now.total else f"{time_now - now.since:.0f} s"
        room = self.console.width - len(count) - len(left) - NARROWEST - 3
        widths = [min(len(title), max(room, 1)), None, len(count), len(left)]
        columns = [Column(width=width, ratio=None if width else 1) for width in widths]
        grid = Table.grid(*columns[: 4 if left else 3], padding=(0, 1), expand=True)
        grid.add_row(title, bar, *(cell for cell in (count, left) if cell))
        detail = Text(now.detail, style="dim", no_wrap=True, overflow="ellipsis")
        return Group(grid, detail) if now.detail else grid if now.name else Text()


@contextmanager
def lines_shown(lines: Lines) -> Iterator[Display]:
    """Show plain lines while the block runs."""
    done = threading.Event()

    def tick() -> None:
        while not done.wait(1.0):
            lines.tick()

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield lines
    finally:
        done.set()
        thread.join()


@contextmanager
def bar_shown(console: Console) -> Iterator[Display]:
    """Show a bar while the block runs; nothing of it is left behind."""
    bar = Bar(console)
    live = Live(
        console=console,
        get_renderable=bar.frame,
        refresh_per_second=FRAMES,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )
    with contextlib.suppress(*GONE):
        live.start()
    try:
        yield bar
    finally:
        with contextlib.suppress(*GONE):
            live.stop()


def _clock_time(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
