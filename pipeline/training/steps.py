"""Takes the steps of a training, phase after phase, from wherever it stands."""

import time
from collections.abc import Iterator

from pipeline import progress
from pipeline.config.schema import Config
from pipeline.methods import Arrays, Method
from pipeline.training import warm_up
from pipeline.training.forecast import PHASES
from pipeline.training.inputs import Inputs
from pipeline.training.state import State
from pipeline.training.warm_up import Shown

CALL_SECONDS = 0.5  # of work in one compiled call: Ctrl-C and the progress bar wait no longer


def first_step(method: Method, config: Config) -> int:
    """The number of warm-up steps, which come before the first of `method.step`.

    At least one where there is a warm-up: a graph stands on what it has learned.
    """
    least = 1 if method.warm_up_share else 0
    return min(max(least, round(method.warm_up_share * config.steps)), config.steps - 1)


def advance(
    state: State, inputs: Inputs, arrays: Arrays, config: Config
) -> Iterator[tuple[str, Shown]]:
    """Run all steps that are left.

    Yields:
        The name of the phase and what a report shows.
    """
    method, first, at = state.program.method, first_step(state.program.method, config), state.phase
    if at in ("", "warm_up"):
        yield from (("warm_up", one) for one in _warm_up(state, inputs, arrays, config, first))
        with state.changing():
            state.history.compared |= method.after_warm_up(arrays)
    if at in ("", "warm_up", "step"):
        run = _run(state, inputs, config, "step", first, config.steps)
        yield from (("step", one) for one in run)
    drawn = config.steps + method.generator_steps
    if method.generator_steps and at != "augment":
        progress.phase("classes of all images, for the generator")
        with state.changing():
            method.before_generator(arrays)
            if at == "generate":
                state.restore_variables()  # what it has found is known; the images were not kept
        run = _run(state, inputs, config, "generate", config.steps, drawn)
        yield from (("generate", one) for one in run)
    if method.augment_steps:
        run = _run(state, inputs, config, "augment", drawn, drawn + method.augment_steps)
        yield from (("augment", one) for one in run)


def _warm_up(
    state: State, inputs: Inputs, arrays: Arrays, config: Config, first: int
) -> Iterator[Shown]:
    """Run the warm-up's steps, or take one that an earlier training has made."""
    if not first:
        return
    known = warm_up.key(state.program, arrays, config, first)
    if not state.phase and warm_up.is_known(known):
        progress.phase("warm-up, known from before", total=config.steps)
        with state.changing():
            state.warm = warm_up.recall(known, state.program)
            state.history.recalled_steps = first
            yield from state.warm
            state.reported()
        state.enter("warm_up", first)
    if not state.history.recalled_steps:
        for one in _run(state, inputs, config, "warm_up", 0, first):
            state.warm.append(one)
            yield one
        warm_up.keep(known, state.program, state.warm)
    progress.phase("graph, labels are spread")


def _run(
    state: State, inputs: Inputs, config: Config, name: str, begin: int, end: int
) -> Iterator[Shown]:
    """Run the steps of a phase that are left."""
    program, history = state.program, state.history
    phase, chunk, done = program.phases[name], 1, state.enter(name, begin)
    progress.phase(PHASES[name], done=done, total=max(end, config.steps))
    for until in _report_steps(begin, end, config.report_every):
        if until <= state.last_report:
            continue
        while state.done < until:
            count = min(chunk, until - state.done, inputs.most_steps)
            before = time.perf_counter()
            with state.call():
                given = inputs.steps(state.done, count, begin, end, name)
                state.took(count, phase.run(*given).numpy())
            taken = time.perf_counter() - before
            history.trace_seconds = history.trace_seconds or program.trace_seconds + taken
            if count == chunk and taken < CALL_SECONDS / 2:
                chunk *= 2
            progress.advance(state.done)
            state.offer()
        means = dict(zip(phase.keys, state.means().tolist(), strict=True))
        yield Shown(state.done, means, state.pace())
        state.reported()
        state.offer()


def _report_steps(begin: int, end: int, every: int) -> Iterator[int]:
    """Multiples of `every` between two steps, and the last one."""
    yield from range(begin - begin % every + every, end, every)
    if end > begin:
        yield end
