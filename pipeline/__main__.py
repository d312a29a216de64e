"""The command line: parse, resolve the configuration, hand over to `flow`.

    python -m pipeline run --label_frac 0.1

The subcommands are MLproject's entry points, the flags are the keys of `configs/default.yaml` and
of the method's YAML. Exit code 2 for a user's mistake, 1 for a failure, 130 on Ctrl-C.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from pipeline import config as configuration
from pipeline.errors import RunFailure, UserError

COMMANDS = {
    "run": "split, train and evaluate in one run, with the supervised baseline",
    "split": "choose the labels; the run's id continues in train",
    "train": "train on the split of --run_id",
    "evaluate": "measure the models of --run_id",
}
EXIT_FAILURE, EXIT_MISTAKE, EXIT_INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    for sign in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(sign) is not signal.SIG_IGN:  # nohup
            signal.signal(sign, _terminate)
    try:
        command, flags = _parse(sys.argv[1:] if argv is None else argv)
        _refuse_experiment(flags)
        if command in ("run", "split"):
            # Resolved before flow is imported: a mistake is told without waiting for MLflow.
            config = configuration.load(flags)
            _refuse_run_id(command, flags)
            from pipeline import flow, summary

            result = flow.run(config) if command == "run" else flow.split(config)
        else:
            from pipeline import flow, summary

            result = flow.train(flags) if command == "train" else flow.evaluate(flags)
        summary.show(result)
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
        return _fail(
            "interrupted; a run that had begun is KILLED and keeps what it had.", EXIT_INTERRUPTED
        )
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Tell the mistake in one line, as all others."""
        raise UserError(f"{message}; python -m pipeline --help lists commands and flags.")


def _parse(argv: Sequence[str]) -> tuple[str, dict[str, str]]:
    defaults = configuration.defaults()
    keys = _Parser(add_help=False, allow_abbrev=False)
    keys.add_argument("--config", metavar="FILE", help="YAML file of keys and values")
    for key, meaning in configuration.meanings().items():
        shown = defaults[key] if defaults[key] is not None else "none"
        keys.add_argument(
            f"--{key}", metavar="", help=f"{meaning} (default: {shown})".replace("%", "%%")
        )
    parser = _Parser(
        prog="python -m pipeline",
        description="How far do n labels get me? Semi-supervised GAN against supervised baseline.",
        epilog="Every key can be a flag of every command; a method's own keys stand in "
        "configs/method/<name>.yaml. The method's and data set's YAML may change the defaults.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, meaning in COMMANDS.items():
        commands.add_parser(name, help=meaning, parents=[keys], allow_abbrev=False)
    known, rest = parser.parse_known_args(argv)
    flags = {key: value for key, value in vars(known).items() if value is not None}
    return flags.pop("command"), flags | _own_keys(rest)


def _own_keys(rest: Sequence[str]) -> dict[str, str]:
    """Flags that only a method may know: `--key value` or `--key=value`."""
    flags, words = {}, iter(rest)
    for word in words:
        key, joined, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not key:
            raise UserError(f"{word!r}: expected --key value.")
        if not joined and (value := next(words, "")) == "":
            raise UserError(f"--{key}: expected a value.")
        flags[key] = value
    return flags


def _refuse_run_id(command: str, flags: dict[str, str]) -> None:
    """A flag that would be ignored in silence is a mistake."""
    if flags.get("run_id"):
        raise UserError(
            f"run_id = {flags['run_id']!r} (from --run_id): {command} starts anew; train and "
            "evaluate continue from a run."
        )


def _refuse_experiment(flags: dict[str, str]) -> None:
    """Under `mlflow run` the experiment has been chosen."""
    if "experiment" in flags and "MLFLOW_RUN_ID" in os.environ:
        raise UserError(
            f"experiment = {flags['experiment']!r} (from --experiment): mlflow run chooses the "
            f"experiment; call it with --experiment-name {flags['experiment']}."
        )


def _fail(message: str, code: int) -> int:
    """Print one line, mark a run that `mlflow run` has opened, return the exit code."""
    print(f"ssgan: {' '.join(message.split())}", file=sys.stderr)
    if "MLFLOW_RUN_ID" in os.environ:
        from pipeline import tracking

        status = "KILLED" if code == EXIT_INTERRUPTED else "FAILED"
        tracking.end_attached_run(status, message)
    return code


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
