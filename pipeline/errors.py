"""The ways a run ends early, each told in one line on stderr and by the exit code."""

import os
from pathlib import Path

from pipeline.masking import masked

CAUSE = 600  # characters of a library's message that a line repeats


class _Told(Exception):
    """Its message is shown and kept, so it holds no secret."""

    def __str__(self) -> str:
        return masked(super().__str__())


class UserError(_Told):
    """A user's mistake (exit code 2): the message says what is wrong, the value, where it
    came from, what is allowed and what to do."""


class ForeignCheckpoint(UserError):
    """What was kept of a run does not fit it, and will not the next time either."""


class RunFailure(_Told):
    """A run that cannot go on (exit code 1): what happened and what to try."""


class Diverged(RunFailure):
    """A loss is not finite, or beyond all measure."""


class Collapsed(RunFailure):
    """The classifier guesses, or the generator's images are all alike."""


class Stopped(_Told):
    """A run that was ended on purpose before its last step; its MLflow run is KILLED."""


def cause(error: BaseException) -> str:
    """What an error of a library says, in one line; of a long one its beginning and its end.

    The end, because that is where libraries put what happened at last.
    """
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= CAUSE else f"{said[: CAUSE // 2]} … {said[-CAUSE // 2 :]}"


def advice(error: BaseException | None) -> list[str]:
    """What was noted on an error, or on those that it came of: how to go on."""
    if error is None:
        return []
    return getattr(error, "__notes__", []) or advice(error.__cause__ or error.__context__)


def looked_for(path: Path) -> str:
    """Where a path that was not found was looked for: " (looked for …)", "" for an absolute one."""
    if path.is_absolute():
        return ""
    told = f" (looked for {path.absolute()}"
    if os.environ.get("MLFLOW_RUN_ID"):
        told += "; mlflow run works in the project's folder, not in the one where it was typed: "
        told += "give the absolute path"
    return told + ")"
