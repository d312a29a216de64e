"""`backbone: auto` of a curve: settled once, for all of its trainings."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from experiments.curve.grid import Grid
from experiments.curve.settings import CEILING, SUPERVISED
from pipeline import progress
from pipeline.config.schema import Config
from pipeline.networks import backbones
from pipeline.runs import resume
from pipeline.stages.choose import Choice, choose
from pipeline.stages.split import choose_split


def settled(grid: Grid) -> tuple[Grid, list[str]]:
    """The grid on one network if some method's is `auto`, and in words what it is and why.

    Methods that have another by themselves take it too: one baseline can then be fair to all.

    Raises:
        UserError: no such backbone, or its weights cannot be had or read.
    """
    own = {method: grid.config(method).backbone for method in grid.settings.methods}
    undecided = [method for method, backbone in own.items() if backbone == backbones.AUTO]
    if not undecided:
        return grid, []
    choice = _chosen(grid.config(undecided[0], grid.counts[0]))
    others = [
        method
        for method, backbone in own.items()
        if backbone not in (backbones.AUTO, choice.backbone) and method not in (SUPERVISED, CEILING)
    ]
    words = [choice.reason] if choice.reason else []
    if others:
        words.append(
            f"{', '.join(others)}: on backbone {choice.backbone} like the others, though by "
            "default from scratch; --backbone none trains all from scratch"
        )
    return grid.with_backbone(choice.backbone), words


def _chosen(config: Config) -> Choice:
    """What `backbone: auto` comes to with the fewest labels of the curve, for all its trainings.

    In a process of its own: TensorFlow's memory goes with it.
    """
    progress.phase("choosing between a backbone and training from scratch")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(_choose, config).result()


def _choose(config: Config) -> Choice:
    dataset = resume.load_data(config)
    return choose(config, dataset, choose_split(config, dataset))
