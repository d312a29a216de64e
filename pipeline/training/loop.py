"""The one loop for all methods: reports, early end if lost, and going on after a kill."""

from collections.abc import Callable

from pipeline import progress
from pipeline.config.schema import Config
from pipeline.errors import Collapsed, Diverged, RunFailure
from pipeline.methods import Arrays
from pipeline.training import features, forecast, samples, warm_up
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.forecast import Forecast
from pipeline.training.history import History, Report
from pipeline.training.inputs import Inputs
from pipeline.training.lost import Watch
from pipeline.training.program import Program
from pipeline.training.state import DONE, State
from pipeline.training.steps import advance, first_step


def train(
    program: Program,
    arrays: Arrays,
    config: Config,
    on_report: Callable[[Report], bool],
    validate: Callable[[], dict[str, float]] = dict,
    foretell: Callable[[Forecast], None] | None = None,
    checkpoints: Checkpoints | None = None,
    key: str = "",
) -> History:
    """Train the program's method for its steps, or until `on_report` returns False.

    These are `config.steps` of the classifier, then the generator's own if it has any. One that is
    lost ends the training early: the classifier is done, and `History.generator_lost` says why.

    Args:
        program: what to train; the networks of its method are changed in place.
        arrays: images and labels.
        config: `steps`, `report_every`, batch sizes, learning rates, schedule, `ema_decay`.
        on_report: called at every report, and before the first step if there are samples to show;
            False stops the training.
        validate: measures on validation images at every report after the warm-up, which trains
            no output layer; named as in MLflow.
        foretell: is told before the first step how long the training will take, unless it is so
            short that finding out would not pay.
        checkpoints: where the training is kept while it goes on, if it is. One that is there is
            gone on from: its reports are told again, and it ends as if it had never been ended.
        key: what tells this training from others; checkpoints of others are refused.

    Raises:
        UserError: a checkpoint is another training's.
        Diverged: a loss is not finite.
        Collapsed: the classifier has collapsed, or a generator that is trained beside it.
    """
    history = _history(program, arrays, config)
    state = State(program, history, checkpoints, key)
    if not state.recall():
        history.compared |= features.start(program.method, arrays)
    try:
        _train(state, arrays, config, history.apart(on_report), validate, foretell)
    except (Diverged, Collapsed):
        raise  # it would only be lost again
    except BaseException:
        state.save()
        raise
    program.let_go_of_images()
    history.seconds = state.seconds()
    program.trace_seconds = 0.0  # paid once
    return history


def _train(
    state: State,
    arrays: Arrays,
    config: Config,
    on_report: Callable[[Report], bool],
    validate: Callable[[], dict[str, float]],
    foretell: Callable[[Forecast], None] | None,
) -> None:
    """Take all steps that are left and make the reports."""
    program, history = state.program, state.history
    inputs, generate = Inputs(program, arrays, config), samples.fixed(program)
    first = first_step(program.method, config)
    if foretell is not None and not state.phase:
        _foretell(program, inputs, arrays, config, history, foretell)
    drawn = samples.steps(program.method, config, first)
    watch = Watch(program.method, arrays, config, first, state.last_report)
    labels = samples.labels(program.method)
    if state.phase:
        going_on = _show_again(state, on_report)
    else:
        start = None if drawn.begin > first else generate()
        going_on = start is None or _show(Report(0, {}, start, labels), history, on_report)
        state.reported()
    steps = advance(state, inputs, arrays, config)
    for phase, (done, means, rate) in steps if going_on and state.phase != DONE else ():
        report = Report(
            step=done,
            metrics={f"train/{name}": value for name, value in means.items()}
            | {"train/images_per_second": rate * _images_a_step(phase, history, config)}
            | (validate() if phase in ("step", "augment") else {}),
            samples=generate() if drawn.due(state.last_report, done) else None,
            classes=labels,
            percent=drawn.percent(done),
        )
        progress.report(done, progress.numbers(report.metrics))
        going_on = _show(report, history, on_report)
        try:
            watch.judge(phase, done, report.metrics, report.samples, labels)
        except RunFailure as failure:
            if phase != "generate":
                raise
            history.generator_lost = str(failure)
            break
        if not going_on:
            break
    if going_on:
        state.finish()


def _show(report: Report, history: History, on_report: Callable[[Report], bool]) -> bool:
    """Add a report to the history and tell it; whether to go on."""
    history.reports.append(report)
    return on_report(report)


def _show_again(state: State, on_report: Callable[[Report], bool]) -> bool:
    """Tell the reports of the checkpoint, which may have been told elsewhere; whether to go on."""
    progress.note(f"going on after step {state.done:,}")
    return all(on_report(report) for report in state.history.reports)


def _foretell(
    program: Program,
    inputs: Inputs,
    arrays: Arrays,
    config: Config,
    history: History,
    foretell: Callable[[Forecast], None],
) -> None:
    """Time a few steps of each phase that will be done, and tell what comes of it."""
    first = first_step(program.method, config)
    known = first and warm_up.is_known(warm_up.key(program, arrays, config, first))
    steps = {} if known or not first else {"warm_up": first}
    steps["step"] = config.steps - first
    if program.method.generator_steps:
        steps["generate"] = program.method.generator_steps
    if program.method.augment_steps:
        steps["augment"] = program.method.augment_steps
    found = forecast.measured(program, inputs, steps)
    if found is not None:
        history.trace_seconds = program.trace_seconds + found.first_s
        foretell(found)


def _images_a_step(phase: str, history: History, config: Config) -> int:
    if phase == "generate":
        return int(config.own["generated_batch_size"])
    return history.images_per_step


def _history(program: Program, arrays: Arrays, config: Config) -> History:
    if program.method.uses_pool:
        return History(config.unlabelled_batch_size, len(arrays.pool), config.steps)
    return History(config.batch_size, len(arrays.labelled), config.steps)
