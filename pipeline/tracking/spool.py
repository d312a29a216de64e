"""Records of runs on this disk, in order, until the store has taken them.

A folder for each run and process, with its children's records: `about.json`; for each record
`<number>.json` and, if it holds files, a folder `<number>`; `ids.json`, what the store calls a
child that was begun while it was away.
"""

import contextlib
import json
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from pipeline import interrupts, progress
from pipeline.errors import RunFailure
from pipeline.tracking.faults import no_space

ABOUT, IDS, LOCK = "about.json", "ids.json", "lock"
GIVE_UP = "to give the records of this folder up, remove it"
END = "end"  # the kind of a run's last record
T = TypeVar("T")
ROOM, LOOK = 600.0, 5.0  # seconds to wait for room on a full disk, and between two attempts


@dataclass(frozen=True)
class Entry:
    """A record: what is to be told of a run, and the folder of its files, if it has any."""

    number: int
    kind: str
    run: str  # the run's id, or what its spool calls it
    fields: dict[str, Any]
    files: Path


@dataclass
class Spool:
    """What a process has to tell of a run. One process at a time holds the folder's lock."""

    folder: Path
    lock: FileLock
    ids: dict[str, str] = field(default_factory=dict)  # of runs begun here → in the store
    last: int = 0
    taken: int = 0  # of the records, by the store
    described: dict[str, str] = field(default_factory=dict)  # of a new one, what `about` says

    @classmethod
    def make(cls, run_id: str, experiment: str, uri: str) -> "Spool":
        """A new spool of a run; its lock is taken.

        Raises:
            RunFailure: no disk takes it.
        """
        folder = root() / f"{run_id}-{uuid.uuid4().hex[:8]}"
        about = {"run": run_id, "experiment": experiment, "store": uri}
        spool = cls(folder, FileLock(folder / LOCK, thread_local=False), described=about)
        with_room(spool._begin, folder)
        return spool

    def _begin(self) -> None:
        """Make the folder, also anew if somebody has removed it."""
        self.lock.release()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock = FileLock(self.folder / LOCK, thread_local=False)  # the sender gives it up
        self.lock.acquire(timeout=0)  # before anybody can find it
        _write(self.folder / ABOUT, self.described, durable=True)
        if self.ids:
            _write(self.folder / IDS, self.ids, durable=True)

    @classmethod
    def opened(cls, folder: Path, patience: float = 0.0) -> "Spool | None":
        """A folder that was there; None if another process has it, or has sent all of it.

        patience: seconds to wait for the other process.

        Raises:
            RunFailure: what the store calls the runs was damaged.
        """
        lock = FileLock(folder / LOCK, thread_local=False)
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            return None
        numbers = [int(file.stem) for file in folder.glob("[0-9]*.json")]
        if not numbers and not (folder / ABOUT).exists():  # sent meanwhile; the lock has made it
            shutil.rmtree(folder, ignore_errors=True)
            lock.release()
            return None
        try:
            ids = _known(folder / IDS, set()) if (folder / IDS).exists() else {}
        except RunFailure:
            lock.release()
            raise
        return cls(folder, lock, ids, max(numbers, default=0))

    def put(
        self, kind: str, run: str, fields: dict[str, Any], write: Callable[[Path], object] | None
    ) -> int:
        """Keep a record, whole or not at all; its number.

        write: makes the record's files in the folder that it is given.

        Raises:
            RunFailure: the disk stays full, or somebody has removed records that were not sent.
        """
        number = self.last + 1

        def keep() -> None:
            if not self.folder.exists():  # a cleaner of caches
                if self.taken < self.last:
                    raise RunFailure(
                        f"{self.folder}: somebody has removed it, and with it records that the "
                        "MLflow store had not got."
                    )
                self._begin()
            files = self.folder / f"{number}"
            shutil.rmtree(files, ignore_errors=True)
            if write:
                files.mkdir()
                write(files)
            _write(self._file(number), {"kind": kind, "run": run, "fields": fields})

        with interrupts.undisturbed():
            with_room(keep, self.folder)
            self.last = number
        return number

    def waiting(self) -> list[int]:
        """Numbers of the records that are here, the first first."""
        return sorted(int(file.stem) for file in self.folder.glob("[0-9]*.json"))

    def entry(self, number: int) -> Entry:
        """A record.

        Raises:
            RunFailure: it was damaged.
        """
        held = _known(self._file(number), {"kind", "run", "fields"})
        files = self.folder / f"{number}"
        return Entry(number, held["kind"], held["run"], held["fields"], files)

    def holds_files(self, number: int) -> bool:
        """Whether a record has files."""
        return (self.folder / f"{number}").is_dir()

    def sent(self, number: int) -> None:
        """Forget a record that the store has taken."""
        self._file(number).unlink(missing_ok=True)
        shutil.rmtree(self.folder / f"{number}", ignore_errors=True)
        self.taken = number

    def call(self, begun: str, run_id: str) -> None:
        """Remember what the store calls a run that was begun here."""
        self.ids[begun] = run_id
        _write(self.folder / IDS, self.ids, durable=True)

    def about(self) -> dict[str, str]:
        """Run, experiment and store of the records.

        Raises:
            RunFailure: the file was damaged.
        """
        return _known(self.folder / ABOUT, {"run", "experiment", "store"})

    def close(self) -> None:
        """Give the folder up; an empty one goes."""
        if not self.waiting():
            shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.release()

    def _file(self, number: int) -> Path:
        return self.folder / f"{number}.json"


