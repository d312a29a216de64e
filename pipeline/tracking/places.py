"""Artifacts lie beside the store, if that is an SQLite file: in the folder `mlruns`.

MLflow itself takes the `mlruns` of the folder that a command is typed in, and keeps absolute paths
that its API cannot change. So they are changed in the SQLite file: nothing but paths, in one
transaction, and no path under which files lie.
"""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "mlruns"
SECONDS = 60  # to wait for another writer
# Every path of artifacts that MLflow 3.17 keeps: table, its key, column.
EXPERIMENTS = ("experiments", "experiment_id", "artifact_location")
RUNS = ("runs", "run_uuid", "artifact_uri")
MODELS = ("logged_models", "model_id", "artifact_location")
VERSIONS = ("model_versions", "rowid", "storage_location")


def find_again(database: sqlite3.Connection, store: Path) -> str:
    """Follow artifacts that were moved together with the store.

    A path is changed if nothing is there and the folder of the same run or model, which its id
    names, is in the store's `mlruns`.

    Returns:
        What to tell the user, "" if nothing was moved.
    """
    runs, came_from = 0, ""
    beside = f"{store.parent / FOLDER}/"
    # Experiments last: their folders are numbers, no proof that it is the same folder.
    for columns in (RUNS, MODELS, VERSIONS, EXPERIMENTS):
        if columns == EXPERIMENTS and not came_from:
            break
        table, key, column = columns
        query = f"SELECT {key}, {column} FROM {table} WHERE substr({column}, 1, ?) <> ?"
        try:
            elsewhere = database.execute(query, (len(beside), beside)).fetchall()
        except sqlite3.OperationalError:  # a new store has no tables yet
            return ""
        for row, path in elsewhere:
            here = _beside(store, path)
            if here and os.path.exists(here) and _gone(path):  # noqa: PTH110 - never raises
                _write(database, columns, row, here)
                runs += columns == RUNS
                came_from = str(_folder(Path(path)))
    database.commit()
    if not came_from:
        return ""
    return (
        f"{store} was moved, its artifacts with it, from {came_from}: those of {_count(runs)} are "
        f"found again in {store.parent / FOLDER}, and new ones go there."
    )


def bring_experiment(store: Path, experiment_id: str, location: str) -> str:
    """Let an experiment's new artifacts go beside the store, if MLflow has chosen their place.

    Returns:
        What to tell the user, "" if the experiment had no runs elsewhere.
    """
    here = _wrong_place(store, location, experiment_id)
    if here is None:
        return ""
    with _writing(store) as database:
        _write(database, EXPERIMENTS, experiment_id, here)
        query = "SELECT count(*) FROM runs WHERE substr(artifact_uri, 1, ?) = ?"
        (runs,) = database.execute(query, (len(location) + 1, f"{location}/")).fetchone()
    if not runs:
        return ""
    where = f"are lost: {location} is gone" if _gone(location) else f"stay in {location}"
    return f"new artifacts go to {here}, beside the store; those of {_count(runs)} {where}."


def bring_run(store: Path, experiment_id: str, run_id: str, location: str) -> None:
    """The same for a run that `mlflow run` has made, unless it has artifacts already."""
    here = _wrong_place(store, location, experiment_id, run_id, "artifacts")
    if here and _gone(location):
        with _writing(store) as database:
            _write(database, RUNS, run_id, here)


def try_out(store: Path, experiment_id: str, location: str) -> None:
    """See whether an experiment's artifacts can be written, if they lie on this machine.

    Raises:
        OSError: they cannot; its `filename` says where.
    """
    here = _wrong_place(store, location, experiment_id) or Path(location)
    if here.is_absolute():
        here.mkdir(parents=True, exist_ok=True)
        if not os.access(here, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(here))


def _count(runs: int) -> str:
    return "1 earlier run" if runs == 1 else f"{runs} earlier runs"


def _wrong_place(store: Path, path: str, *inside: str) -> Path | None:
    """Where artifacts belong that MLflow would put into another folder's `mlruns`, else None.

    inside: the folders in `mlruns` that MLflow chooses; any other place was chosen by somebody.
    """
    here = store.parent / FOLDER / Path(*inside)
    return here if _beside(store, path) == here and Path(path).resolve() != here.resolve() else None


def _beside(store: Path, path: str) -> Path | None:
    """The same path in the store's `mlruns`; None if it is in no `mlruns` of this machine."""
    old = Path(path)
    if not old.is_absolute() or ".." in old.parts or FOLDER not in old.parts:
        return None
    return store.parent / FOLDER / old.relative_to(_folder(old))


def _gone(path: str) -> bool:
    """Whether nothing is at a path; one that cannot be looked at may be there."""
    try:
        os.stat(path)  # noqa: PTH116 - as a text, one a row of the store
    except OSError as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    return False


def _folder(path: Path) -> Path:
    """The innermost `mlruns` that a path is in."""
    return next(folder for folder in (path, *path.parents) if folder.name == FOLDER)


@contextmanager
def _writing(store: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(store, timeout=SECONDS)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield database
        database.commit()


def _write(
    database: sqlite3.Connection, columns: tuple[str, str, str], row: str | int, path: Path
) -> None:
    table, key, column = columns
    database.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (str(path), row))
