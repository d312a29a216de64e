"""What a study searches: its settings, the space, the values that stay. Read and checked first.

One flat YAML of `configs/search/`: a setting of the search, a configuration key with a value (it
stays), or a configuration key with a distribution (it is searched).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from experiments.space import Choices, Range, read_distribution
from pipeline.config import layers as configuration
from pipeline.config.named import CONFIGS
from pipeline.config.reading import Layer, Sourced, expanded, read_yaml
from pipeline.config.schema import RECORD, Config, Count, Number, Optional, Rate, Value
from pipeline.errors import UserError, looked_for

SEARCHES = CONFIGS / "search"
LABEL_KEYS = ("label_frac", "labels_per_class")
RATES = ("generator_lr", "discriminator_lr")
# What a trial decides itself, or what would make its runs something else.
REFUSED = RECORD | {"split_file", "baseline"}
# What all trials of a study have in common, or derive from its number.
UNSEARCHED = frozenset({"dataset", "data_dir", "seed", "threads"})
# Where the same trials run, not which.
ELASTIC = frozenset(
    {"study", "trials", "workers", "storage", "trials_per_process", "lease", "max_failures"}
    | {"cpus_per_trial", "gpus_per_trial", "label_cost"}
)


class Settings(BaseModel):
    """How a study is run; values in `configs/search/`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    study: Annotated[str | None, Field(pattern=r"^[^'\"`\\]+$"), Optional] = Field(
        description="the study's name, by which it goes on, without quotes and backslashes; "
        "none = <dataset>-<search>"
    )
    mode: Literal["pareto", "budget"] = Field(
        description="pareto: error against labels used; budget: best rates at each label count"
    )
    trials: Count = Field(description="trials; in mode budget, of each method at each label count")
    workers: Annotated[int, Field(ge=1)] | Literal["ray"] = Field(
        description="processes on this machine, or ray: as many as the cluster takes"
    )
    storage: Annotated[str | None, Optional] = Field(
        description="Optuna's storage: a journal file, an SQLAlchemy URL or grpc://host:port"
    )
    label_cost: Rate = Field(description="price of a label, > 0; 1 counts labels")
    seeds_per_trial: Count = Field(description="trainings a trial is scored over, ≥ 1")
    top: Count = Field(description="mode budget: the best that are trained again on fresh seeds")
    pruner: Literal["none", "median", "hyperband"] = Field(
        description="mode budget: ends trials that fall behind, by their curves"
    )
    equal_time: bool = Field(
        description="mode budget: steps of each method so that all take the time of the first"
    )
    trials_per_process: Count = Field(description="trials before a worker process is renewed")
    lease: Annotated[float, Field(ge=2), Number] = Field(
        description="seconds without a sign of life after which a worker is given up, ≥ 2"
    )
    max_failures: Count = Field(description="failures in a row that end the study")
    cpus_per_trial: Count = Field(description="workers=ray: CPUs a trial asks for, its threads")
    gpus_per_trial: Annotated[float, Field(ge=0), Number] = Field(
        description="workers=ray: GPUs a trial asks for, ≥ 0"
    )


SETTINGS = tuple(Settings.model_fields)


@dataclass(frozen=True)
class Cell:
    """A part of a study that Optuna searches by itself: everything, or one method at one budget."""

    name: str
    given: Mapping[str, Value]  # what all its trials share


