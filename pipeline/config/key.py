"""The types of values of a configuration, and what each key says of itself."""

import contextlib
import enum
import json
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

Value = bool | int | float | str | list[Any] | None
NETWORKS = Path(__file__).resolve().parents[1] / "networks"


class Decides(enum.Flag):
    """What comes out otherwise when a key has another value."""

    SPLIT = enum.auto()  # the images, or which labels are read
    STEP = enum.auto()  # the compiled step, which serves any run that differs in other keys alone
    WARM_UP = enum.auto()  # what a warm-up learns from given images in a given number of steps
    TRAINING = enum.auto()  # the rest of a training, through data that a compiled step is given
    RECORD = enum.auto()  # nothing that is computed: where, how and under which name a run is kept


# Who adds a key and says nothing gets a step traced anew and a warm-up computed anew: slow, but
# right. The narrower ones below are promises.
ALL = Decides.STEP | Decides.WARM_UP | Decides.TRAINING


class Said(NamedTuple):
    """What the schema says of a key beside its type and range."""

    decides: Decides
    compared: bool  # a parameter of every run in MLflow; others are only if they were changed
    free: bool  # a stage that continues from a run may still choose it
    paired: bool  # carries over to another method on the same split
    group: str  # heading in `--help`; "" = as the key before


def key(
    meaning: str,
    decides: Decides = ALL,
    *,
    compared: bool = False,
    free: bool = False,
    paired: bool = False,
    group: str = "",
    **limits: Any,
) -> Any:
    """A key of the configuration; `limits` are pydantic's (gt, ge, lt, le, min_length)."""
    said = Said(decides, compared, free or decides == Decides.RECORD, paired, group)
    return Field(description=meaning, json_schema_extra={"said": said}, **limits)  # type: ignore[dict-item]


def said_of(field: FieldInfo) -> Said:
    """What the schema says of a field that `key` has made."""
    assert isinstance(field.json_schema_extra, dict)
    return field.json_schema_extra["said"]  # type: ignore[return-value]


def is_none(value: Value) -> bool:
    """Whether a value, typed on a command line perhaps, means "none"."""
    return value in (None, "", "null", "none", "None")


def _empty_is_none(value: Value) -> Value:
    return None if is_none(value) else value


def _list_from_text(value: Value) -> Value:
    # "[500, 250]" as typed on a command line
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(value) if isinstance(value, str) and value.startswith("[") else value
    return value


def _no_truth(value: Value) -> Value:
    # Python counts True as 1: `label_frac: yes` would be all labels.
    if isinstance(value, bool):
        raise PydanticCustomError("number", "input should be a number, not true or false")
    return value


def _expanded(value: Value) -> Any:
    try:
        return Path(value).expanduser() if isinstance(value, str) else value
    except RuntimeError as error:  # "~nobody": no such user
        raise PydanticCustomError("path", "{reason}", {"reason": str(error)}) from None


def files_of(kind: str) -> list[str]:
    """The networks of a kind, "classifiers" or "generators": a file each."""
    return sorted(path.stem for path in (NETWORKS / kind).glob("[!_]*.py"))


def _one_of(kind: str) -> AfterValidator:
    def check(name: str) -> str:
        if name not in files_of(kind):
            known = ", ".join(files_of(kind))
            raise PydanticCustomError("network", "known are {known}", {"known": known})
        return name

    return AfterValidator(check)


def _for_registry(name: str | None) -> str | None:
    # MLflow refuses these, but only when the model is there.
    rule = "a name of at most 256 characters, not blank, without / and :, not beginning with .."
    if name is not None and (
        not name.strip()
        or name == "."
        or name.startswith("..")
        or set("/:") & set(name)
        or len(name) > 256
    ):
        raise PydanticCustomError("name", "input should be {rule}", {"rule": rule})
    return name


def _for_folder(name: str | None) -> str | None:
    # The folder is made when all is trained.
    if name is not None and (
        {"", ".", ".."} & set(name.split("/")) or len(name.encode()) > 200 or not name.isprintable()
    ):
        raise PydanticCustomError("folder", "input should name a folder, in at most 200 bytes")
    return name


Optional = BeforeValidator(_empty_is_none)
Named = Annotated[str, BeforeValidator(lambda value: "none" if is_none(value) else value)]
Number = BeforeValidator(_no_truth)
Count = Annotated[int, Field(ge=1), Number]
Threads = Annotated[int, Field(ge=1, le=1024), Number]
Side = Annotated[int, Field(ge=8, le=512), Number]
Seed = Annotated[int, Field(ge=0, lt=2**31), Number]
Rate = Annotated[float, Field(gt=0), Number]
Amount = Annotated[float, Field(ge=0), Number]
Share = Annotated[float, Field(ge=0, le=1), Number]
Part = Annotated[float, Field(gt=0, le=1), Number]
Momentum = Annotated[float, Field(ge=0, lt=1), Number]
Place = Annotated[Path | None, BeforeValidator(_expanded), Optional]
Layers = Annotated[list[Count], Field(min_length=1), BeforeValidator(_list_from_text)]
Registered = Annotated[str | None, AfterValidator(_for_registry), Optional]
InFolder = AfterValidator(_for_folder)  # of a name that a folder of ours gets, maybe with slashes
View = Literal["weak", "strong"]
Further = Literal["none", "samples", "images"]
Classifier = Annotated[str, _one_of("classifiers")]
Generator = Annotated[str, _one_of("generators")]
