"""The MLflow store: reached quickly or told in one line."""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

os.environ.update(
    {
        name: value
        for name, value in (
            ("MLFLOW_DISABLE_TELEMETRY", "true"),
            ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1"),
            # stderr is for what went wrong.
            ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
            # A server's runs would each say two lines; we say the address ourselves.
            ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
        )
        if not os.environ.get(name)
    }
)

import mlflow
import sqlalchemy

from pipeline import interrupts, progress
from pipeline.errors import UserError
from pipeline.masking import masked
from pipeline.tracking import new_store, places
from pipeline.tracking.faults import FAULTS, StoreAway, told

logging.getLogger("mlflow").setLevel(logging.WARNING)

# At the start of a command a server that is away is told within 20 s. What is sent later waits
# longer for an answer.
TIMEOUT, RETRIES = "MLFLOW_HTTP_REQUEST_TIMEOUT", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
FIRST, LATER = {TIMEOUT: "5", RETRIES: "2"}, {TIMEOUT: "60", RETRIES: "2"}
# A user's own values stay; those of a process that has started this one do not.
OURS = [name for name in FIRST if os.environ.get(name, "") in ("", FIRST[name], LATER[name])]
os.environ.update({name: FIRST[name] for name in OURS})

KIND = "ssgan.kind"
REASON = "ssgan.reason"
REASON_LENGTH = 5000  # characters that every store takes
SOURCE = "ssgan.source"
NOTE = "mlflow.note.content"
PATIENCE = 600.0  # seconds that a search or a curve waits for a store that is away
PAUSES = (1.0, 15.0)  # seconds between two attempts, the first and the longest
T = TypeVar("T")


def name_store() -> None:
    """Call an SQLite store by an address that MLflow makes no folder of.

    MLflow 3.17.2 escapes spaces and other letters, and then makes a folder `my%20dir` of that name.
    """
    address, mark, query = mlflow.get_tracking_uri().partition("?")
    if "%" in address and (file := sqlite_file()) and _is_plain(file):
        mlflow.set_tracking_uri(f"sqlite:///{file}{mark}{query}")


def _is_plain(file: Path) -> bool:
    """Whether a path is what it says: in others MLflow and SQLAlchemy find an escaped letter."""
    return sqlalchemy.make_url(f"sqlite:///{file}").database == str(file)


@contextmanager
def reachable() -> Iterator[None]:
    """Tell a store that cannot be used in one line.

    Raises:
        StoreAway: it does not answer now.
        UserError: anything else.
    """
    try:
        yield
    except FAULTS as error:
        raise told(error, mlflow.get_tracking_uri()) from None


def patiently(ask: Callable[[], T], patience: float = PATIENCE) -> T:
    """Ask the store, again and again while it is away, up to `patience` seconds.

    Raises:
        StoreAway: it is still away then.
    """
    end, pause = time.monotonic() + patience, PAUSES[0]
    while True:
        interrupts.heed()
        try:
            return ask()
        except StoreAway as error:
            if time.monotonic() + pause > end:
                raise
            if pause == PAUSES[0]:
                progress.note(f"waiting for the MLflow store: {error}")
            time.sleep(pause)
            pause = min(2 * pause, PAUSES[1])


def begun() -> None:
    """From now on the store is known to answer: requests wait longer."""
    os.environ.update({name: LATER[name] for name in OURS})


def connect() -> mlflow.MlflowClient:
    """A client of the store, whose artifacts are found again if its folder was moved.

    Makes an SQLite file if there is none, and tries it first: mlflow 3.17.2 itself tries one that
    it cannot open for 100 s.

    Raises:
        UserError: the path of the file would be taken for another.
    """
    file = sqlite_file()
    if file and not _is_plain(file):
        raise UserError(
            f"the MLflow store {file} cannot be used: MLflow takes the % or ? in its path for "
            "something else; rename the folder, or set MLFLOW_TRACKING_URI to a store in another, "
            "e.g. sqlite:////tmp/mlflow.db."
        )
    if file:
        new_store.make(file, file.parent / places.FOLDER)
        with contextlib.closing(sqlite3.connect(file, timeout=places.SECONDS)) as database:
            database.execute("BEGIN IMMEDIATE")  # asks for the right to write
            tell(places.find_again(database, file))
    return mlflow.MlflowClient()


def store_name() -> str:
    """What tells the store from others, wherever a command is typed."""
    return str(sqlite_file() or mlflow.get_tracking_uri())


def sqlite_file() -> Path | None:
    """The file of the store, None if the store is a server or another database."""
    uri = mlflow.get_tracking_uri()
    path = sqlalchemy.make_url(uri).database if uri.startswith("sqlite:///") else None
    if path in (None, "", ":memory:"):
        return None
    return Path(os.path.abspath(path))  # noqa: PTH100 - absolute() keeps ".."


def tell(message: str) -> None:
    """One line on stderr about what was done unasked; none for ""."""
    if message:
        progress.warn(masked(message))


name_store()
