"""The MLflow store: reached quickly or told in one line."""

import contextlib
import logging
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A dead server would otherwise hold a run for minutes at every call.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
# stderr is for what went wrong.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# A server's runs would each say two lines; we say the address ourselves.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import UserError, cause
from pipeline.masking import masked
from pipeline.tracking import new_store, places

logging.getLogger("mlflow").setLevel(logging.WARNING)

KIND = "ssgan.kind"
REASON = "ssgan.reason"
REASON_LENGTH = 5000  # characters that every store takes
SOURCE = "ssgan.source"
NOTE = "mlflow.note.content"
NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # error codes of no such id
FAULTS = (MlflowException, OSError, sqlite3.Error, SQLAlchemyError, ImportError)


def name_default_store() -> None:
    """Call the store that MLflow takes by itself by its path in this folder, as it is.

    MLflow 3.17.2 escapes spaces and other letters, and then makes a folder `my%20dir` of that name.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        uri = mlflow.get_tracking_uri()
        if uri != unquote(uri) == f"sqlite:///{Path.cwd() / Path(uri).name}":
            mlflow.set_tracking_uri(unquote(uri))


name_default_store()


@contextmanager
def reachable() -> Iterator[None]:
    """Tell a store that cannot be used in one line."""
    try:
        yield
    except FAULTS as error:
        raise UserError(
            f"the MLflow store {mlflow.get_tracking_uri()} cannot be used ({cause(error)}); set "
            "MLFLOW_TRACKING_URI to one that can be written, e.g. sqlite:////tmp/mlflow.db."
        ) from None


def connect() -> mlflow.MlflowClient:
    """A client of the store, whose artifacts are found again if its folder was moved.

    Makes an SQLite file if there is none, and tries it first: mlflow 3.17.2 itself tries one that
    it cannot open for 100 s.
    """
    file = sqlite_file()
    if file:
        new_store.make(file, file.parent / places.FOLDER)
        with contextlib.closing(sqlite3.connect(file, timeout=places.SECONDS)) as database:
            database.execute("BEGIN IMMEDIATE")  # asks for the right to write
            tell(places.find_again(database, file))
    return mlflow.MlflowClient()


def sqlite_file() -> Path | None:
    """The file of the store, None if the store is a server or another database."""
    scheme, _, file = mlflow.get_tracking_uri().partition("sqlite:///")
    path = file.partition("?")[0]
    if scheme or path in ("", ":memory:"):
        return None
    return Path(os.path.abspath(path))  # noqa: PTH100 - absolute() keeps ".."


def tell(message: str) -> None:
    """One line on stderr about what was done unasked; none for ""."""
    if message:
        print(f"ssgan: {masked(message)}", file=sys.stderr)
