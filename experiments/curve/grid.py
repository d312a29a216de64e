"""What a curve trains: its settings, methods, label counts, seeds. Read and checked first.

One flat YAML of `configs/curve/`: a setting of the curve, or a configuration key with the value
that it has in every training.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from experiments.curve.settings import CEILING, SETTINGS, SUPERVISED, THEIRS, Settings
from pipeline.config import layers as configuration
from pipeline.config import named, step_images
from pipeline.config.key import Value
from pipeline.config.own_keys import OWN
from pipeline.config.reading import Layer, Sourced, expanded, read_yaml
from pipeline.config.schema import RECORD, SPLIT, Config
from pipeline.errors import UserError, looked_for
from pipeline.networks import backbones

CURVES = named.CONFIGS / "curve"
DEFAULT = "default"
# What a cell decides itself, or what would make its runs something else.
REFUSED = RECORD | {"split_file", "baseline", "method", "label_frac", "labels_per_class"}
ELSEWHERE = RECORD | {"data_dir", "threads"}  # where and how fast a cell is trained, not which
MADE = 2  # how comparisons are made: counts up when other code gives other numbers
OF_COMPARISONS = SPLIT | {
    "seed",
    "backbone",
    "backbone_weights",
    "backbone_side",
}  # what decides them

NOTHING_BESIDE = (
    "it has every label, so no other method has trainings at its label count; name another method."
)


@dataclass(frozen=True)
class Cell:
    """One training of a curve."""

    method: str
    n_labels: int  # that are read for training, validation included
    config: Config  # its seeds among it; of `supervised` that of the method it is the baseline of
    digest: str  # what must be equal for two trainings to be the same cell

    @property
    def seed(self) -> int:
        """What its pair of seeds is told apart by, the same for every method."""
        return self.config.seed

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.method}, {self.n_labels:,} labels, seed {self.seed}"


@dataclass(frozen=True)
class Data:
    """What a grid needs to know of the data set."""

    digest: str
    n_images: int  # to train on, with or without a label
    n_known: int  # labels of theirs
    n_classes: int


@dataclass(frozen=True)
class Grid:
    """A checked curve."""

    name: str
    settings: Settings
    fixed: Layer  # configuration keys that every training has
    data: Data | None = None  # None while it is not loaded

    @property
    def experiment(self) -> str:
        """The curve's own MLflow experiment."""
        return f"ssgan/{self.name}"

    @property
    def counts(self) -> list[int]:
        """Label counts, ascending."""
        return sorted(self.settings.label_counts)

    @property
    def against(self) -> str:
        """The method that the others are compared with; a single one stands alone."""
        asked, methods = self.settings.against, self.settings.methods
        return asked if asked in methods else methods[0]

    def base(self, method: str) -> str:
        """The pipeline's method whose configuration a training of `method` begins from.

        `supervised` is the baseline of the first other method: as many steps, the same network and
        views.
        """
        if method in named.names("method") and method != SUPERVISED:
            return method
        ours = [m for m in self.settings.methods if m in named.names("method")]
        return next((m for m in ours if m != SUPERVISED), SUPERVISED)

    def config(self, method: str, n_labels: int | None = None) -> Config:
        """The configuration that a training of `method` with the first seeds begins from.

        n_labels: in all; None = what the data set has by itself.

        Raises:
            UserError: a value that is not allowed.
        """
        base = self.base(method)
        layer = named.layer("method", Sourced(base, "the curve"))
        given = {key: one for key, one in self.fixed.items() if key not in OWN or key in layer}
        values: dict[str, Value] = {"method": base, "baseline": False}
        if "generator" in layer:
            values["generator"] = self.settings.generator
        given |= {key: Sourced(value, "the curve") for key, value in values.items()}
        config = configuration.resolve({}, given)
        if n_labels is None or self.data is None:
            return config
        share = (n_labels - (config.valid_labels or 0)) / self.data.n_images
        given["label_frac"] = Sourced(share, "the curve")
        return configuration.settled(configuration.resolve({}, given), self.data.n_images)

    def cells(self) -> list[Cell]:
        """Every training: seed by seed, so that an interrupted curve is a complete smaller one.

        In the first seed the smallest count of each method comes first: it tells how long all take.
        """
        assert self.data is not None
        found: list[list[Cell]] = [[] for _ in range(self.settings.seeds)]
        for method in self.settings.methods:
            for count in [self.data.n_known] if method == CEILING else self.counts:
                first = self.config(method, count)
                for number, of_seed in enumerate(found):
                    seeds = {"seed": first.seed + number, "split_seed": first.split_seed + number}
                    of_seed.append(self._cell(method, count, first.model_copy(update=seeds)))
        pilots = [next(c for c in found[0] if c.method == m) for m in self.settings.methods]
        return pilots + [cell for of_seed in found for cell in of_seed if cell not in pilots]

    def _cell(self, method: str, n_labels: int, config: Config) -> Cell:
        from experiments.curve import comparisons  # it loads NumPy

        assert self.data is not None
        flat = {key: value for key, value in config.flat().items() if key not in ELSEWHERE}
        if not named.is_pretrained(config.backbone) and method != "backbone":
            del flat["backbone_side"]  # decides nothing there
        said: Any = {"method": method, "config": flat, "data": self.data.digest}
        name = comparisons.backbone_of(config) if method == "backbone" else config.backbone
        if weights := backbones.other_weights(name, config.backbone_weights):
            said["weights"] = weights
        if method in (SUPERVISED, CEILING):  # the other method's own keys decide nothing there
            said["config"] = {key: value for key, value in flat.items() if key not in OWN}
        always = method == config.method and "latent_size" in flat and "generator" not in flat
        if self.settings.generator and always:
            said["generator"] = True  # it trains one anyway, but now its images are measured
        if method == config.method and step_images.is_given(config):
            said["shared_out"] = False  # a default that is typed holds, so it is another training
        if method in THEIRS:
            said["config"] = {key: value for key, value in flat.items() if key in OF_COMPARISONS}
            said["made"] = MADE
        text = json.dumps(said, sort_keys=True, default=str)
        return Cell(method, n_labels, config, hashlib.sha256(text.encode()).hexdigest()[:16])

    def of_other_baselines(self) -> set[str]:
        """Digests of the cells of `supervised` and the ceiling, were they another's baseline."""
        found: set[str] = set()
        for first in {*named.names("method")} - {self.base(SUPERVISED)}:
            methods = [SUPERVISED, CEILING, *[first] * (first != SUPERVISED)]
            other = self.settings.model_copy(update={"methods": methods})
            with suppress(UserError):  # values that this method does not take
                cells = replace(self, settings=other).cells()
                found |= {cell.digest for cell in cells if cell.method in (SUPERVISED, CEILING)}
        return found

    def with_counts(self, counts: Sequence[int]) -> "Grid":
        """The same grid of these counts."""
        changed = {"label_counts": list(counts)}
        return replace(self, settings=self.settings.model_copy(update=changed))

    def with_backbone(self, name: str) -> "Grid":
        """The same grid on the network that `backbone: auto` has come to."""
        return replace(self, fixed={**self.fixed, "backbone": Sourced(name, "the choice")})


