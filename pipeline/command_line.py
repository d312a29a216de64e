"""What every command line of ours shares: flags that are configuration keys, errors in one line.

Exit code 2 for a user's mistake, 1 for a failure, 130 on Ctrl-C.
"""

import argparse
import contextlib
import functools
import io
import json
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from pipeline import interrupts
from pipeline.config import layers as configuration
from pipeline.config import named
from pipeline.config.key import Value
from pipeline.config.own_keys import OWN
from pipeline.config.schema import SAID, Config
from pipeline.errors import RunFailure, UserError, advice
from pipeline.masking import masked

EXIT_FAILURE, EXIT_MISTAKE, EXIT_INTERRUPTED = 1, 2, 130
RUN_KEPT = "a run that had begun is KILLED and keeps what it had"


class Parser(argparse.ArgumentParser):
    """A parser that raises UserError; flags are whole words, and a command has too many to list."""

    def __init__(self, **options: Any) -> None:
        """As `argparse.ArgumentParser`."""
        options.setdefault("allow_abbrev", False)
        layout = functools.partial(argparse.HelpFormatter, max_help_position=28)
        super().__init__(**options, formatter_class=layout)

    def error(self, message: str) -> NoReturn:
        """Tell the mistake in one line, as all others."""
        raise UserError(f"{message}; {self.prog} --help lists commands and flags.")


class Values(NamedTuple):
    """What `--help` shows beside the flags."""

    of: Mapping[str, Value]  # every key that has a flag
    method: str  # whose own keys are among them
    heading: str  # what they are the values of


def asked(argv: Sequence[str], keys: Sequence[str]) -> dict[str, str] | None:
    """If `argv` asks for help: what it gives for `keys`, on which the values to show depend."""
    parser = Parser(add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    for key in keys:
        parser.add_argument(f"--{key}")
    try:
        found = vars(parser.parse_known_args(argv)[0])
    except UserError:  # the command's own parser tells it
        return None
    return {key: found[key] for key in keys if found[key]} if found["help"] else None


def forgiving(values: Callable[[Mapping[str, str]], Values], flags: Mapping[str, str]) -> Values:
    """The values for these flags; if one is a mistake, for the others, and the mistake is told."""
    try:
        return values(flags)
    except UserError as error:
        mistake = error
    rest = [{key: flags[key] for key in flags if key != wrong} for wrong in flags]
    for some in (*rest, {}):
        with contextlib.suppress(UserError):
            found = values(some)
            return found._replace(heading=f"Not allowed: {mistake} {found.heading}")
    raise mistake


def presets(flags: Mapping[str, str]) -> Values:
    """The values for the data set, the method, the steps and the file that `flags` give.

    Raises:
        UserError: an unknown name, a value that is not allowed, a file that cannot be used.
    """
    config, values = configuration.presets(flags)
    return Values(values, config.method, heading(config, flags))


def heading(config: Config, flags: Mapping[str, str]) -> str:
    """Say what the values shown are the values of, and how to see others.

    flags: those that chose them; data set and method are always named.
    """
    named = {"dataset": config.dataset, "method": config.method, **flags}
    said = " ".join(f"--{key} {value}" for key, value in named.items())
    return f"The defaults above are those of {said}. For others give these flags beside --help."


def add_keys(
    parser: argparse.ArgumentParser, left_out: Collection[str], values: Values | None
) -> None:
    """Give a parser `--config FILE` and, in groups, a flag for every other configuration key.

    values: for the help; the method's own keys then get flags too.
    """
    own = [key for key in values.of if key in OWN] if values else []
    titles = {name: said.group for name, said in SAID.items() if said.group}
    titles |= {own[0]: f"method {values.method} alone"} if values and own else {}
    group = parser.add_argument_group("configuration")
    group.add_argument("--config", metavar="FILE", help="YAML file of keys and values")
    for key, meaning in configuration.meanings(own).items():
        group = parser.add_argument_group(titles[key]) if key in titles else group
        if key not in left_out:
            add_flag(group, key, meaning, values)


def add_flag(group: argparse._ArgumentGroup, key: str, meaning: str, values: Values | None) -> None:
    """A flag with its meaning and its value, if there are values."""
    if key in ("dataset", "method"):
        meaning = f"{meaning}; one of {', '.join(named.names(key))}"
    text = f"{meaning} (default: {_typed(values.of[key])})" if values else meaning
    group.add_argument(f"--{key}", metavar="", help=text.replace("%", "%%"))


def _typed(value: Value) -> str:
    """A value as one would type it."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def typed(known: argparse.Namespace, left: Collection[str] = ()) -> dict[str, str]:
    """The command and the flags that were given.

    left: flags that the command looks at itself.

    Raises:
        UserError: a configuration key with an empty value, as of a variable that is not set.
    """
    flags = {key: value for key, value in vars(known).items() if value is not None}
    for key, value in flags.items():
        if value == "" and key not in left and (key in SAID or key == "config"):
            raise UserError(f"--{key}: expected a value, it is empty (none where that is allowed).")
    return flags


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
    _mend_streams()
    with interrupts.listening():
        try:
            try:
                action()
            except Exception:
                interrupts.heed()
                raise
        except UserError as error:
            return _fail(_with_advice(str(error), error), EXIT_MISTAKE)
        except RunFailure as error:
            return _fail(_with_advice(str(error), error), EXIT_FAILURE)
        except Exception as error:
            if os.environ.get("SSGAN_DEBUG"):
                raise
            kind = f"{type(error).__name__}: {error}"
            told = f"{kind} (set SSGAN_DEBUG=1 to see where)."
            return _fail(_with_advice(told, error), EXIT_FAILURE)
        except KeyboardInterrupt as error:
            return _fail(_with_advice(f"interrupted; {kept}.", error), EXIT_INTERRUPTED)
        return 0


def _mend_streams() -> None:
    """Let no output end a command: no letter that the terminal lacks, and no closed stream."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        elif stream is None:  # `2>&-`; another file would get its number, and what is written to it
            nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
            os.set_inheritable(nowhere.fileno(), True)
            setattr(sys, name, nowhere)


def _with_advice(message: str, error: BaseException) -> str:
    """The message, and how to go on if that is known; a command stands last, to be copied."""
    return "; ".join([message.removesuffix("."), *found]) if (found := advice(error)) else message


def _fail(message: str, code: int) -> int:
    """Print one line, mark a run that `mlflow run` has opened, return the exit code."""
    with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
        print(f"ssgan: {masked(' '.join(message.split()))}", file=sys.stderr)
    if os.environ.get("MLFLOW_RUN_ID"):
        from pipeline import tracking

        status = "KILLED" if code == EXIT_INTERRUPTED else "FAILED"
        tracking.end_attached_run(status, message)
    return code
