"""How a curve is run: its settings, with type and range; the names of what it compares."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from pipeline.config.key import Count, InFolder, Number, Optional
from pipeline.errors import UserError

SUPERVISED = "supervised"
CEILING = "supervised_all"  # every known label: what no number of labels of this data beats
THEIRS = ("label_spreading", "self_training", "poisson", "backbone")  # see `comparisons`
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])\s*")


def _listed(value: Any) -> Any:
    """The words of "a, b" or "[a, b]" as typed on a command line."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [value]
    if isinstance(value, str):
        words = value.strip().removeprefix("[").removesuffix("]").split(",")
        return [word.strip().strip("'\"") for word in words if word.strip()]
    return value


def _each_once(values: list[Any]) -> list[Any]:
    if repeated := sorted({str(value) for value in values if values.count(value) > 1}):
        raise ValueError(f"{', '.join(repeated)} stands there more than once")
    return values


def _seconds(value: Any) -> Any:
    """Seconds of "90s", "30m", "1h30m"; anything else is left to be refused."""
    if not isinstance(value, str) or DURATION.sub("", value.lower()) != "":
        return value
    parts = DURATION.findall(value.lower())
    return sum(float(number) * UNITS[unit] for number, unit in parts) if parts else value


# An error that is wanted; 3 % is 0.03.
Goal = Annotated[float | None, Field(gt=0, lt=1, allow_inf_nan=False), Number, Optional]


class Settings(BaseModel):
    """How a curve is run; values in `configs/curve/`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str | None, Field(pattern=r"^[^'\"`\\/]+$"), InFolder, Optional] = Field(
        description="the curve's name, by which it goes on and its folder in curves/, at most 200 "
        "bytes, without quotes and slashes, not . and ..; none = <dataset>-<curve>"
    )
    methods: Annotated[
        list[str], Field(min_length=1), BeforeValidator(_listed), AfterValidator(_each_once)
    ] = Field(
        description="methods to compare, e.g. supervised,ssgan: those of python -m pipeline, and "
        f"{CEILING} (every label), {', '.join(THEIRS)}"
    )
    label_counts: Annotated[
        list[Count], Field(min_length=1), BeforeValidator(_listed), AfterValidator(_each_once)
    ] = Field(description="labels in all, validation included, e.g. 20,50,100")
    seeds: Count = Field(description="pairs of split_seed and seed at each count, ≥ 1")
    against: str = Field(description="the method that the others are compared with")
    goal: Goal = Field(
        description="the error that you want, between 0 and 1 (3 % is 0.03): the labels that it "
        "needs; what to label next ends there; none = round errors"
    )
    generator: bool = Field(
        description="train generators too and measure their images: true or false"
    )
    budget: Annotated[float | None, Field(gt=0), Number, BeforeValidator(_seconds), Optional] = (
        Field(description="time of this command, e.g. 30m or 2h; fewer counts and seeds if need be")
    )
    workers: Annotated[int, Field(ge=1)] | Literal["ray"] = Field(
        description="processes on this machine, or ray: as many as the cluster takes"
    )
    cells_per_process: Count = Field(description="trainings before a worker process is renewed")
    max_failures: Count = Field(description="failures in a row that end the curve")
    cpus_per_cell: Count = Field(description="workers=ray: CPUs a training asks for, its threads")
    gpus_per_cell: Annotated[float, Field(ge=0), Number] = Field(
        description="workers=ray: GPUs a training asks for, ≥ 0"
    )
    out: Annotated[str | None, Optional] = Field(
        description="file of the report, .html; none = curves/<name>/report.html"
    )


SETTINGS = tuple(Settings.model_fields)


def goal_of(text: str | None) -> float | None:
    """The goal that `--goal` gives to a report.

    Raises:
        UserError: it is none.
    """
    try:
        return TypeAdapter[float | None](Goal).validate_python(text)
    except ValidationError:
        raise UserError(
            f"goal = {text!r} (from --goal): not allowed; give an error between 0 and 1 (3 % is "
            "0.03)."
        ) from None
