"""The command line of many runs.

    python -m experiments search --trials 30 --workers 2
    python -m experiments curve --methods supervised,ssgan --label_counts 20,50,100 --seeds 10
    python -m experiments report --filter "params.method != 'vat'"

The flags are the settings of `configs/search/default.yaml` or `configs/curve/default.yaml` and the
configuration keys that a command does not decide itself. Exit code 2 for a user's mistake, 1 for a
failure, 130 on Ctrl-C; the same command then goes on.
"""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence

from experiments import checks
from experiments import plan as plans
from experiments import settings as of_searches
from experiments.curve import grid as grids
from experiments.curve.settings import Settings, goal_of
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
    typed,
)
from pipeline.config import layers as configuration
from pipeline.errors import UserError
from pipeline.masking import masked

REPORT = {
    "filter": "which finished runs, as MLflow's search takes it, such as "
    "\"metrics.n_labels < 500 and tags.`ssgan.kind` != 'baseline'\"",
    "experiment": "their MLflow experiment (default: MLFLOW_EXPERIMENT_NAME, or else ssgan)",
    "curve": "name of a curve whose runs they are, instead of --experiment",
    "against": "the method that the others are compared with (default: the curve's, or else "
    "supervised)",
    "goal": "the error that you want, between 0 and 1 (3 % is 0.03; default: the curve's)",
    "out": "file of the report, .html",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    return guarded(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> None:
    command, flags = _parse(argv)
    typed = masked(shlex.join(["python", "-m", "experiments", *argv]))
    run = {"search": _search, "storage": _serve}.get(command)
    if run:
        run(flags)
    elif command == "curve":
        _curve(flags, typed)
    else:
        _report(flags, typed)


def _search(flags: Mapping[str, str]) -> None:
    plan = plans.read(flags)  # before anything slow is imported: a mistake is told at once
    from pipeline import progress

    with progress.shown(silence=20.0):
        progress.phase("loading MLflow and Optuna")
        from experiments import report
        from experiments.search.conduct import search
        from pipeline import tracking

        answer = search(plan)
    report.show(answer)
    tracking.check_sent()


def _curve(flags: Mapping[str, str], typed: str) -> None:
    grid = grids.read(flags)
    from pipeline import progress

    with progress.shown(silence=20.0):
        progress.phase("loading MLflow")
        from experiments import report
        from experiments.curve.conduct import draw
        from pipeline import tracking

        given = draw(grid, typed)
    report.show_curve(given)
    tracking.check_sent()


def _report(flags: Mapping[str, str], typed: str) -> None:
    if unknown := sorted(flags.keys() - REPORT.keys()):
        raise UserError(f"--{unknown[0]}: report knows {', '.join(f'--{key}' for key in REPORT)}.")
    if flags.get("curve") and flags.get("experiment"):
        raise UserError("curve and experiment: a curve has its own experiment; give one of them.")
    goal = goal_of(flags.get("goal"))
    from pipeline import progress

    with progress.shown(silence=20.0):
        progress.phase("loading MLflow")
        from experiments import report
        from experiments.curve.answering import Asked, of_runs
        from pipeline import tracking

        asked = {key: flags.get(key) for key in ("experiment", "curve", "out")}
        against = flags.get("against")
        chosen = Asked(flags.get("filter") or "", against=against, goal=goal, **asked)
        given = of_runs(chosen, typed)
    report.show_curve(given)
    tracking.check_sent()


def _serve(flags: Mapping[str, str]) -> None:
    from experiments.search import serve

    for key in sorted(flags.keys() - {"storage", "address"}):
        raise UserError(f"storage: unknown --{key}; it has --storage and --address.")
    host, _, port = flags.get("address", "127.0.0.1:13000").rpartition(":")
    if "://" not in flags.get("storage", "") or not host or not _is_port(port):
        raise UserError(
            "storage needs --storage <database URL, as sqlite:///trials.db> and, if it is not "
            "127.0.0.1:13000, --address host:port with a port from 1 to 65535."
        )
    serve(flags["storage"], host, int(port))


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 1 << 16


def _parse(argv: Sequence[str]) -> tuple[str, dict[str, str]]:
    parser = Parser(
        prog="python -m experiments",
        description="Many runs. The same command goes on with what has been interrupted.",
        epilog="python -m experiments search --search mnist --help tells every setting and key, "
        "what it means, and its value for that search; so does curve --curve quick --help.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    search = commands.add_parser(
        "search",
        help="Optuna over label fraction and learning rates",
        description="Optuna over label fraction and learning rates. A key with a distribution in "
        "the search's file is searched, the others stay.",
        usage="%(prog)s [--key value ...]",
    )
    curve = commands.add_parser(
        "curve",
        help="test error against labels, for several methods and seeds; the report on it",
        description="Test error against labels, for several methods and seeds, on nested splits.",
        usage="%(prog)s [--key value ...]",
    )
    report = commands.add_parser("report", help="the same report on any finished runs")
    storage = commands.add_parser("storage", help="serve a database to many workers over gRPC")
    _add(argv, search, "search", plans.names(), of_searches.Settings, checks.REFUSED, _presets)
    _add(argv, curve, "curve", grids.names(), Settings, grids.REFUSED, _of_curve)
    for key, meaning in REPORT.items():
        report.add_argument(f"--{key}", metavar="", help=meaning.replace("%", "%%"))
    storage.add_argument("--storage", help="the database, e.g. postgresql+psycopg://…")
    storage.add_argument("--address", help="host:port (default: 127.0.0.1:13000)")
    known, rest = parser.parse_known_args(argv)
    flags = typed(known)
    return flags.pop("command"), flags | own_keys(rest)


def _add(
    argv: Sequence[str],
    parser: Parser,
    command: str,
    names: Sequence[str],
    settings: type[of_searches.Settings] | type[Settings],
    refused: frozenset[str],
    presets: Callable[[Mapping[str, str]], Values],
) -> None:
    """Give a command its flags; if help is asked for, with their values."""
    keys = (command, "mode", *configuration.CHOOSING)
    chosen = asked(argv, keys) if command in argv else None
    values = forgiving(presets, chosen) if chosen is not None else None
    parser.epilog = values.heading if values else ""
    group = parser.add_argument_group(command)
    add_flag(group, command, f"{', '.join(names)}, or a YAML file", values)
    for key, field in settings.model_fields.items():
        add_flag(group, key, str(field.description), values)
    add_keys(parser, refused | settings.model_fields.keys(), values)


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


def _of_curve(flags: Mapping[str, str]) -> Values:
    """The settings and values for the curve, data set, steps and file in `flags`."""
    grid = grids.read(flags)
    config = grid.config(grid.settings.methods[-1])
    values = {**config.flat(), **grid.settings.model_dump(), "name": grid.name}
    values["curve"] = grids.DEFAULT
    for key in ("dataset", "steps"):  # what these are without their own flags
        plain = grids.read({other: flags[other] for other in flags if other != key})
        values[key] = plain.config(plain.settings.methods[-1]).flat()[key]
    return Values(values, config.method, heading(config, {"curve": grids.DEFAULT, **flags}))


if __name__ == "__main__":
    sys.exit(main())
