"""Data sets by name: `load("digits", None)` returns a checked `Dataset`. No TensorFlow here.

The file name is the registry: a module of this folder with a function `load(data_dir)` is a data
set, or with `load(data_dir, options)` if it reads picture files. `dataset.py` is the contract they
fill, `new_pictures.py` reads what is no data set, a leading underscore marks their helpers.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data._finding import DRAWN_TEST, Finding, reported
from pipeline.data._labels import UNKNOWN
from pipeline.data.dataset import Dataset, LabelDoor, Options
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.config.schema import Config

__all__ = [
    "DRAWN_TEST",
    "UNKNOWN",
    "Dataset",
    "Finding",
    "LabelDoor",
    "Options",
    "load",
    "names",
    "of",
    "options",
    "reads_pictures",
    "reported",
]


NO_DATA_SETS = ("dataset", "new_pictures")
DETAILED = 128  # pixels of a chosen side, at most, where a network that knows details sees them
LARGEST = (Options().largest, DETAILED)


def of(config: Config) -> Dataset:
    """The data set that a configuration names; see `load`."""
    return load(config.dataset, config.data_dir, options(config))


def options(config: Config) -> Options:
    """How a configuration wants pictures read."""
    named = config.backbone not in ("none", "auto")
    detailed = DETAILED if named else Options().largest
    return Options(config.image_size, config.fit, config.strict, detailed, config.test_frac)


def reads_pictures(name: str) -> bool:
    """Whether a known data set reads picture files, as `options` say."""
    load_ = importlib.import_module(f"{__name__}.{name}").load
    return len(inspect.signature(load_).parameters) > 1


def names() -> list[str]:
    """Names of the known data sets, sorted; imports none of them."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in modules if name[0] != "_" and name not in NO_DATA_SETS)


def load(name: str, data_dir: Path | None, how: Options = Options()) -> Dataset:  # noqa: B008
    """Load the data set `name`, from data_dir if the user gave one; `how` is for picture files.

    Raises UserError for an unknown name and for missing, damaged or unsuitable data.
    """
    if name not in names():
        nearest = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {nearest[0]}? " if nearest else ""
        raise UserError(f"dataset={name} is not known; {hint}known are {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    given = (data_dir, how) if reads_pictures(name) else (data_dir,)
    for key, default in Options()._asdict().items() if len(given) == 1 else ():
        if (value := getattr(how, key)) != default and key != "largest":
            raise UserError(
                f"{key} = {value}: dataset={name} has images of its own; {key} is for a folder of "
                "pictures (dataset=folder). Leave it out."
            )
    try:
        dataset: Dataset = module.load(*given)
    except PermissionError as error:
        raise UserError(
            f"data_dir = {data_dir}: {error.filename} cannot be read (permission denied); let "
            "this user read it."
        ) from None
    return dataset
