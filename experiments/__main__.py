"""The command line of many runs.

    python -m experiments search --trials 30 --workers 2

The flags are the settings of `configs/search/default.yaml` and the configuration keys that a search
does not decide itself. Exit code 2 for a user's mistake, 1 for a failure, 130 on Ctrl-C; the same
command then goes on.
"""

import sys
from collections.abc import Mapping, Sequence

from experiments import plan as plans
from experiments.space import Choices
from pipeline.command_line import (
    Parser,
    Values,
    add_flag,
    add_keys,
    asked,
    forgiving,
    guarded,
    heading,
    own_keys,
)
from pipeline.config import layers as configuration
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
    chosen = asked(argv, ("search", "mode", *configuration.CHOOSING))
    values = forgiving(_presets, chosen) if chosen is not None else None
    parser = Parser(
        prog="python -m experiments",
        description="Many runs. The same command goes on with a search that has been interrupted.",
        epilog="python -m experiments search --search mnist --help tells every setting and key, "
        "what it means, and its value for that search.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    search = commands.add_parser(
        "search",
        help="Optuna over label fraction and learning rates",
        description="Optuna over label fraction and learning rates. A key with a distribution in "
        "the search's file is searched, the others stay.",
        epilog=values.heading if values else "",
        usage="%(prog)s [--key value ...]",
    )
    group = search.add_argument_group("search")
    add_flag(group, "search", f"{', '.join(plans.names())}, or a YAML file", values)
    for key, field in plans.Settings.model_fields.items():
        add_flag(group, key, str(field.description), values)
    add_keys(search, plans.REFUSED, values)
    storage = commands.add_parser("storage", help="serve a database to many workers over gRPC")
    storage.add_argument("--storage", help="the database, e.g. postgresql+psycopg://…")
    storage.add_argument("--address", help="host:port (default: 127.0.0.1:13000)")
    known, rest = parser.parse_known_args(argv)
    flags = {key: value for key, value in vars(known).items() if value is not None}
    return flags.pop("command"), flags | own_keys(rest)


def _presets(flags: Mapping[str, str]) -> Values:
    """The settings and values for the search, data set, method, steps and file in `flags`."""
    plan = plans.read(flags)
    config = plan.config(plan.firsts)
    values = {**config.flat(), **plan.settings.model_dump(), "study": plan.study}
    values |= {key: str(held) for key, held in plan.space.items()}
    # What these are without their own flags.
    values["search"] = plans.chosen({key: flags[key] for key in flags if key != "search"})
    for key in ("mode", "dataset", "method"):
        _, file = plans.files({k: v for k, v in flags.items() if (k, key) != ("mode", "mode")})
        value = file[key].value if key in file else configuration.defaults()[key]
        values[key] = str(Choices.model_validate(value)) if isinstance(value, dict) else value
    named = {"search": plans.chosen(flags), **flags}
    if "steps" in flags:
        whole = _presets({key: flags[key] for key in flags if key != "steps"})
        values["steps"] = whole.of["steps"]
    return Values(values, config.method, heading(config, named))


if __name__ == "__main__":
    sys.exit(main())
