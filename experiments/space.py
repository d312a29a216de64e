"""What a key of a search may be: numbers of a range, or one of several values."""

import json
import math
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.config.key import Number, Value
from pipeline.config.reading import Sourced
from pipeline.config.schema import Config
from pipeline.errors import UserError

LABEL_KEYS = ("label_frac", "labels_per_class")
NEAR = 1e-9  # relative: what rounding may make of a number


class Range(BaseModel):
    """Numbers from low to high, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: Annotated[float, Number]
    high: Annotated[float, Number]
    log: bool = False  # even in the logarithm
    step: Annotated[float, Field(gt=0), Number] | None = None
    whole: bool = False  # decided by the key

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} must lie below high = {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low above 0, not {self.low:g}")
        if self.log and self.step:
            raise ValueError("log and step exclude each other")
        numbers = (self.low, self.high, self.step or 1)
        if self.whole and any(number != int(number) for number in numbers):
            raise ValueError("low, high and step must be whole numbers here")
        return self

    def __str__(self) -> str:
        """As `--help` shows it."""
        return f"searched from {self.low:g} to {self.high:g}{', on a log scale' * self.log}"

    @property
    def ends(self) -> list[Any]:
        """The lowest and the highest value that a trial may have."""
        return [self.on_grid(self.low), self.on_grid(self.high)]

    @property
    def tried(self) -> list[Any]:
        """The ends and of whole numbers the second, which a key that takes multiples may refuse."""
        return [*self.ends, self.on_grid(self.low + (self.step or 1))] if self.whole else self.ends

    def on_grid(self, value: float) -> float:
        """The nearest value that a trial may have: within the range, so many steps above `low`."""
        value = min(max(value, self.low), self.high)
        if self.step:
            most = math.floor((self.high - self.low) / self.step + NEAR)
            value = self.low + self.step * min(most, round((value - self.low) / self.step))
            value = float(f"{value:.12g}")  # 0.1 + 2 * 0.1 is 0.30000000000000004
        return round(value) if self.whole else value

    def has(self, value: Value) -> bool:
        """Whether a trial may have this value."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return math.isclose(self.on_grid(value), value, rel_tol=NEAR)


class Choices(BaseModel):
    """One of several values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    choices: Annotated[list[Any], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> "Choices":
        try:
            texts = self.texts
        except TypeError:  # such as a date
            raise ValueError("numbers, texts, true, false, none and lists of them") from None
        if repeated := {text for text in texts if texts.count(text) > 1}:
            raise ValueError(f"{', '.join(sorted(repeated))} stands there more than once")
        return self

    def __str__(self) -> str:
        """As `--help` shows it."""
        return f"searched among {', '.join(map(str, self.choices))}"

    @property
    def ends(self) -> list[Value]:
        """Every value."""
        return list(self.choices)

    @property
    def tried(self) -> list[Value]:
        """Every value."""
        return self.ends

    @property
    def texts(self) -> list[str]:
        """Every value as JSON: Optuna takes no lists, and takes 1 and true for the same."""
        return [json.dumps(choice) for choice in self.choices]

    def of(self, text: str) -> Value:
        """The value that one of `texts` stands for."""
        return self.choices[self.texts.index(text)]  # type: ignore[no-any-return]


def read_distribution(key: str, sourced: Sourced, plain: Config) -> Range | Choices:
    """The distribution of `key` that a YAML mapping describes, for the other keys of `plain`.

    Raises:
        UserError: it describes none; with its file and line.
    """
    value: Any = sourced.value
    try:
        if "choices" in value:
            found = Choices.model_validate(value)
            if key in LABEL_KEYS and not all(isinstance(n, int | float) for n in found.choices):
                raise UserError(
                    f"{key} = {value} (from {sourced.source}): label counts are compared; "
                    "give numbers, no text and no none."
                )
            return found
        return Range.model_validate({**value, "whole": isinstance(plain.flat().get(key), int)})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{key} = {value} (from {sourced.source}): {where + ': ' if where else ''}"
            f"{first['msg'].removeprefix('Value error, ')}; a distribution is {{low: …, high: …}}, "
            "with log: true or step: … if wanted, or {choices: […]}."
        ) from None
