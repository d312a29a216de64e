"""What goes wrong with an MLflow store, told apart: away for now, refused for good, a mistake."""

import errno
import re
import sqlite3

from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import RunFailure, UserError, cause

FAULTS = (MlflowException, OSError, sqlite3.Error, SQLAlchemyError, ImportError)
NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # error codes of no such id
# Error codes that the same request gets again, whenever it is sent.
REFUSED = (*NOT_THERE, "BAD_REQUEST", "INVALID_STATE", "RESOURCE_ALREADY_EXISTS")
FULL = ("disk is full", "No space left", "quota exceeded")
SILENT = (
    *("failed with exception", "Connection refused", "Connection aborted", "timed out"),
    *("too many 5", "error code 429", "error code 50", "could not connect", "connection to server"),
    *("Could not connect", "timeout on endpoint", "Connection was closed"),  # of S3
)
# What a server, or a proxy before it, answers: as MLflow tells it of its API and of artifacts.
ANSWER = re.compile(r"error code (40[13]|413)\b|\b(40[13]|413) Client Error")
CREDENTIALS = (
    "it does not take these credentials; set MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
)
ADVICE = {
    "401": CREDENTIALS,
    "403": CREDENTIALS,
    "413": "a proxy before it takes no file that large; raise its limit (nginx: "
    "client_max_body_size)",
}
OTHER_VERSION = "out-of-date database schema"
BELIEVED = 5  # attempts
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class StoreAway(RunFailure):
    """The MLflow store does not answer now; what it was told may be told again later."""


def passes(error: Exception, attempt: int = 1, files: bool = False) -> bool:
    """Whether a record may be taken when it is sent again: nothing is wrong with the record.

    attempt: how often it was sent. MLflow 3.17.2 says BAD_REQUEST of a database's lost connection,
    too, so only one that stays is believed. files: it holds some; then the same is true of errors
    that nobody knows, for a library of the artifacts' store has its own for one that is away.
    """
    if isinstance(error, MlflowException):
        doubtful = error.error_code == "BAD_REQUEST" and attempt < BELIEVED
        return doubtful or error.error_code not in REFUSED
    if isinstance(error, UserError | RunFailure | ImportError):
        return isinstance(error, StoreAway)
    return isinstance(error, FAULTS) or (files and (attempt < BELIEVED or _silent(error)))


def told(error: Exception, uri: str) -> UserError | RunFailure:
    """The fault in one line, and what helps against it. uri: the store's."""
    if isinstance(error, UserError | RunFailure):
        return error
    said = cause(error)
    what: type[UserError] | type[StoreAway] = UserError
    if OTHER_VERSION in said:
        advice = "another version of MLflow made it; "
        advice += f"keep a copy of it, then bring it up to date: mlflow db upgrade {uri}"
    elif isinstance(error, ImportError):
        advice = "install the driver of that database"
    elif "locked" in said:
        what, advice = StoreAway, "another process has locked it; wait until it is done"
    elif no_space(error):
        what, advice = StoreAway, "its disk is full; make room and repeat the command"
    elif isinstance(error, ConnectionError | TimeoutError) or _silent(error):
        what = StoreAway
        advice = "it does not answer; start it, or name another by MLFLOW_TRACKING_URI"
    elif answered := ANSWER.search(said):
        advice = ADVICE[answered[1] or answered[2]]
    elif isinstance(error, MlflowException) and error.error_code in REFUSED:
        advice = "it refuses what it is told"
    else:
        advice = "set MLFLOW_TRACKING_URI to one that can be written, e.g. sqlite:////tmp/mlflow.db"
    return what(f"the MLflow store {uri} cannot be used ({said}); {advice}.")


def _silent(error: Exception) -> bool:
    return any(sign in cause(error) for sign in SILENT)


def is_too_large(error: Exception | None) -> bool:
    """Whether a record was sent in vain because no file may be so large, which no waiting mends."""
    answered = ANSWER.search(cause(error)) if error else None
    return answered is not None and "413" in answered.groups()


def no_space(error: Exception) -> bool:
    """Whether a disk is full, ours or the store's."""
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return True
    return any(sign in str(error) for sign in FULL)
