"""Signs of life: who works on a run or trial, and whether that process is still there.

Optuna's heartbeat exists for SQL databases alone; this works on every storage, because a sign is
a small record that its owner renews and that others read.
"""

import functools
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

BEATS = 4  # in the time of a lease
UNREADABLE = "running"  # in place of the start of a process that does not show it
NODE = "SSGAN_NODE"  # variable that names the node of a cluster to its workers


@functools.cache
def host() -> str:
    """Where process numbers mean the same: this machine, told apart from others of its name."""
    try:
        # Containers that share the machine's network have its name and address, not its numbers.
        numbers = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        numbers = ""
    return f"{socket.gethostname()}-{uuid.getnode():x}{numbers.removeprefix('pid:')}"


def node() -> str:
    """Where this process works: the cluster's name of its node, or this machine's."""
    return os.environ.get(NODE) or socket.gethostname()


def sign(beat: int = 0) -> dict[str, Any]:
    """This process's sign of life; `beat` must change from sign to sign."""
    return {"host": host(), "pid": os.getpid(), "started": _started(os.getpid()), "beat": beat}


def ours(given: Mapping[str, Any] | None) -> bool:
    """Whether this process gave a sign."""
    return given is not None and {**given, "beat": 0} == sign()


@contextmanager
def renewed(give: Callable[[dict[str, Any]], None], lease: float) -> Iterator[None]:
    """Give a sign every quarter of a lease, in a thread, while the block runs.

    A storage that does not answer is tried again at the next beat; the work goes on.
    """
    done = threading.Event()

    def beat() -> None:
        number = 0
        while not done.wait(lease / BEATS):
            number += 1
            try:
                give(sign(number))
            except Exception:
                continue

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def gone(given: Mapping[str, Any] | None) -> bool:
    """Whether a sign is of this machine, and its process is not there any more."""
    if given is None or given["host"] != host():
        return False
    now, then = _started(given["pid"]), given["started"]
    return not now or (now != then and UNREADABLE not in (now, then))


class Watch:
    """Remembers when a sign last changed, by our own clock: the clocks of machines differ."""

    def __init__(self, lease: float) -> None:
        """Give up after `lease` seconds without a change."""
        self.lease = lease
        self._seen: dict[object, tuple[object, float, float]] = {}

    def gone(self, key: object, sign: Mapping[str, Any] | None) -> bool:
        """Whether the process that gives this sign under `key` is certainly or presumably dead."""
        if gone(sign):
            return True
        now = time.monotonic()
        beat = sign["beat"] if sign else None
        before, since, looked = self._seen.get(key, (object(), now, now))
        # While we could not look (the database was away) nobody could give a sign either.
        if beat != before or now - looked > self.lease / 2:
            since = now
        self._seen[key] = (beat, since, now)
        return now - since > self.lease


def _started(pid: int) -> str:
    """When a process of this machine started, "" if there is none: numbers are used again."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return UNREADABLE  # no /proc on this system, or one that hides other users' processes
    return "" if fields[0] == "Z" else fields[19]
