"""What a study searches: its settings, the space, the values that stay. Read and checked first.

One flat YAML of `configs/search/`: a setting of the search, a configuration key with a value (it
stays), or a configuration key with a distribution (it is searched).
"""

import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments import checks, equal_time
from experiments import settings as of_searches
from experiments.settings import ELASTIC, SETTINGS, Settings
from experiments.space import LABEL_KEYS, Choices, Range, read_distribution
from pipeline.config import layers as configuration
from pipeline.config import step_images
from pipeline.config.key import Value, is_none
from pipeline.config.machine import with_precision
from pipeline.config.named import CONFIGS
from pipeline.config.reading import Layer, Sourced, expanded, read_yaml
from pipeline.config.schema import RECORD, SPLIT, Config
from pipeline.errors import UserError, looked_for

SEARCHES = CONFIGS / "search"


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
    sources: Mapping[str, str]  # where each key of the space comes from, for messages
    n_images: int = 0  # training images of its data; 0 while they are not loaded
    precision: str = ""  # what `precision: auto` is in all trials; "" = what it is on this machine

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
        if not self.n_images:
            return config
        return configuration.settled(with_precision(config, self.precision), self.n_images)

    @property
    def leaves_backbone(self) -> bool:
        """Whether `backbone: auto`, which a single run decides, comes to none in every trial."""
        return self._resolved(self.firsts).backbone == "auto"

    def _resolved(self, values: Mapping[str, Value]) -> Config:
        given = {k: Sourced(v, self.sources.get(k, "the search")) for k, v in values.items()}
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

    @functools.cached_property
    def timed(self) -> list[str]:
        """Where methods get equal time: the keys whose choices are timed, or else none."""
        methods = self.methods() if self.settings.mode == "budget" else []
        if len(methods) < 2 or not self.settings.equal_time:
            return []
        configs = [self._resolved({**self.firsts, "method": method}) for method in methods]
        # With more labels than these a method has no warm-up, whose steps take another time.
        of_labels = any(config.own.get("warm_up_labels") for config in configs)
        return equal_time.keys(self.space, [self.label_key] if of_labels else [])

    def to_time(self) -> dict[str, dict[str, Value]]:
        """By name the values of every combination of the choices that are `timed`."""
        # The upper end of a range: an amount of 0 may leave out what the others compute.
        others = {
            key: held.ends[-1 if isinstance(held, Range) else 0] for key, held in self.space.items()
        }
        timed = self.timed
        found = equal_time.combinations(self.space, timed) if timed else []
        return {equal_time.name(values, timed): {**others, **values} for values in found}

    def splits(self) -> Iterator[tuple[Config, str]]:
        """For every split that the ends of the space give a configuration, and what it searches."""
        keys = [key for key in self.space if key in SPLIT]
        for ends in itertools.product(*(self.space[key].ends for key in keys)):
            found = dict(zip(keys, ends, strict=True))
            said = ", ".join(f"{k} = {v!r} (from {self.sources[k]})" for k, v in found.items())
            yield self.config({**self.firsts, **found}), said

    def ends(self) -> Iterator[tuple[Config, str]]:
        """For every end of every distribution a configuration that has it, and what it searches."""
        for key, held in self.space.items():
            for end in held.tried:
                config = self.config({**self.firsts, key: end})
                yield config, f"{key} = {end!r} (from {self.sources[key]})"

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
            for label in sorted(self.space[self.label_key].ends)
            for method in methods
        ]

    def fingerprint(self, digest: str, seed: int) -> dict[str, Any]:
        """What must be equal for two commands to mean the same study, ready for JSON."""
        space = {
            key: {k: v for k, v in held.model_dump().items() if v not in (None, False)}
            for key, held in self.space.items()
        }
        elastic = ELASTIC if self.settings.mode == "pareto" else ELASTIC | {"label_cost"}
        settings = {k: v for k, v in self.settings.model_dump().items() if k not in elastic}
        said = {"space": space, "settings": settings, "fixed": self._fixed()}
        return dict(json.loads(json.dumps({**said, "data": digest, "seed": seed})))

    def _fixed(self) -> dict[str, str]:
        """Every value that is not searched, defaults too: an update may have changed those."""
        elsewhere = {"data_dir", "threads", "seed", "system_metrics"}
        left_out = RECORD | elsewhere | self.space.keys()
        found: dict[str, str] = {}
        for method in self.methods() or [""]:
            config = self.config(self.firsts | ({"method": method} if method else {}))
            start = f"{method}." if method else ""
            found |= {
                start + key: str(v) for key, v in config.flat().items() if key not in left_out
            }
            if step_images.is_given(config):  # a default that is typed holds: other trainings
                found[f"{start}shared_out"] = "False"
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
    default, own = read_yaml(SEARCHES / "default.yaml"), read_yaml(path)
    base = flags.get("config")
    return path, {**default, **own, **(_of_a_run(read_yaml(expanded(base)), own) if base else {})}


