"""How a study is run: the settings of a search, each with its type, range and meaning."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pipeline.config.key import Count, InFolder, Number, Optional, Rate
from pipeline.config.reading import Layer
from pipeline.errors import UserError

# Where the same trials run, not which.
ELASTIC = frozenset(
    {"study", "trials", "workers", "storage", "trials_per_process", "lease", "max_failures"}
    | {"cpus_per_trial", "gpus_per_trial"}
)


def _beside_the_journal(name: str | None) -> str | None:
    if name is not None and name.startswith("journal.log"):
        raise ValueError("the trials of all studies lie in that file")
    return name


class Settings(BaseModel):
    """How a study is run; values in `configs/search/`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    study: Annotated[
        str | None,
        Field(pattern=r"^[^'\"`\\]+$"),
        InFolder,
        AfterValidator(_beside_the_journal),
        Optional,
    ] = Field(
        description="the study's name, by which it goes on and its folder in studies/, at most 200 "
        "bytes, without quotes, backslashes and .., not journal.log; none = <dataset>-<search>"
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
        description="mode budget: ends trials that fall behind: none, median or hyperband"
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


def read(values: Layer) -> Settings:
    """Check the settings.

    Raises:
        UserError: a value that is not allowed; with its file and line.
    """
    try:
        return Settings.model_validate({key: sourced.value for key, sourced in values.items()})
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        raise UserError(
            f"{key} = {values[key].value!r} (from {values[key].source}): not allowed; {key}: "
            f"{Settings.model_fields[key].description}."
        ) from None