@dataclass(frozen=True)
class Plan:
    """A checked study."""

    study: str
    settings: Settings
    space: Mapping[str, Range | Choices]
    fixed: Layer
    n_images: int = 0  # training images of its data; 0 while they are not loaded

    def on(self, n_images: int) -> "Plan":
        """The plan for data of so many training images, which settle `steps: 0`."""
        return replace(self, n_images=n_images)

    def config(self, values: Mapping[str, Value]) -> Config:
        """The configuration of a trial that has these values.

        Raises:
            UserError: a value that is not allowed.
        """
        config = self._resolved(values)
        if config.backbone == "auto":  # it would be chosen, at a cost, in every trial
            config = configuration.with_backbone(config, "none")
        return configuration.settled(config, self.n_images) if self.n_images else config

    @property
    def leaves_backbone(self) -> bool:
        """Whether `backbone: auto`, which a single run decides, comes to none in every trial."""
        return self._resolved(self.firsts).backbone == "auto"

    def _resolved(self, values: Mapping[str, Value]) -> Config:
        given = {key: Sourced(value, "the search") for key, value in values.items()}
        return configuration.resolve(self.fixed, given)

    @property
    def label_key(self) -> str:
        """The key that says how many labels a trial reads."""
        return next(key for key in LABEL_KEYS if key in self.space)

    @property
    def experiment(self) -> str:
        """The study's own MLflow experiment."""
        return f"ssgan/{self.study}"

    @property
    def firsts(self) -> dict[str, Value]:
        """One value of every distribution."""
        return {key: held.ends[0] for key, held in self.space.items()}

    def methods(self) -> list[str]:
        """The methods that are compared, if `method` is searched."""
        return [str(name) for name in self.space["method"].ends] if "method" in self.space else []

    def cells(self) -> list[Cell]:
        """What Optuna searches: one cell, or in mode budget one a method and label count."""
        if self.settings.mode == "pareto":
            return [Cell(self.study, {})]
        methods: list[str | None] = [*self.methods()] or [None]
        return [
            Cell(
                "/".join(
                    str(part) for part in (self.study, method, f"{self.label_key}={label}") if part
                ),
                {self.label_key: label} | ({"method": method} if method else {}),
            )
            for label in sorted(self.space[self.label_key].ends)  # type: ignore[type-var]
            for method in methods
        ]

    def fingerprint(self, digest: str, seed: int) -> dict[str, Any]:
        """What must be equal for two commands to mean the same study, ready for JSON."""
        space = {
            key: {k: v for k, v in held.model_dump().items() if v not in (None, False)}
            for key, held in self.space.items()
        }
        settings = {k: v for k, v in self.settings.model_dump().items() if k not in ELASTIC}
        said = {"space": space, "settings": settings, "fixed": self._fixed()}
        return dict(json.loads(json.dumps({**said, "data": digest, "seed": seed})))

    def _fixed(self) -> dict[str, str]:
        """Every value that is not searched, defaults too: an update may have changed those."""
        elsewhere = {"data_dir", "threads", "seed", "system_metrics"}
        left_out = RECORD | elsewhere | self.space.keys()
        found: dict[str, str] = {}
        for method in self.methods() or [""]:
            flat = self.config(self.firsts | ({"method": method} if method else {})).flat()
            start = f"{method}." if method else ""
            found |= {start + key: str(v) for key, v in flat.items() if key not in left_out}
        return found


def names() -> list[str]:
    """The searches that come with ssgan."""
    return sorted(path.stem for path in SEARCHES.glob("*.yaml") if path.stem != "default")


def chosen(flags: Mapping[str, str]) -> str:
    """The search that the flags choose: a name or a file; by default that of their mode."""
    return flags.get("search") or flags.get("mode") or "pareto"


def files(flags: Mapping[str, str]) -> tuple[Path, Layer]:
    """The file that `search` names; its values and those of `config` over the default settings.

    Raises:
        UserError: a file that cannot be read.
    """
    asked = chosen(flags)
    path = SEARCHES / f"{asked}.yaml" if asked in names() else expanded(asked)
    if not path.is_file():
        raise UserError(
            f"search = {asked!r} (from --search): no such file{looked_for(path)}, and no search of "
            f"that name; known: {', '.join(names())}."
        )
    default = read_yaml(SEARCHES / "default.yaml")
    base = flags.get("config")
    return path, {
        **default,
        **read_yaml(path),
        **(read_yaml(expanded(base)) if base else {}),
    }


