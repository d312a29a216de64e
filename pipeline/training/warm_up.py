"""A warm-up sees no label: what it has learned serves every training that differs in labels alone.

Kept in memory for the next trainings of this process: a curve over label counts, or a method
beside its ablation, pays for the warm-up once. What is recalled equals what would be computed.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.config.key import Decides
from pipeline.config.own_keys import deciding
from pipeline.config.schema import Config
from pipeline.methods import Arrays
from pipeline.training.program import Program, variables_of

KEPT = 2  # warm-ups kept, the last ones; each holds the weights and Adam's moments


class Shown(NamedTuple):
    """What the loop tells at a report."""

    done: int  # steps
    means: dict[str, float]  # losses since the last report
    rate: float  # steps a second


class WarmUp(NamedTuple):
    """What a finished warm-up has left."""

    values: list[NDArray[np.generic]]  # of the variables in the method's `warm_up_state`
    shown: list[Shown]  # at each report


_kept: OrderedDict[str, WarmUp] = OrderedDict()


def key(program: Program, arrays: Arrays, config: Config, steps: int) -> str:
    """What two warm-ups of `steps` steps must share to be the same."""
    decisive = deciding(config, Decides.WARM_UP)
    shapes = [tuple(variable.shape) for variable in program.method.network.variables]
    pool = hashlib.sha256(arrays.pool.tobytes()).hexdigest()
    return json.dumps([decisive, steps, shapes, arrays.digest, pool], sort_keys=True)


def is_known(known: str) -> bool:
    """Whether `recall` would find a warm-up of this key."""
    return known in _kept


def recall(known: str, program: Program) -> list[Shown]:
    """Put the program where the warm-up of this key has left it; its reports, none if unknown."""
    if known not in _kept:
        return []
    _kept.move_to_end(known)
    changed = variables_of(program.method.warm_up_state())
    for variable, value in zip(changed, _kept[known].values, strict=True):
        variable.assign(value)
    return list(_kept[known].shown)


def keep(known: str, program: Program, shown: Sequence[Shown]) -> None:
    """Remember what a finished warm-up has left."""
    changed = variables_of(program.method.warm_up_state())
    _kept[known] = WarmUp([variable.numpy() for variable in changed], list(shown))
    while len(_kept) > KEPT:
        _kept.popitem(last=False)


def forget() -> None:
    """Keep nothing: what is timed shall be computed."""
    _kept.clear()
