"""The command line: parse, resolve the configuration, hand over to `flow`.

    python -m pipeline run --label_frac 0.1

The subcommands are MLproject's entry points, the flags are the keys of `configs/default.yaml` and
of the method's YAML. Exit code 2 for a user's mistake, 1 for a failure, 130 on Ctrl-C.
"""

import os
import sys
from collections.abc import Sequence

from pipeline.command_line import (
    Parser,
    add_keys,
    asked,
    forgiving,
    guarded,
    own_keys,
    presets,
    typed,
)
from pipeline.config import layers as configuration
from pipeline.config import named
from pipeline.config.key import is_none
from pipeline.config.reading import Layer
from pipeline.errors import UserError

COMMANDS = {
    "run": "split, train and evaluate in one run, with the supervised baseline",
    "split": "choose the labels; the run's id continues in train",
    "train": "train on the split of --run_id",
    "evaluate": "measure the models of --run_id",
    "sync": "send what an MLflow store that was away has not got",
    "predict": "classify pictures with the model of --run_id, into a table",
    "sample": "draw images with the generator of --run_id, as PNG files and a contact sheet",
}
SAMPLE = {  # the flags of `sample`
    "run_id": "the run whose generator draws",
    "n": "images of each class, or in all if the generator knows no class (default: 100)",
    "class": "draw this class alone, by its name",
    "out": "folder to write, new or empty (default: samples-<run id>)",
    "seed": "of the random numbers; the same seed draws the same images (default: 0)",
    "interpolate": "true writes a sheet of ways from one image to another, too (default: false)",
}
PREDICT = {  # the flags of `predict`
    "run_id": "the run whose classifier reads the pictures",
    "data_dir": "folder of pictures, however they lie in it",
    "out": "CSV file to write, a new one (default: predictions-<run id>.csv)",
    "baseline": "true reads with the run's supervised baseline instead (default: false)",
}
OF_A_MODEL = {"sample": SAMPLE, "predict": PREDICT}  # take no key of the configuration
SYNC_MEANING = (
    "Send the records of runs that ended while their MLflow store (MLFLOW_TRACKING_URI) was away, "
    "in order, nothing twice."
)
RESUME = "resume"
RESUME_MEANING = "go on with this run, which was ended early, in the same MLflow run"
ANEW = ("run", "split")  # which continue from no run
CONTINUED = "What is not given is as in the run of --run_id, before any default. "


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    return guarded(lambda: _run(sys.argv[1:] if argv is None else argv))


def _run(argv: Sequence[str]) -> None:
    command, flags = _parse(argv)
    if command == "ui":
        _ui(flags)
        return
    if command == "sync":
        _sync(flags)
        return
    if command in OF_A_MODEL:
        _use_model(command, flags)
        return
    _refuse_resume(command, flags)
    file, given = configuration.said(flags)
    said = {**file, **given}
    _refuse_experiment(said)
    if command in ANEW and RESUME not in flags:
        # Resolved before flow is imported: a mistake is told without waiting for MLflow.
        config = configuration.load(flags)
        _refuse_run_id(command, said)
    elif "run_id" in file and "run_id" not in given:
        flags["run_id"] = str(file["run_id"].value or "")
    from pipeline import progress

    with progress.shown():
        progress.phase("loading MLflow")
        from pipeline import tracking
        from pipeline.runs import flow, summary

        if RESUME in flags:
            result = flow.go_on(flags)
        elif command in ("run", "split"):
            result = flow.run(config) if command == "run" else flow.split(config)
        else:
            result = flow.train(flags) if command == "train" else flow.evaluate(flags)
    summary.show(result)
    tracking.check_sent()


