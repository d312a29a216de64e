"""Equal time for methods: what of a space decides how long a step takes, and is timed for each.

Beside the method these are the keys of the compiled step, such as the network or a batch size.
Every combination of their choices is timed. An amount, such as the weight of a loss, takes the same
time whatever it is; 0 alone may leave something out.
"""

import itertools
import json
from collections.abc import Collection, Mapping, Sequence

from experiments.space import Choices, Range
from pipeline.config.key import Decides, Value
from pipeline.config.own_keys import said
from pipeline.errors import UserError

Space = Mapping[str, Range | Choices]
# What decides the time of the mean step beside the compiled keys.
ELSE = frozenset({"warm_up_share", "warm_up_labels", "deterministic"})
MOST = 16  # combinations that are timed; each has to be compiled


def keys(space: Space, also: Collection[str] = ()) -> list[str]:
    """The keys whose choices are timed one by one, `method` first.

    Args:
        space: what is searched; `method` among it.
        also: keys that decide the time in this space alone.
    """
    found = {key for key in space if _decides(key) or key in also}
    found = {key for key in found if isinstance(space[key], Choices)}
    return ["method", *sorted(found - {"method"})]


def combinations(space: Space, timed: Sequence[str]) -> list[dict[str, Value]]:
    """Every combination of the choices of the `timed` keys, the first of each first."""
    choices = itertools.product(*(space[key].ends for key in timed))
    return [dict(zip(timed, values, strict=True)) for values in choices]


def name(values: Mapping[str, Value], timed: Sequence[str]) -> str:
    """What the combination that a trial with these values belongs to is kept under."""
    if list(timed) == ["method"]:
        return str(values["method"])
    return json.dumps({key: values[key] for key in timed})


def check(space: Space, timed: Sequence[str], sources: Mapping[str, str]) -> None:
    """Refuse a space whose steps cannot be timed.

    Args:
        space: what is searched.
        timed: its `keys`.
        sources: where each key of the space comes from, for messages.

    Raises:
        UserError: `steps` is searched, a key that decides the time has a range, or there are too
            many combinations.
    """
    if "steps" in space:
        raise UserError(
            f"steps (from {sources['steps']}): cannot be searched with equal_time, where the time "
            "of the first method decides the steps of each; give it a value, or equal_time false."
        )
    for key, held in space.items():
        if isinstance(held, Range) and _decides(key) and not _is_amount(key, held):
            raise UserError(
                f"{key} (from {sources[key]}): it decides how long a step takes, and with "
                "equal_time each of its values is timed; give {choices: […]}, or equal_time false."
            )
    if (count := len(combinations(space, timed))) > MOST:
        raise UserError(
            f"{', '.join(timed)} (from {sources[timed[-1]]}): with equal_time each of their "
            f"{count} combinations would be timed, {MOST} are allowed; give fewer choices, or "
            "equal_time false."
        )


def _decides(key: str) -> bool:
    return key in ELSE or Decides.STEP in said(key).decides


def _is_amount(key: str, held: Range) -> bool:
    """Whether all numbers of a range take the same time."""
    return key not in ELSE and not held.whole and not (held.step and held.low == 0)
