"""The configuration of a training on an earlier run's split, maybe with another backbone."""

from collections.abc import Collection, Mapping

from pipeline.config import layers, named, step_images
from pipeline.config.key import Value
from pipeline.config.schema import SPLIT, Config


def load(
    flags: Mapping[str, str], base: Mapping[str, Value], typed: Collection[str] = ()
) -> Config:
    """What `layers.load` does, but what followed from the earlier run's labels is taken anew.

    So is what followed from its backbone, if another kind of training takes its place: from
    scratch, or on a network trained already. What somebody had said stays.

    typed: the keys that the earlier run was given, so that a default among them stays, too.

    Raises:
        UserError: as `layers.load`.
    """
    before = _given(layers.load({}, base), typed, base)
    before = step_images.as_in(layers.recipe_of(before, before.steps), before)
    base = {**base, **{key: before.flat()[key] for key in step_images.KEYS if key in base}}
    now = layers.load(flags, base)
    if named.is_pretrained(now.backbone) == named.is_pretrained(before.backbone):
        return _given(now, typed, base)
    said = {"method", *SPLIT, *typed, *layers.changed(before)}
    if _said_its_steps(before):
        said.add("steps")
    kept = {key: value for key, value in base.items() if key in said}
    return _given(layers.load(flags, kept), typed, base)


def _given(config: Config, typed: Collection[str], base: Mapping[str, Value]) -> Config:
    """The same, knowing that those of the typed values that it still has were typed."""
    now = config.flat()
    still = [key for key in typed if key in now and now[key] == base.get(key)]
    return config.model_copy(update={"given": config.given.union(still)})


def _said_its_steps(config: Config) -> bool:
    """Whether the steps are surely not those that were chosen for the backbone."""
    own = layers.recipe_of(config, None).steps
    settled = own == 0 and config.backbone != "auto"  # chosen by the number of images
    return config.steps != own and not settled
