"""What every command line of ours shares: flags that are configuration keys, errors in one line.

Exit code 2 for a user's mistake, 1 for a failure, 130 on Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

from pipeline import config as configuration
from pipeline import interrupts
from pipeline.errors import RunFailure, UserError

EXIT_FAILURE, EXIT_MISTAKE, EXIT_INTERRUPTED = 1, 2, 130
RUN_KEPT = "a run that had begun is KILLED and keeps what it had"


class Parser(argparse.ArgumentParser):
    """A parser that raises UserError."""

    def error(self, message: str) -> NoReturn:
        """Tell the mistake in one line, as all others."""
        raise UserError(f"{message}; {self.prog} --help lists commands and flags.")


def config_keys(left_out: Collection[str] = ()) -> Parser:
    """A parent parser with a flag for every other shared configuration key, and `--config FILE`."""
    defaults = configuration.defaults()
    keys = Parser(add_help=False, allow_abbrev=False)
    keys.add_argument("--config", metavar="FILE", help="YAML file of keys and values")
    for key, meaning in configuration.meanings().items():
        if key not in left_out:
            shown = defaults[key] if defaults[key] is not None else "none"
            keys.add_argument(
                f"--{key}", metavar="", help=f"{meaning} (default: {shown})".replace("%", "%%")
            )
    return keys


def own_keys(rest: Sequence[str]) -> dict[str, str]:
    """Flags that only a method may know: `--key value` or `--key=value`.

    Raises:
        UserError: a word that is no flag, or a flag without a value.
    """
    flags, words = {}, iter(rest)
    for word in words:
        key, joined, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not key:
            raise UserError(f"{word!r}: expected --key value.")
        if not joined and (value := next(words, "")) == "":
            raise UserError(f"--{key}: expected a value.")
        flags[key] = value
    return flags


def guarded(action: Callable[[], None], kept: str = RUN_KEPT) -> int:
    """Run a command; tell what ends it in one line and return the exit code.

    kept: what an interrupted command leaves behind, for that line.
    """
    with interrupts.listening():
        try:
            try:
                action()
            except Exception:
                interrupts.heed()
                raise
        except UserError as error:
            return _fail(str(error), EXIT_MISTAKE)
        except RunFailure as error:
            return _fail(str(error), EXIT_FAILURE)
        except Exception as error:
            if os.environ.get("SSGAN_DEBUG"):
                raise
            kind = f"{type(error).__name__}: {error}"
            return _fail(f"{kind} (set SSGAN_DEBUG=1 to see where).", EXIT_FAILURE)
        except KeyboardInterrupt:
            return _fail(f"interrupted; {kept}.", EXIT_INTERRUPTED)
        return 0


def _fail(message: str, code: int) -> int:
    """Print one line, mark a run that `mlflow run` has opened, return the exit code."""
    print(f"ssgan: {' '.join(message.split())}", file=sys.stderr)
    if "MLFLOW_RUN_ID" in os.environ:
        from pipeline import tracking

        status = "KILLED" if code == EXIT_INTERRUPTED else "FAILED"
        tracking.end_attached_run(status, message)
    return code
