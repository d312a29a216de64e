"""Every value of a run: default ← kind ← dataset ← method ← file ← flags → frozen `Config`.

What the keys mean stands in `pipeline.config.schema`.
"""

from collections.abc import Collection, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.config import length, named, reading
from pipeline.config.key import Value, is_none
from pipeline.config.machine import with_precision
from pipeline.config.own_keys import OWN, own_model
from pipeline.config.reading import Layer, Sourced, expanded, read_yaml
from pipeline.config.schema import RECORD, RIVALS, SAID, SHARED, SPLIT, Config
from pipeline.errors import UserError

CHOOSING = (
    "dataset",
    "kind",
    "method",
    "steps",
    "backbone",
    "config",
)  # what other keys' defaults depend on
WHERE_KEYS_ARE = "; configs/default.yaml and the method’s YAML list the keys."


def load(flags: Mapping[str, str], base: Mapping[str, Value] | None = None) -> Config:
    """Resolve and validate all layers.

    Args:
        flags: keys and texts of the command line; the key `config` names a YAML file.
        base: the resolved values of an earlier run (see `Config.flat`) to continue from.

    Raises:
        UserError: unknown key or name, wrong type, value out of range, unreadable file.
    """
    return resolve(*said(flags), base)


def said(flags: Mapping[str, str]) -> tuple[Layer, Layer]:
    """What the file that `flags` name says, and what they say themselves.

    Raises:
        UserError: a file that cannot be used.
    """
    file = read_yaml(expanded(flags["config"])) if flags.get("config") else {}
    return file, {key: Sourced(text, f"--{key}") for key, text in flags.items() if key != "config"}


def resolve(file: Layer, given: Layer, base: Mapping[str, Value] | None = None) -> Config:
    """What `load` does, with the values of the file and of the command line already read."""
    earlier = {key: Sourced(value, "the source run") for key, value in (base or {}).items()}
    default = read_yaml(named.CONFIGS / "default.yaml")
    chosen = {**default, **earlier, **file, **given}
    dataset = named.layer("dataset", chosen["dataset"])
    kind = {**default, **dataset, **earlier, **file, **given}["kind"]
    dataset = named.with_blocks(dataset, kind)
    shared = {**default, **named.kind_layer(kind), **dataset}
    pretrained = named.is_pretrained({**shared, **earlier, **file, **given}["backbone"].value)
    if pretrained:
        shared |= read_yaml(named.CONFIGS / f"{named.PRETRAINED}.yaml")
    of_method = named.layer("method", chosen["method"])
    general = named.with_blocks(of_method, kind, None, pretrained)
    method = named.with_blocks(of_method, kind, chosen["dataset"], pretrained)
    own = [key for key in sorted(method) if key in OWN]
    if earlier and earlier["method"].value != chosen["method"].value:
        # Another method than the source run's: only what the split decided carries over.
        kept = SPLIT | {key for key, said in SAID.items() if said.paired}
        earlier = {key: value for key, value in earlier.items() if key in kept}
    recipe = {**shared, **method}
    if _is_open(dataset) and method.get("steps") == general.get("steps"):
        recipe["steps"] = dataset["steps"]
    merged = {**recipe, **earlier, **file, **given}
    merged |= _one_way_to_choose_labels(recipe, earlier, file, given)
    _reject_unknown(merged, own)
    config, plain = _validated(merged, own), _validated(recipe, own).flat()
    plain["steps"] = plain["steps"] or _whole(chosen["method"], kind, pretrained)
    typed = {**file, **given}
    return _fitted(config, plain, earlier, typed).model_copy(update={"given": frozenset(typed)})


def _fitted(config: Config, plain: Mapping[str, Value], earlier: Layer, said: Layer) -> Config:
    """What depends on the length (`pipeline.config.length`), but for what somebody has `said`.

    plain: every value of the recipe, which is as long as its own `steps`. While the configuration's
    are 0, they stay as they are, and their keys are noted.
    """
    whole: Any = plain["steps"]
    if earlier:  # what it has not fitted to its own length, was said
        steps: Any = earlier["steps"].value if "steps" in earlier else whole
        was = length.fitted(plain, steps or whole)
        said = {k: v for k, v in earlier.items() if k in was and v.value != was[k]} | said
    values = length.fitted(plain, config.steps or whole)
    values = {key: value for key, value in values.items() if key not in said}
    return _with(config, values, () if config.steps else values.keys())


