"""What a run is called, and which values of its configuration it shows as parameters."""

from collections.abc import Collection

from pipeline.config import layers as configuration
from pipeline.config.key import Value, is_none
from pipeline.config.schema import RECORD, SAID, SPLIT, Config
from pipeline.stages.manifest import Split

COMPARED = {name for name, said in SAID.items() if said.compared}
DRAWN = {"stratified", "valid_frac", "valid_labels"}  # how labels are drawn


def name_of(config: Config, split: Split, name: str) -> str:
    """A run's name; {} in `name` stands for what tells it from others."""
    seeds = f"seed {config.seed}" + (f", split {config.split_seed}" if config.split_seed else "")
    return name.format(f"{config.dataset}, {config.method}, {split.n_labels} labels, {seeds}")


def compared(config: Config, searched: Collection[str] = ()) -> dict[str, Value]:
    """What people compare, and whatever the user has changed or a search varies.

    Everything else lies in the run's `config.yaml`: MLflow prints every parameter over its images.
    """
    flat, keys = config.flat(), {*COMPARED, *configuration.changed(config), *searched}
    if config.labels_per_class or config.split_file:
        keys -= {"label_frac"}  # says nothing then
    shown = [key for key in flat if key in keys - RECORD]
    return {key: flat[key] for key in shown if not is_none(flat[key])}


def of_others(config: Config) -> dict[str, Value]:
    """The parameters of a method that is none of the pipeline's."""
    flat, usual = config.flat(), configuration.defaults()
    shown = (COMPARED & SPLIT) | {"method", "seed", "backbone"}
    shown |= {key for key in DRAWN if flat[key] != usual[key]}
    return {key: flat[key] for key in flat if key in shown and not is_none(flat[key])}