def read(flags: Mapping[str, str]) -> Plan:
    """Resolve and check a study: default ← file that `search` names ← flags.

    Args:
        flags: keys and texts of the command line: settings, `search`, configuration keys.

    Raises:
        UserError: unknown key, value not allowed, file not readable; with file and line.
    """
    path, merged = files(flags)
    given = {k: Sourced(v, f"--{k}") for k, v in flags.items() if k not in ("search", "config")}
    merged |= given
    _reject(merged)
    settings = _settings({key: merged[key] for key in SETTINGS})
    rest = {key: sourced for key, sourced in merged.items() if key not in SETTINGS}
    searched = {key: s for key, s in rest.items() if isinstance(s.value, dict)}
    fixed = {key: s for key, s in rest.items() if key not in searched}
    fixed["baseline"] = Sourced(value=False, source="the search: every trial is one arm")
    for rival in LABEL_KEYS:
        if rival in searched:
            fixed = {key: s for key, s in fixed.items() if key not in LABEL_KEYS}
    plain = configuration.resolve(fixed, _firsts(searched))
    space = {key: read_distribution(key, sourced, plain) for key, sourced in searched.items()}
    study = settings.study or f"{plain.dataset}-{path.stem}"
    plan = Plan(study, settings, space, fixed)
    _check(plan, searched, str(path))
    return plan


def _reject(merged: Layer) -> None:
    for key in sorted(REFUSED & set(merged)):
        raise UserError(
            f"{key} = {merged[key].value!r} (from {merged[key].source}): a search decides {key} "
            "itself; leave it out."
        )
    for key in sorted(UNSEARCHED & set(merged)):
        if isinstance(merged[key].value, dict):
            raise UserError(
                f"{key} = {merged[key].value} (from {merged[key].source}): cannot be searched; "
                "give it a value."
            )


def _settings(values: Layer) -> Settings:
    try:
        return Settings.model_validate({key: sourced.value for key, sourced in values.items()})
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise UserError(
            f"{key} = {values[key].value!r} (from {values[key].source}): not allowed; {key}: "
            f"{Settings.model_fields[key].description}."
        ) from None


def _firsts(searched: Layer) -> Layer:
    """One value of every distribution, well-formed or not, to resolve the other keys with."""
    found: Layer = {}
    for key, sourced in searched.items():
        value: Any = sourced.value
        choices = value.get("choices", [value.get("low")])
        if isinstance(choices, list) and choices and choices[0] is not None:
            found[key] = Sourced(choices[0], sourced.source)
    return found


def _ends(plan: Plan, searched: Layer) -> Iterator[Layer]:
    """For every end of every distribution one choice of all values that has it."""
    for key, held in plan.space.items():
        for end in held.ends:
            values = {**plan.firsts, key: end}
            yield {k: Sourced(v, searched[k].source) for k, v in values.items()}


def _check(plan: Plan, searched: Layer, path: str) -> None:
    if not set(LABEL_KEYS) & set(plan.space):
        raise UserError(
            f"search = {path}: searches neither label_frac nor labels_per_class; give one of them "
            "a distribution, e.g. label_frac: {low: 0.01, high: 0.3, log: true}."
        )
    if set(LABEL_KEYS) <= set(plan.space):
        raise UserError(f"search = {path}: label_frac and labels_per_class: search one of them.")
    for given in _ends(plan, searched):
        config = configuration.resolve(plan.fixed, given)
        if not config.valid_frac and not config.valid_labels:
            raise UserError(
                f"search = {path}: no validation labels to select by; set valid_labels (the same "
                "images in every trial) or valid_frac."
            )
    labels = plan.space[plan.label_key]
    if plan.settings.mode == "budget" and isinstance(labels, Range):
        raise UserError(
            f"{plan.label_key} (from {searched[plan.label_key].source}): mode budget compares at "
            "fixed label counts; give {choices: […]}."
        )
    if plan.settings.mode == "budget" and set(plan.space) <= {plan.label_key, "method"}:
        raise UserError(
            f"search = {path}: mode budget searches rates at each label count; give one of "
            f"{', '.join(RATES)} a distribution."
        )


def folder(study: str) -> Path:
    """Where a study's answer is kept beside MLflow's copy."""
    return Path("studies") / study