def _with(config: Config, values: Mapping[str, Value], to_fit: Collection[str] = ()) -> Config:
    """The same with other values of shared or own keys."""
    own = {**config.own, **{key: value for key, value in values.items() if key in config.own}}
    shared = {key: value for key, value in values.items() if key in SHARED}
    return config.model_copy(update={**shared, "own": own, "to_fit": frozenset(to_fit)})


def with_backbone(config: Config, name: str) -> Config:
    """The same configuration with this backbone, or `none`: what follows from it is taken anew."""
    differs, kept = changed(config), from_yaml(to_yaml(config))
    values = config.flat()
    said = {
        key: Sourced(values[key], "the run")
        for key in kept
        if key in differs or key in config.given
    }
    if config.steps != recipe_of(config, None).steps:
        said["steps"] = Sourced(config.steps, "the run")
    backbone = {"backbone": Sourced(name, "the run")}
    found = resolve({}, {**_chosen_by(config), **said, **backbone})
    record = {key: getattr(config, key) for key in RECORD}
    return found.model_copy(update={**record, "given": config.given})


def settled(config: Config, n_images: int) -> Config:
    """The same with a number of steps: `steps: 0` becomes what suits so many training images.

    What depends on the length follows, as if the number had been typed. `precision: auto` becomes
    what the processor's instructions say.
    """
    config = with_precision(config)
    if config.steps:
        return config
    chosen = _chosen_by(config)
    whole = _whole(chosen["method"], chosen["kind"], named.is_pretrained(config.backbone))
    steps = length.chosen(whole, config.kind, n_images)
    of_length = resolve({}, {**chosen, "steps": Sourced(steps, "the number of images")}).flat()
    return _with(config, {"steps": steps, **{key: of_length[key] for key in config.to_fit}})


def short(config: Config, n_images: int) -> str:
    """A warning, if the steps are far fewer than data set and method are made for, or "".

    n_images: to train on, which say what a data set of unknown size is made for.
    """
    recipe = settled(recipe_of(config, None), n_images)
    steps = config.steps or recipe.steps
    return length.warning(config.dataset, config.method, steps, recipe.steps)


def changed(config: Config) -> dict[str, Value]:
    """The keys and values that differ from what data set, method and length have by themselves."""
    own = recipe_of(config, config.steps).flat()
    return {key: value for key, value in config.flat().items() if value != own[key]}


def recipe_of(config: Config, steps: int | None) -> Config:
    """What data set, kind, method and backbone have by themselves; steps: None = theirs, too."""
    length_ = {} if steps is None else {"steps": Sourced(steps, "the run")}
    return resolve({}, {**_chosen_by(config), **length_})


def defaults() -> dict[str, Value]:
    """The shared values of `configs/default.yaml`."""
    layer = read_yaml(named.CONFIGS / "default.yaml")
    return {key: sourced.value for key, sourced in layer.items()}


def presets(flags: Mapping[str, str]) -> tuple[Config, dict[str, Value]]:
    """What those of the flags that others' defaults depend on make of every key.

    Returns:
        The configuration with no other flag, and its values, but for these flags' own keys what
        they are without the flag.

    Raises:
        UserError: an unknown data set or method, or a file that cannot be used.
    """
    config = load({key: flags[key] for key in CHOOSING if key in flags})
    default = {**read_yaml(named.CONFIGS / "default.yaml"), **said(flags)[0]}
    whole = load({key: flags[key] for key in CHOOSING if key in flags and key != "steps"})
    plain = {key: default[key].value for key in ("dataset", "method")} | {"steps": whole.steps}
    return config, config.flat() | plain


def meanings(own: Collection[str] = ()) -> dict[str, str]:
    """Every shared key, and the `own` ones of a method, and what each means."""
    fields = {key: Config.model_fields[key] for key in SHARED} | {key: OWN[key] for key in own}
    return {key: field.description or "" for key, field in fields.items()}


def to_yaml(config: Config) -> str:
    """The resolved values as text that `config=<file>` reads back to the same `Config`."""
    dropped = set(RECORD)
    if config.labels_per_class or config.split_file:
        dropped |= {"label_frac"}
        dropped |= {"valid_frac", "valid_labels"} if config.split_file else set()
    dropped |= config.to_fit
    kept = {key: value for key, value in config.flat().items() if key not in dropped}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def from_yaml(text: str) -> dict[str, Value]:
    """Read back what `to_yaml` wrote.

    Raises:
        UserError: this is something else.
    """
    try:
        values = dict(reading.parsed(text)[1])
        return {"method": values["method"], **values}  # without one nothing says which keys are
    except (*reading.UNREADABLE, TypeError, KeyError):
        raise UserError(
            "the source run's config.yaml is not what ssgan writes, so it is not used; start a new "
            "run."
        ) from None