def _of_a_run(config: Layer, own: Layer) -> Layer:
    """A `config` without what every run's config.yaml says and a search decides itself.

    own: of the search's file; where it searches the number of labels, that of a run gives way, and
    so does a run without validation.
    """
    gone = {key for key in config if key in RECORD or key == "baseline"}
    gone |= {key for key in checks.REFUSED & config.keys() if is_none(config[key].value)}
    validation = {"valid_labels", "valid_frac"} & config.keys()
    gone |= {key for key in validation if is_none(config[key].value) or not config[key].value}
    if any(key in own and isinstance(own[key].value, dict) for key in LABEL_KEYS):
        gone |= {k for k in LABEL_KEYS if k in config and not isinstance(config[k].value, dict)}
    return {key: sourced for key, sourced in config.items() if key not in gone}


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
    checks.reject(merged)
    settings = of_searches.read({key: merged[key] for key in SETTINGS})
    rest = {key: sourced for key, sourced in merged.items() if key not in SETTINGS}
    searched = {key: s for key, s in rest.items() if isinstance(s.value, dict)}
    fixed = {key: s for key, s in rest.items() if key not in searched}
    fixed["baseline"] = Sourced(value=False, source="the search: every trial is one arm")
    if labels := next((key for key in LABEL_KEYS if key in searched), None):
        checks.reject_rival(labels, {**read_yaml(path), **given}, searched[labels].source)
        fixed = {key: s for key, s in fixed.items() if key not in LABEL_KEYS}
    plain = configuration.resolve(fixed, _firsts(searched))
    space = {key: read_distribution(key, sourced, plain) for key, sourced in searched.items()}
    study = settings.study or f"{plain.dataset}-{path.stem}"
    named = Sourced(study, f"the name of {path.name!r}: give another one with --study")
    of_searches.read({**{key: merged[key] for key in SETTINGS}, "study": named})
    plan = Plan(study, settings, space, fixed, {key: s.source for key, s in searched.items()})
    configs = (config for config, _ in plan.ends())
    checks.check(space, settings, configs, {k: s.source for k, s in rest.items()}, str(path))
    if timed := plan.timed:
        equal_time.check(plan.space, timed, plan.sources)
    return plan


def _firsts(searched: Layer) -> Layer:
    """One value of every distribution, well-formed or not, to resolve the other keys with."""
    found: Layer = {}
    for key, sourced in searched.items():
        value: Any = sourced.value
        choices = value.get("choices", [value.get("low")])
        if isinstance(choices, list) and choices and choices[0] is not None:
            found[key] = Sourced(choices[0], sourced.source)
    return found


def difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """What changed between two fingerprints, as "generator_lr: {…} → {…}"."""
    changes = []
    for part in ("data", "seed"):
        if theirs.get(part) != ours[part]:
            changes.append(f"{part}: {theirs.get(part)} → {ours[part]}")
    for part in ("space", "settings", "fixed"):
        before, now = theirs.get(part, {}), ours[part]
        changes += [
            f"{key}: {before.get(key, 'not there')} → {now.get(key, 'not there')}"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        ]
    return "; ".join(changes)


def folder(study: str) -> Path:
    """Where a study's answer is kept beside MLflow's copy."""
    return Path("studies") / study
