"""Ctrl-C and its like: raised as KeyboardInterrupt, put off while a record is written, never lost.

A library that is interrupted may tell it as a failure of its own (a database driver as a lost
connection) or swallow it; `heard` knows better.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 10.0
_heard: list[int] = []


def listen() -> None:
    """Take the signals, but for those this process was started to ignore (nohup, &)."""
    _heard.clear()
    for sign in SIGNALS:
        if signal.getsignal(sign) is not signal.SIG_IGN:
            signal.signal(sign, interrupt)


def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """Handler of a signal: treat it as Ctrl-C."""
    _heard.append(signum)
    raise KeyboardInterrupt


def heard() -> bool:
    """Whether this process was interrupted, whatever became of the exception."""
    return bool(_heard)


def heed() -> None:
    """Raise an interrupt again that was swallowed."""
    if heard():
        raise KeyboardInterrupt


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let a signal wait until the block is done, so that nothing is left half-way.

    One that comes `PATIENCE` seconds after the first does not wait: the block may hang.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, FrameType | None, float]] = []

    def wait(signum: int, frame: FrameType | None) -> None:
        waiting.append((signum, frame, time.monotonic()))
        if waiting[-1][2] - waiting[0][2] > PATIENCE:
            tell()

    def tell() -> None:
        signum, frame, _ = waiting[0]
        waiting.clear()
        handler = before[signal.Signals(signum)]
        if callable(handler):
            handler(signum, frame)

    before = {sign: signal.signal(sign, wait) for sign in SIGNALS}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    if waiting:
        tell()