def still_known(values: Mapping[str, Value]) -> dict[str, Value]:
    """The resolved values of an earlier run without keys that its method has no more."""
    method = values.get("method")
    own = named.layer("method", Sourced(method, "the source run")) if method else {}
    return {key: value for key, value in values.items() if key in SHARED or key in own}


def _chosen_by(config: Config) -> Layer:
    """What a recipe is chosen by."""
    names = ("dataset", "kind", "method", "backbone")
    return {key: Sourced(getattr(config, key), "the run") for key in names}


def _is_open(dataset: Layer) -> bool:
    """Whether a data set is of unknown size: its `steps: 0` stands above a method's number."""
    return "steps" in dataset and dataset["steps"].value == 0


def _whole(method: Sourced, kind: Sourced, pretrained: bool) -> int:
    """A method's full length on images of a kind, whatever the data set."""
    general = named.with_blocks(named.layer("method", method), kind, None, pretrained)
    layers = {**read_yaml(named.CONFIGS / "default.yaml"), **named.kind_layer(kind), **general}
    return int(layers["steps"].value)  # type: ignore[arg-type]


def _one_way_to_choose_labels(recipe: Layer, *layers: Layer) -> Layer:
    """The highest layer that names a rival takes the others back to the recipe's values.

    `label_frac: none` names one, every known label, unless another stands beside it. Of the others
    `none` takes back what lower layers say of that key.
    """
    validation = ("valid_frac", "valid_labels")
    asked: Layer = {}  # of validation, from the highest layer down to the one looked at
    off: set[str] = set()  # rivals that a higher layer has taken back
    for layer in reversed(layers):
        asked = {**{key: layer[key] for key in validation if key in layer}, **asked}
        none = {key for key in RIVALS if key in layer and is_none(layer[key].value)}
        rivals = [key for key in RIVALS if key in layer and key not in off | none]
        if len(rivals) > 1:
            sources = " and ".join(layer[key].source for key in rivals)
            raise UserError(
                f"{' and '.join(rivals)} (from {sources}): each says which labels are read; give "
                "one of them."
            )
        for key, sourced in asked.items():
            nothing = is_none(sourced.value) or str(sourced.value) in ("0", "0.0")
            if rivals == ["split_file"] and not nothing:
                raise UserError(
                    f"{key} (from {sourced.source}): the manifest of split_file says "
                    f"which labels validate; leave {key} out."
                )
        rivals = rivals or ["label_frac"] * ("label_frac" in none)
        if rivals:
            others = {*RIVALS, *(validation if rivals == ["split_file"] else ())} - {*rivals}
            return {key: recipe[key] for key in others}
        off |= none
    return {}


def _reject_unknown(merged: Layer, own: Collection[str]) -> None:
    known = sorted({*SHARED, *own})
    for key, sourced in merged.items():
        if key not in known:
            raise UserError(
                f"unknown key {key} = {sourced.value!r} (from {sourced.source})"
                f"{_owners(key, merged) or named.suggestion(key, known) or WHERE_KEYS_ARE}"
            )


def _owners(key: str, merged: Layer) -> str:
    """Say which other methods know the key."""
    files = {name: named.CONFIGS / "method" / f"{name}.yaml" for name in named.names("method")}
    keys = {name: read_yaml(file).keys() - {*named.BLOCKS} for name, file in files.items()}
    owners = [name for name in files if key in keys[name]]
    if not owners:
        return ""
    return f": a key of method {', '.join(owners)}, not of {merged['method'].value}; leave it out."


def _validated(merged: Layer, own_keys: Collection[str]) -> Config:
    values = {key: sourced.value for key, sourced in merged.items()}
    try:
        own = own_model(own_keys)(**{key: values[key] for key in own_keys})
        shared = {key: values[key] for key in SHARED}
        return Config.model_validate({**shared, "own": own.model_dump()})
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        reason = first["msg"][0].lower() + first["msg"][1:]
        field = Config.model_fields.get(key) or OWN.get(key)
        meaning = f"; {key}: {field.description}" if field else ""
        raise UserError(
            f"{key} = {merged[key].value!r} (from {merged[key].source}): {reason}{meaning}."
        ) from None
