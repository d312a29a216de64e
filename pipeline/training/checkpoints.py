"""Checkpoints of a training: files that appear whole, with a checksum, and hold data alone.

A checkpoint is an uncompressed `.npz` of named arrays; the one called `HEAD` is JSON as UTF-8. Its
name is `<number>-<start of its SHA-256>.npz`. It is written under another name, brought to the disk
and renamed, so that a process may be killed at any moment. Reading one runs nothing: arrays of
Python objects are refused. This module does not load TensorFlow.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline import progress
from pipeline.errors import ForeignCheckpoint, RunFailure

FORMAT = 1  # counts up when a checkpoint holds something else
HEAD = "head"
KEPT = 2  # the last ones: should one be damaged, there is the one before
SHARE = 0.01  # of the training's time that writing may take, at most
NAME = re.compile(r"(\d{6,})-([0-9a-f]{32})\.npz")
UNFINISHED = ".making-"
DAMAGED = (ValueError, KeyError, TypeError, EOFError, RecursionError, zipfile.BadZipFile)


class Held(NamedTuple):
    """What a checkpoint holds."""

    head: dict[str, Any]  # as JSON gives it back
    arrays: dict[str, NDArray[Any]]


class Checkpoints:
    """The checkpoints of one training, in a folder of their own; nobody else writes there."""

    def __init__(self, folder: Path, every: float) -> None:
        """Keep them in `folder`, at least `every` seconds apart; 0 = whenever one is possible."""
        self.folder, self.every = folder, every
        self.seconds = 0.0  # that writing has taken
        self._next = time.monotonic() + every
        self._told = False  # that none can be written

    def due(self) -> bool:
        """Whether it is time for one."""
        return time.monotonic() >= self._next

    def save(self, head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write a checkpoint; where that is not possible, say so once and let the training go on.

        The next one is due when this one's time is no more than `SHARE` of what has passed.
        """
        begin = time.monotonic()
        try:
            self._write({HEAD: _packed({"format": FORMAT, **head}), **arrays})
        except OSError as error:
            if not self._told:
                reason = error.strerror or error
                progress.note(f"no checkpoint can be written to {self.folder} ({reason})")
            self._told = True
        now = time.monotonic()
        self.seconds += now - begin
        self._next = now + (max(self.every, (now - begin) / SHARE) if self.every else 0.0)

    def last(self, key: str) -> Held | None:
        """The last checkpoint that is whole, None without one; what is damaged is told and removed.

        key: `head["key"]` of the training that wants to go on.

        Raises:
            ForeignCheckpoint: it is another training's.
            RunFailure: the disk does not give it, which says nothing of what it holds.
        """
        place = self.folder
        try:
            files = self._files()
            for place in reversed(files):
                held = _read(place)
                if isinstance(held, Held):
                    return _own(held, place, key)
                before = "" if place == files[0] else "; the one before it is tried"
                progress.note(f"the checkpoint {place.name} is damaged ({held}){before}")
                self._remove([place])
        except OSError as error:
            raise RunFailure(
                f"the checkpoint {place} cannot be read ({error.strerror or error}); it is kept: "
                "make it readable and go on, or remove it to begin anew."
            ) from error
        if files:
            progress.note("no checkpoint can be read: the training begins anew")
        return None

    def exist(self) -> bool:
        """Whether there is any, whole or not."""
        return bool(self._files())

    def remove(self) -> None:
        """Remove them all."""
        with contextlib.suppress(OSError):
            self._remove(self._files())

    def _files(self) -> list[Path]:
        """The checkpoints, the last one last."""
        numbered = [(NAME.fullmatch(file.name), file) for file in _inside(self.folder)]
        return [file for _, file in sorted((int(name[1]), file) for name, file in numbered if name)]

    def _write(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        files = self._files()
        number = int(files[-1].name.partition("-")[0]) + 1 if files else 1
        self._remove([file for file in _inside(self.folder) if file.name.startswith(UNFINISHED)])
        with tempfile.NamedTemporaryFile(
            dir=self.folder, prefix=UNFINISHED, delete=False
        ) as writing:
            made = Path(writing.name)
            try:
                np.savez(writing, allow_pickle=False, **arrays)
                writing.flush()
                os.fsync(writing.fileno())
                made.rename(self.folder / f"{number:06d}-{_digest(made)}.npz")
            except BaseException:
                made.unlink(missing_ok=True)
                raise
        _bring_to_disk(self.folder)
        self._remove(files[: len(files) + 1 - KEPT])

    def _remove(self, files: list[Path]) -> None:
        for file in files:
            with contextlib.suppress(OSError):
                file.unlink()


def _packed(head: Mapping[str, Any]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(head).encode(), np.uint8)


def _read(file: Path) -> Held | str:
    """What a file holds, or why it cannot be used; OSError if the disk does not give it."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return "it is gone"
    name = NAME.fullmatch(file.name)
    if name is None or hashlib.sha256(content).hexdigest()[:32] != name[2]:
        return "its checksum differs"
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if any(member.compress_type != zipfile.ZIP_STORED for member in packed.infolist()):
                return "it is compressed, as ssgan writes none"
        with np.load(io.BytesIO(content), allow_pickle=False) as held:
            arrays = {key: held[key] for key in held.files}
        head = json.loads(arrays.pop(HEAD).tobytes())
    except DAMAGED as error:
        return f"{type(error).__name__}: {error}"
    return Held(head, arrays) if isinstance(head, dict) else "its head is no table"


def _own(held: Held, file: Path, key: str) -> Held:
    if (held.head.get("format"), held.head.get("key")) != (FORMAT, key):
        raise ForeignCheckpoint(
            f"the checkpoint {file} is of another training: its configuration, data, "
            "split or version of ssgan differ; bring back what differs, or start again without "
            "resume."
        )
    return held


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:32]


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _bring_to_disk(folder: Path) -> None:
    """Let a rename survive a loss of power."""
    with contextlib.suppress(OSError):  # not every file system can
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
