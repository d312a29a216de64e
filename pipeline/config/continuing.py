"""The configuration of a training on an earlier run's split, maybe with another backbone."""

from collections.abc import Mapping

from pipeline.config import layers, named, step_images
from pipeline.config.key import Value
from pipeline.config.schema import SPLIT, Config


def load(flags: Mapping[str, str], base: Mapping[str, Value]) -> Config:
    """What `layers.load` does, but what followed from the earlier run's labels is taken anew.

    So is what followed from its backbone, if another kind of training takes its place: from
    scratch, or on a network trained already. What somebody had said stays.

    Raises:
        UserError: as `layers.load`.
    """
    before = layers.load({}, base)
    before = step_images.as_in(layers.recipe_of(before, before.steps), before)
    base = {**base, **{key: before.flat()[key] for key in step_images.KEYS if key in base}}
    now = layers.load(flags, base)
    if named.is_pretrained(now.backbone) == named.is_pretrained(before.backbone):
        return now
    said = {"method", *SPLIT, *layers.changed(before)}
    if _said_its_steps(before):
        said.add("steps")
    return layers.load(flags, {key: value for key, value in base.items() if key in said})


def _said_its_steps(config: Config) -> bool:
    """Whether the steps are surely not those that were chosen for the backbone."""
    own = layers.recipe_of(config, None).steps
    settled = own == 0 and config.backbone != "auto"  # chosen by the number of images
    return config.steps != own and not settled
