"""Optuna's journal file, each line of it whole: after a crash, and on a disk that is full.

Optuna reads no line behind one that it cannot read, so one torn line would end a study for good. A
torn last line is cut off, other damage is named.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from pipeline.errors import UserError

BEGINNING = b'{"op_code":'  # of every journal
TAIL = 2**16  # bytes that are read back at a time, in search of the last line


class WholeLines(JournalFileBackend):
    """A journal whose lines are written whole or not at all, so that they can be written again."""

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Add lines.

        Raises:
            OSError: they could not be written, and nothing is there of them.
        """
        left = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        path = Path(self._file_path)
        self._lock.acquire()
        try:
            if (torn := _torn_from(path)) is not None:
                os.truncate(path, torn)  # of a process that was killed as it wrote
            with path.open("ab", buffering=0) as file:
                begin = os.fstat(file.fileno()).st_size
                try:
                    while left:
                        left = left[file.write(left) :]
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(begin)
                    raise
        finally:
            self._lock.release()


def mend(path: Path) -> str:
    """Cut off a last line that was not written to its end, under the lock that writers take.

    Returns:
        What to tell the user, "" if the file is whole or not there.

    Raises:
        OSError: the file cannot be read or written.
    """
    if _torn_from(path) is None:
        return ""
    lock = JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:
        begin = _torn_from(path)
        if begin is None:  # it was being written
            return ""
        lost = path.stat().st_size - begin
        with path.open("rb+") as file:
            file.truncate(begin)
    finally:
        lock.release()
    return (
        f"{path}: the last line was torn (a crash, or a full disk) and is cut off, {lost} bytes: "
        "at most one step of one trial is lost, and that trial is repeated"
    )


def told_damage(path: Path) -> UserError | None:
    """The first line that is no entry of a journal, as an error that says what can be done."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not _is_entry(line):
                return UserError(
                    f"storage = {path}: line {number} is damaged ({line[:40]!r}…), so nothing "
                    "behind it can be read; take the file from a backup, delete that line if one "
                    f"lost step may be, or move the file away and begin anew."
                )
    return None


def _torn_from(path: Path) -> int | None:
    """Where a torn last line begins, in bytes; None if it is whole, or the file no journal."""
    if not path.exists() or not (size := path.stat().st_size):
        return None
    with path.open("rb") as file:
        if not BEGINNING.startswith(file.read(len(BEGINNING))):
            return None
        tail, begin = b"", size
        # Back to the end of the line before the last one.
        while begin and b"\n" not in tail[:-1]:
            begin = max(0, begin - TAIL)
            file.seek(begin)
            tail = file.read(size - begin)
    last = begin + tail[:-1].rfind(b"\n") + 1 if b"\n" in tail[:-1] else begin
    line = tail[last - begin :]
    return None if line.endswith(b"\n") and _is_entry(line) else last


def _is_entry(line: bytes) -> bool:
    try:
        return "op_code" in json.loads(line)
    except (ValueError, TypeError):
        return False
