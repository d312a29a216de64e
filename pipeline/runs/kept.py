"""What a run keeps on this disk while it goes on, so that it can go on after a kill.

A run has a folder of its own: `record.json`, a folder of checkpoints for each arm, and what each
arm that is done has measured. It is removed when the run has ended well. Folders of runs that never
came back go after `DAYS`, or when all take more than `BYTES`, the oldest first.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import progress
from pipeline.config.schema import RECORD, Config
from pipeline.errors import Collapsed, Diverged, ForeignCheckpoint, UserError
from pipeline.runs.logged import Measured
from pipeline.training.checkpoints import KEPT, Checkpoints

METHOD, BASELINE = "method", "baseline"  # the arms; the second is the kind of the child run, too
RECORD_FILE, LOCK, MEASURED = "record.json", "lock", "measured"
DAYS, BYTES = 14, 10 * 10**9
A_DAY = 24 * 3600
NAME = re.compile("(trial-[0-9a-f]{16}-)?[0-9a-f]{32}")  # of a folder: a run's id, or a trial's


@dataclass(frozen=True)
class Folder:
    """The folder of a run; None where none can be made, and nothing is kept."""

    path: Path | None
    every: float = 0.0  # seconds between two checkpoints

    def checkpoints(self, arm: str) -> Checkpoints | None:
        """Those of an arm's training."""
        return Checkpoints(self.path / arm, self.every) if self.path else None

    def keep(self, arm: str, measured: Measured) -> None:
        """Remember what an arm that is done has measured; its checkpoints have served.

        They stay if that cannot be read back: it may not have been written.
        """
        if self.path is None:
            return
        arrays = {"wrong": measured.wrong, "wrong_valid": measured.wrong_valid}
        head = {"key": arm, "metrics": measured.metrics, "classifier": measured.classifier}
        for _ in range(KEPT):  # should one be damaged
            self._measured(arm).save(head, arrays)
        if self.recall(arm) is not None:
            Checkpoints(self.path / arm, 0.0).remove()

    def recall(self, arm: str) -> Measured | None:
        """What an arm has measured, None if it is not done."""
        held = self._measured(arm).last(arm) if self.path else None
        if held is None:
            return None
        head, arrays = held
        return Measured(head["metrics"], arrays["wrong"], arrays["wrong_valid"], head["classifier"])

    def goes_on(self) -> bool:
        """Whether there is anything to go on from."""
        return self.path is not None and is_useful(self.path)

    def remove(self) -> None:
        """The run has ended well."""
        if self.path:
            shutil.rmtree(self.path, ignore_errors=True)

    def _measured(self, arm: str) -> Checkpoints:
        assert self.path is not None
        return Checkpoints(self.path / f"{MEASURED}-{arm}", 0.0)


def is_useful(folder: Path) -> bool:
    """Whether a run can go on from what its folder holds."""
    return any(folder.glob("*/*.npz"))


def place(config: Config, name: str) -> Path | None:
    """Where the folder of a run lies; None if there is no home for it."""
    try:
        root = config.checkpoint_dir or Path.home() / ".cache" / "ssgan" / "checkpoints"
    except RuntimeError:
        return None
    return root.absolute() / name


@contextmanager
def opened(path: Path | None, config: Config, *, needed: bool = True) -> Iterator[Folder]:
    """The folder of a run, which nobody else uses meanwhile.

    Raises:
        UserError: another process works on that run, and the folder is `needed`.
    """
    if path is None:
        yield Folder(None)
        return
    with _locked(path, needed) as there:
        if there:
            _record(path, config)
            _remove_old(path)
        yield Folder(path if there else None, config.checkpoint_every)


@contextmanager
def advising(folder: Folder, how: str) -> Iterator[None]:
    """Whatever ends the block early tells `how` to go on, if there is anything to go on from.

    What has diverged or collapsed is not gone on with. Nor is what fits no more, as it would be
    refused again; it stays for who brings back what differs.
    """
    try:
        yield
    except (Diverged, Collapsed):
        folder.remove()
        raise
    except ForeignCheckpoint:
        raise
    except BaseException as error:
        if folder.goes_on():
            error.add_note(f"go on with: {how}")
        else:
            folder.remove()
        raise


def recorded(folder: Path) -> dict[str, Any]:
    """Keys that the run's own `config.yaml` does not hold, as far as they are known."""
    with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
        values = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        return {key: value for key, value in values.items() if key in RECORD}
    return {}


def _record(path: Path, config: Config) -> None:
    values = {key: value for key, value in config.flat().items() if key in RECORD}
    with contextlib.suppress(OSError):
        made = path / f".{RECORD_FILE}"
        made.write_text(json.dumps(values), encoding="utf-8")
        made.replace(path / RECORD_FILE)


@contextmanager
def _locked(path: Path, needed: bool) -> Iterator[bool]:
    """Hold the lock of a folder, made if it is not there; False where that is not possible.

    Raises:
        UserError: another process holds it, and it is `needed`.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        progress.note(f"no checkpoint can be written to {path} ({error.strerror or error})")
        yield False
        return
    try:
        if not (taken := _take(lock)) and needed:
            raise UserError(f"another process works on this run: it holds {path / LOCK}")
        yield taken
    finally:
        os.close(lock)  # which lets go of it


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return True


def _remove_old(own: Path) -> None:
    """Remove the folders of runs that never came back, and of those that are too many.

    `checkpoint_dir` may hold other people's folders, so one counts only if all of it looks so.
    """
    found = []
    for folder in own.parent.iterdir():
        named = folder != own and NAME.fullmatch(folder.name) and not folder.is_symlink()
        if named and (folder / LOCK).is_file() and (folder / RECORD_FILE).is_file():
            with contextlib.suppress(OSError):  # another process has removed it
                files = [file.stat() for file in folder.rglob("*") if file.is_file()]
                if not files:
                    continue
                last, size = max(s.st_mtime for s in files), sum(s.st_size for s in files)
                found.append((last, size, folder))
    held = 0
    for last, size, folder in sorted(found, reverse=True):
        held += size
        if held > BYTES or time.time() - last > DAYS * A_DAY:
            with _locked(folder, needed=False) as free:
                if free:
                    shutil.rmtree(folder, ignore_errors=True)
