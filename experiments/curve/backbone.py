"""`backbone: auto` of a curve: settled once, for all of its trainings."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from experiments.curve import kept
from experiments.curve.grid import Grid
from experiments.curve.kept import Choice
from experiments.curve.settings import CEILING, SUPERVISED, THEIRS
from pipeline import progress
from pipeline.config.schema import Config
from pipeline.networks import backbones
from pipeline.runs import resume
from pipeline.stages import choose as choosing
from pipeline.stages.split import choose_split


def settled(grid: Grid) -> tuple[Grid, Choice | None, list[str]]:
    """The grid on one network if some method's is `auto`, what was chosen, and in words why, and
    who else stands on it.

    Methods that have another by themselves take it too: one baseline can then be fair to all. What
    an earlier command of the curve has chosen on these data stays: other counts and methods then
    add to its trainings.

    Raises:
        UserError: no such backbone, or its weights cannot be had or read.
    """
    own = {method: grid.config(method).backbone for method in grid.settings.methods}
    undecided = [method for method, backbone in own.items() if backbone == backbones.AUTO]
    if not undecided:
        return grid, None, []
    assert grid.data is not None
    choice = kept.choice(grid.experiment, grid.name)
    if choice and choice.data == grid.data.digest:
        words = [
            f"{choice.reason} (chosen by an earlier command of this curve; --backbone <name> "
            "chooses another)"
        ]
    else:
        found = _chosen(grid.config(undecided[0], grid.counts[0]))
        reason = found.reason or f"backbone {found.backbone}"
        choice = Choice(found.backbone, reason, grid.data.digest)
        words = [reason]
    others = [
        method
        for method, backbone in own.items()
        if backbone not in (backbones.AUTO, choice.backbone)
        and method not in (SUPERVISED, CEILING, *THEIRS)
    ]
    if others:
        words.append(
            f"{', '.join(others)}: on backbone {choice.backbone} like the others, though by "
            "default from scratch; --backbone none trains all from scratch"
        )
    return grid.with_backbone(choice.backbone), choice, words


def _chosen(config: Config) -> choosing.Choice:
    """What `backbone: auto` comes to with the fewest labels of the curve, for all its trainings.

    In a process of its own: TensorFlow's memory goes with it.
    """
    progress.phase("choosing between a backbone and training from scratch")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(_choose, config).result()


def _choose(config: Config) -> choosing.Choice:
    dataset = resume.load_data(config)
    return choosing.choose(config, dataset, choose_split(config, dataset))
