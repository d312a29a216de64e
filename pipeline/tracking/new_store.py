"""A new SQLite store is made once, under another name, and appears whole.

MLflow makes its tables one by one in the file itself: two commands at once break it, and one that
is killed meanwhile leaves a store that nobody can use.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from filelock import FileLock

SECONDS = 120  # to wait for another command that makes the store
UNFINISHED = ".making-"


def make(file: Path, artifacts: Path) -> None:
    """Make the store, if there is none or an empty file; others wait meanwhile.

    file: of SQLite; what a killed command has left beside it is removed. artifacts: the folder of
    those that belong to no experiment of ours.

    Raises:
        OSError: the folder cannot be written, or another command takes longer than `SECONDS`.
    """
    if _is_there(file):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock"), timeout=SECONDS):
        if _is_there(file):
            return
        for left in file.parent.glob(f".{file.name}{UNFINISHED}*"):
            left.unlink(missing_ok=True)
        made = file.with_name(f".{file.name}{UNFINISHED}{os.getpid()}")
        _fill(made, artifacts)
        made.replace(file)


def _is_there(file: Path) -> bool:
    """Whether there is a store; a file without a table is none (SQLite makes it on opening)."""
    if not file.exists():
        return False
    if file.stat().st_size:
        return True
    with closing(sqlite3.connect(file)) as database:  # its journal may hold what is missing
        return bool(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _fill(file: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{file}", str(artifacts)).engine.dispose()  # type: ignore[no-untyped-call]
