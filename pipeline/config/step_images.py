"""How many of a step's images are labelled ones, which the number of labels decides."""

import math

from pipeline.config import named
from pipeline.config.own_keys import OWN
from pipeline.config.reading import Sourced
from pipeline.config.schema import Config

SIZES, WEIGHT = ("batch_size", "unlabelled_batch_size"), "consistency_weight"


def shared_out(config: Config, n_labelled: int) -> Config:
    """The same with the images of a step shared out as so many labels deserve.

    Labelled ones grow in number until a training sees each `labelled_passes` times, up to two
    thirds of a step; as many unlabelled ones give way, and what is learned from them weighs less
    by as much as their part shrinks: labels that a training has hardly seen teach more. Nothing
    changes if somebody gave one of the numbers. The configuration is a `settled` one.
    """
    if not config.labelled_passes or is_given(config):
        return config
    before = [getattr(config, size) for size in SIZES]
    total, unit = sum(before), _unit(config)
    wanted = -(-config.labelled_passes * n_labelled // config.steps // unit) * unit
    labelled = max(before[0], min(wanted, 2 * total // 3 // unit * unit))
    others, own = total - labelled, dict(config.own)
    if WEIGHT in own:
        own[WEIGHT] *= (others / labelled) / (before[1] / before[0])
    return config.model_copy(update={SIZES[0]: labelled, SIZES[1]: others, "own": own})


def is_given(config: Config) -> bool:
    """Whether somebody gave one of the numbers that would be shared out, its default value too."""
    return bool(config.labelled_passes and config.given.intersection((*SIZES, WEIGHT)))


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
