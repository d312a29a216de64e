"""How many of a step's images are labelled ones, which the number of labels decides."""

import math

from pipeline.config import named
from pipeline.config.own_keys import OWN
from pipeline.config.reading import Sourced
from pipeline.config.schema import Config

SIZES, WEIGHT = ("batch_size", "unlabelled_batch_size"), "consistency_weight"
KEYS = (*SIZES, WEIGHT)


def shared_out(config: Config, n_labelled: int) -> Config:
    """The same with the images of a step shared out as so many labels deserve.

    Labelled ones grow in number until a training sees each `labelled_passes` times, up to two
    thirds of a step; as many unlabelled ones give way, and what is learned from them weighs less
    by as much as their part shrinks: labels that a training has hardly seen teach more. Nothing
    changes if somebody gave one of the numbers. The configuration is a `settled` one.
    """
    if not config.labelled_passes or is_given(config):
        return config
    total, unit = sum(getattr(config, size) for size in SIZES), _unit(config)
    wanted = -(-config.labelled_passes * n_labelled // config.steps // unit) * unit
    return _with(config, max(config.batch_size, min(wanted, 2 * total // 3 // unit * unit)))


def as_in(recipe: Config, config: Config) -> Config:
    """The same as before `shared_out`, if its numbers are what that makes of the recipe's."""
    if not config.labelled_passes or is_given(config) or config.batch_size <= recipe.batch_size:
        return config
    made, own = _with(recipe, config.batch_size), dict(config.own)
    if any(getattr(made, size) != getattr(config, size) for size in SIZES):
        return config
    if WEIGHT in own:
        if not math.isclose(own[WEIGHT], made.own[WEIGHT]):
            return config
        own[WEIGHT] = recipe.own[WEIGHT]
    sizes = {size: getattr(recipe, size) for size in SIZES}
    return config.model_copy(update={**sizes, "own": own})


def _with(config: Config, labelled: int) -> Config:
    """The same with so many labelled images a step, as many others fewer, and their weight."""
    others = config.batch_size + config.unlabelled_batch_size - labelled
    own = dict(config.own)
    if WEIGHT in own:
        own[WEIGHT] *= (others / labelled) / (config.unlabelled_batch_size / config.batch_size)
    return config.model_copy(update={SIZES[0]: labelled, SIZES[1]: others, "own": own})


def is_given(config: Config) -> bool:
    """Whether somebody gave one of the numbers that would be shared out, its default value too."""
    return bool(config.labelled_passes and config.given.intersection(KEYS))


def _unit(config: Config) -> int:
    """What is known to divide among devices."""
    return math.gcd(config.batch_size, config.unlabelled_batch_size)


def baseline_of(config: Config, n_labelled: int) -> Config:
    """The supervised arm of a run: the same values, the method `supervised` in their midst.

    With many labels, `batch_size` labelled images a step would not take it through them: its
    batch grows until it sees each label `baseline_passes` times, up to all the images a step
    that the compared method sees. It stays a multiple of what is known to divide among devices.
    The configuration is a `settled` one.
    """
    unit = _unit(config)
    wanted = -(-config.baseline_passes * n_labelled // config.steps // unit) * unit
    most = config.batch_size + config.unlabelled_batch_size
    batch_size = max(config.batch_size, min(wanted, most))
    layer = named.layer("method", Sourced("supervised", "the baseline"))
    own = {key: sourced.value for key, sourced in layer.items() if key in OWN}
    return config.model_copy(update={"method": "supervised", "own": own, "batch_size": batch_size})