def names() -> list[str]:
    """The curves that come with ssgan."""
    return sorted(path.stem for path in CURVES.glob("*.yaml"))


def files(flags: Mapping[str, str]) -> tuple[str, Layer]:
    """The name of the file that `curve` chooses; its values and those of `config`, defaults below.

    Raises:
        UserError: a file that cannot be read.
    """
    asked = flags.get("curve") or DEFAULT
    path = CURVES / f"{asked}.yaml" if asked in names() else expanded(asked)
    if not path.is_file():
        raise UserError(
            f"curve = {asked!r} (from --curve): no such file{looked_for(path)}, and no curve of "
            f"that name; known: {', '.join(names())}."
        )
    base = flags.get("config")
    given = read_yaml(expanded(base)) if base else {}
    return path.stem, {**read_yaml(CURVES / f"{DEFAULT}.yaml"), **read_yaml(path), **given}


def read(flags: Mapping[str, str]) -> Grid:
    """Resolve and check a curve: default ← file that `curve` names ← flags.

    Args:
        flags: keys and texts of the command line: settings, `curve`, configuration keys.

    Raises:
        UserError: unknown key, value not allowed, file not readable; with file and line.
    """
    stem, merged = files(flags)
    merged |= {k: Sourced(v, f"--{k}") for k, v in flags.items() if k not in ("curve", "config")}
    for key in sorted(REFUSED & merged.keys()):
        raise UserError(
            f"{key} = {merged[key].value!r} (from {merged[key].source}): a curve decides {key} "
            "itself, by methods, label_counts and seeds; leave it out."
        )
    settings = _settings({key: merged[key] for key in SETTINGS})
    fixed = {key: sourced for key, sourced in merged.items() if key not in SETTINGS}
    _check_methods(settings, merged)
    grid = Grid(settings.name or "", settings, fixed)
    configs = {method: grid.config(method) for method in settings.methods}
    _reject_unused(grid, configs)
    dataset = next(iter(configs.values())).dataset
    stem = "curve" if stem == DEFAULT else stem
    name = settings.name or f"{dataset}-{stem}"
    named_ = Sourced(name, f"the name of {stem!r}: give another one with --name")
    _settings({**{key: merged[key] for key in SETTINGS}, "name": named_})
    return replace(grid, name=name)


def _settings(values: Layer) -> Settings:
    try:
        return Settings.model_validate({key: sourced.value for key, sourced in values.items()})
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(
            f"{key} = {values[key].value!r} (from {values[key].source}): not allowed "
            f"({reason[0].lower()}{reason[1:]}); {key}: {Settings.model_fields[key].description}."
        ) from None


def _check_methods(settings: Settings, merged: Layer) -> None:
    known = [*named.names("method"), CEILING, *THEIRS]
    for method in settings.methods:
        if method not in known:
            raise UserError(
                f"methods (from {merged['methods'].source}): no such method as {method!r}"
                f"{named.suggestion(method, known)}; known: {', '.join(known)}."
            )
    if settings.against not in settings.methods and len(settings.methods) > 1:
        raise UserError(
            f"against = {settings.against!r} (from {merged['against'].source}): is not among the "
            f"methods {', '.join(settings.methods)}; add it, or name one of them."
        )
    if settings.against == CEILING and len(settings.methods) > 1:
        raise UserError(
            f"against = {CEILING!r} (from {merged['against'].source}): {NOTHING_BESIDE}"
        )


def _reject_unused(grid: Grid, configs: Mapping[str, Config]) -> None:
    """Refuse a method's own key that no method of the curve has."""
    for key, sourced in grid.fixed.items():
        if key in OWN and not any(key in config.own for config in configs.values()):
            raise UserError(
                f"{key} = {sourced.value!r} (from {sourced.source}): a key of none of the methods "
                f"{', '.join(configs)}; leave it out."
            )


def folder(name: str) -> Path:
    """Where a curve's report is kept beside MLflow's copy."""
    return Path("curves") / name