def root() -> Path:
    """The folder of all spools: in the home, or where no home can be written, beside other
    temporary files.

    Raises:
        RunFailure: somebody else has made that one, or may write in it.
    """
    with contextlib.suppress(OSError, RuntimeError):
        there = Path.home() / ".cache" / "ssgan" / "spool"
        there.mkdir(parents=True, exist_ok=True)
        if os.access(there, os.W_OK):
            return there
    there = Path(tempfile.gettempdir()) / f"ssgan-spool-{os.getuid()}"
    try:
        there.mkdir(mode=0o700)
    except FileExistsError:
        found = there.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
        if not ours or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise RunFailure(
                f"{there}: no folder that this user alone may write, so no records are kept there; "
                "remove it, or set HOME or TMPDIR to a folder of your own."
            ) from None
    except OSError:
        pass  # told when something is to be written
    return there


def folders() -> list[Path]:
    """The folders of all runs with records that wait, the oldest first."""
    there = root()
    found = []
    for about in there.glob(f"*/{ABOUT}"):
        with contextlib.suppress(OSError):  # sent meanwhile
            found.append((about.stat().st_mtime, about.parent))
    return [folder for _, folder in sorted(found)]


def ended() -> set[str]:
    """Ids of the runs that have ended, though the store does not know it yet."""
    found = set()
    for folder in folders():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            names = _read(folder / IDS) if (folder / IDS).exists() else {}
            for file in folder.glob("[0-9]*.json"):
                record = _read(file)
                if record["kind"] == END:
                    found.add(names.get(record["run"], record["run"]))
    return found


def with_room(write: Callable[[], T], where: Path) -> T:
    """Write; while the disk is full, wait for room.

    Raises:
        RunFailure: there is none after `ROOM` seconds, or nothing can be written there.
    """
    end, told = time.monotonic() + ROOM, False
    while True:
        try:
            return write()
        except Exception as error:
            if not no_space(error):
                if isinstance(error, OSError):
                    raise RunFailure(f"{where}: cannot be written ({error}).") from None
                raise
            interrupts.heed()
            if time.monotonic() > end:
                raise RunFailure(f"{where}: the disk is full; make room, then go on.") from None
            if not told:
                told = True
                progress.note(f"the disk of {where} is full: waiting for room, {ROOM / 60:.0f} min")
            time.sleep(LOOK)


@contextlib.contextmanager
def held(folder: Path, patience: float = 0.0) -> Iterator[Spool | None]:
    """The spool of a folder while the block runs; None as `Spool.opened` gives it."""
    spool = Spool.opened(folder, patience)
    try:
        yield spool
        if spool:
            spool.close()
    finally:
        if spool:
            spool.lock.release()


def _write(file: Path, held: object, *, durable: bool = False) -> None:
    """Write a file, whole or not at all; `durable`: also if the power goes."""
    made = file.with_name(f".{file.name}")
    with made.open("w", encoding="utf-8") as out:
        out.write(json.dumps(held))
        if durable:
            out.flush()
            os.fsync(out.fileno())
    made.replace(file)


def _known(file: Path, keys: set[str]) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        held = _read(file)
        if isinstance(held, dict) and keys <= held.keys():
            return held
    raise RunFailure(f"{file} is damaged; {GIVE_UP}.")


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
