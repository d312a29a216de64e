"""The command line of many runs.

    python -m experiments search --trials 30 --workers 2

The flags are the settings of `configs/search/default.yaml` and the configuration keys that a search
does not decide itself. Exit code 2 for a user's mistake, 1 for a failure, 130 on Ctrl-C; the same
command then goes on.
"""

import sys
from collections.abc import Sequence

from experiments import plan as plans
from pipeline import config as configuration
from pipeline.command_line import Parser, config_keys, guarded, own_keys
from pipeline.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    return guarded(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> None:
    command, flags = _parse(argv)
    if command == "storage":
        from experiments.search import serve

        host, _, port = flags.get("address", "127.0.0.1:13000").partition(":")
        if not flags.get("storage") or not port.isdigit():
            raise UserError("storage needs --storage <database URL> and --address host:port.")
        serve(flags["storage"], host, int(port))
        return
    plan = plans.read(flags)  # before anything slow is imported: a mistake is told at once
    from pipeline import progress

    with progress.shown(silence=20.0):
        progress.phase("loading MLflow and Optuna")
        from experiments import report
        from experiments.search.conduct import search

        answer = search(plan)
    report.show(answer)


def _parse(argv: Sequence[str]) -> tuple[str, dict[str, str]]:
    defaults = configuration.read_yaml(plans.SEARCHES / "default.yaml")
    keys = Parser(add_help=False, allow_abbrev=False)
    keys.add_argument(
        "--search", metavar="", help=f"space: {', '.join(plans.names())} or a YAML file"
    )
    for key, field in plans.Settings.model_fields.items():
        shown = f"{field.description} (default: {defaults[key].value})".replace("%", "%%")
        keys.add_argument(f"--{key}", metavar="", help=shown)
    parser = Parser(prog="python -m experiments", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser(
        "search",
        help="Optuna over label fraction and learning rates",
        parents=[keys, config_keys(plans.REFUSED)],
        allow_abbrev=False,
    )
    storage = commands.add_parser("storage", help="serve a database to many workers over gRPC")
    storage.add_argument("--storage", help="the database, e.g. postgresql+psycopg://…")
    storage.add_argument("--address", help="host:port (default: 127.0.0.1:13000)")
    known, rest = parser.parse_known_args(argv)
    flags = {key: value for key, value in vars(known).items() if value is not None}
    return flags.pop("command"), flags | own_keys(rest)


if __name__ == "__main__":
    sys.exit(main())
