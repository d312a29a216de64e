"""Ctrl-C and its like: raised as KeyboardInterrupt, put off while a record is written, never lost.

A library that is interrupted may tell it as a failure of its own (a database driver as a lost
connection) or swallow it; `heard` knows better.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HANG = 10.0  # seconds after which a block that puts signals off is taken to hang


@dataclass
class _State:
    """Of the main thread, the only one that signals reach."""

    heard: bool = False
    depth: int = 0  # of blocks that put signals off
    waiting: float | None = None  # since when one is put off
    once: Callable[[], None] | None = None  # see `listen`
    raised: bool = False


_state = _State()


@contextmanager
def listening() -> Iterator[None]:
    """Take the signals while the block runs, and forget afterwards that there were any."""
    before = {sign: signal.getsignal(sign) for sign in SIGNALS}
    listen()
    try:
        yield
    finally:
        for sign, handler in before.items():
            if handler is not None:  # one that is not Python's
                signal.signal(sign, handler)
        vars(_state).update(vars(_State()))


def listen(once: Callable[[], None] | None = None) -> None:
    """Take the signals, but for those this process was started to ignore (nohup, &).

    once: raise the first alone, after calling this; what cleans up after it is not interrupted.
    """
    _state.once = once
    for sign in SIGNALS:
        if signal.getsignal(sign) is not signal.SIG_IGN:
            signal.signal(sign, interrupt)


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Handler of a signal: treat it as Ctrl-C, now or at the end of an undisturbed block."""
    now = time.monotonic()
    _state.heard = True
    since = now if _state.waiting is None else _state.waiting
    if _state.depth and now - since <= HANG:
        _state.waiting = since
    else:
        _raise()


def _raise() -> None:
    _state.waiting = None
    if _state.once:
        if _state.raised:
            return
        _state.once()
    _state.raised = True
    raise KeyboardInterrupt


def heard() -> bool:
    """Whether this process was interrupted, whatever became of the exception."""
    return _state.heard


@contextmanager
def ending_a_wait() -> Iterator[None]:
    """Within `undisturbed`: a signal is `heard`, so that the block ends its wait, then forgotten.

    One that was heard before is not.
    """
    heard, waiting = _state.heard, _state.waiting
    yield
    _state.heard, _state.waiting = heard, waiting


def heed() -> None:
    """Raise an interrupt again that was swallowed."""
    if heard():
        raise KeyboardInterrupt


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let a signal wait until the block is done, however it ends: nothing is left half-way.

    For signals that `listen` has taken, in the main thread alone. One that comes `HANG` seconds
    after the first does not wait.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
        if _state.waiting is not None and not _state.depth:
            _raise()