def _parse(argv: Sequence[str]) -> tuple[str, dict[str, str]]:
    chosen = asked(argv, configuration.CHOOSING)
    values = forgiving(presets, chosen) if chosen is not None else None
    parser = Parser(
        prog="python -m pipeline",
        description="How far do n labels get me? Semi-supervised training beside a "
        "supervised baseline.",
        epilog="python -m pipeline run --dataset mnist --method ssgan --help tells every key, what "
        "it means, and its value for that data set and method.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, meaning in COMMANDS.items():
        if name == "sync" or name in OF_A_MODEL:
            continue
        anew = name in ANEW
        command = commands.add_parser(
            name,
            help=meaning,
            description=meaning,
            epilog=("" if anew else CONTINUED) + (values.heading if values else ""),
            usage="%(prog)s " + ("" if anew else "--run_id ID ") + "[--key value ...]",
        )
        if name == "run":
            command.add_argument("--resume", metavar="ID", help=RESUME_MEANING)
        add_keys(command, ("run_id",) if anew else (), values)
    commands.add_parser("sync", help=COMMANDS["sync"], description=SYNC_MEANING)
    for name, keys in OF_A_MODEL.items():
        command = commands.add_parser(name, help=COMMANDS[name], description=COMMANDS[name])
        for key, meaning in keys.items():
            command.add_argument(f"--{key}", metavar="", help=meaning)
    ui = commands.add_parser("ui", help="MLflow's UI on this folder's runs")
    ui.add_argument("--port", metavar="", help="port to serve at (default: MLFLOW_PORT, or 5000)")
    known, rest = parser.parse_known_args(argv)
    flags = typed(known, ("run_id", *OF_A_MODEL.get(known.command, ())))
    return flags.pop("command"), flags | own_keys(rest)


def _sync(flags: dict[str, str]) -> None:
    if flags:
        raise UserError(f"--{next(iter(flags))}: sync takes no flags.")
    from pipeline import progress

    with progress.shown():
        progress.phase("loading MLflow")
        from pipeline import tracking

        sent = tracking.sync()
        tracking.describe_attached("sync", "sync", str(sent))
    print(sent)


def _use_model(command: str, flags: dict[str, str]) -> None:
    _refuse_unknown(command, flags)
    from pipeline import progress

    with progress.shown():
        progress.phase("loading MLflow")
        from pipeline import tracking
        from pipeline.runs import predict, sample

        if command == "sample":
            written = sample.sample(sample.asked(flags))
        else:
            written = predict.predict(predict.asked(flags))
    print(written)
    tracking.check_sent()


def _refuse_unknown(command: str, flags: dict[str, str]) -> None:
    """A flag that would be ignored in silence is a mistake."""
    known = OF_A_MODEL[command]
    for key in flags:
        if key not in known:
            listed = ", ".join(f"--{name}" for name in known)
            near = named.suggestion(key, list(known))
            raise UserError(f"--{key}: {command} does not know it{near}; it takes {listed}.")


def _ui(flags: dict[str, str]) -> None:
    port = flags.pop("port", None) or os.environ.get("MLFLOW_PORT") or "5000"
    if flags:
        raise UserError(f"--{next(iter(flags))}: ui knows --port alone.")
    if not port.isdecimal():
        raise UserError(f"port = {port!r} (from --port or MLFLOW_PORT): not a number.")
    from pipeline.tracking import ui

    ui.serve(int(port))


def _refuse_run_id(command: str, said: Layer) -> None:
    """A value that would be ignored in silence is a mistake."""
    if "run_id" in said and not is_none(said["run_id"].value):
        raise UserError(
            f"run_id = {said['run_id'].value!r} (from {said['run_id'].source}): {command} starts "
            "anew; train and evaluate continue from a run."
        )


def _refuse_resume(command: str, flags: dict[str, str]) -> None:
    """Whatever stage a run was at, `run` goes on with it."""
    if RESUME in flags and (command != "run" or not flags[RESUME]):
        given = flags[RESUME] or "<run id>"
        raise UserError(
            f"resume = {flags[RESUME]!r} (from --resume): type python -m pipeline run --resume "
            f"{given}, or mlflow run . -P resume={given}."
        )


def _refuse_experiment(said: Layer) -> None:
    """Under `mlflow run` the experiment has been chosen."""
    name, source = said.get("experiment", (None, ""))
    if os.environ.get("MLFLOW_RUN_ID") and not is_none(name):
        raise UserError(
            f"experiment = {name!r} (from {source}): mlflow run chooses the experiment; call it "
            f"with --experiment-name {name}."
        )


if __name__ == "__main__":
    sys.exit(main())
