"""What a configuration is: its keys, their types, ranges and meaning.

Values live in `configs/`, none here. A key that a method alone knows is typed by its name and by
its value in the method's YAML.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic_core import PydanticCustomError

Value = bool | int | float | str | list[Any] | None


def is_none(value: Value) -> bool:
    """Whether a value, typed on a command line perhaps, means "none"."""
    return value in (None, "", "null", "none", "None")


def _empty_is_none(value: Value) -> Value:
    return None if is_none(value) else value


def _list_from_text(value: Value) -> Value:
    # "[500, 250]" as typed on a command line
    with contextlib.suppress(ValueError):
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


Optional = BeforeValidator(_empty_is_none)
Number = BeforeValidator(_no_truth)
Count = Annotated[int, Field(ge=1), Number]
Seed = Annotated[int, Field(ge=0, lt=2**31), Number]
Rate = Annotated[float, Field(gt=0), Number]
Amount = Annotated[float, Field(ge=0), Number]
Share = Annotated[float, Field(ge=0, le=1), Number]
Momentum = Annotated[float, Field(ge=0, lt=1), Number]
Place = Annotated[Path | None, BeforeValidator(_expanded), Optional]


class Config(BaseModel):
    """The resolved, validated values of one run; flat keys, as in `configs/default.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = Field(description="name of the data set, a file of configs/dataset/")
    data_dir: Place = Field(description="folder (or .npz) of the data")
    label_frac: Annotated[float, Number] = Field(
        gt=0, le=1, description="share of the training images whose labels are read, in (0, 1]"
    )
    labels_per_class: Annotated[Count | None, Optional] = Field(
        description="labels of each class, a whole number ≥ 1; replaces label_frac"
    )
    valid_frac: Annotated[float, Number] = Field(
        ge=0, lt=1, description="share of the labels kept for validation, in [0, 1)"
    )
    valid_labels: Annotated[Count | None, Optional] = Field(
        description="validation labels beside the others, the same ones for every label_frac; "
        "instead of valid_frac"
    )
    split_seed: Seed = Field(description="draws the labels, a whole number ≥ 0")
    split_file: Place = Field(
        description="a manifest.parquet of an earlier run, used instead of drawing labels"
    )
    method: str = Field(description="name of the method, a file of pipeline/methods/")
    seed: Seed = Field(description="weights, order, augmentation and noise, a whole number ≥ 0")
    steps: Count = Field(description="optimiser steps, a whole number ≥ 1")
    report_every: Count = Field(description="steps between two points of the curves, ≥ 1")
    batch_size: Count = Field(description="labelled images a step, ≥ 1")
    unlabelled_batch_size: Count = Field(description="unlabelled images a step, ≥ 1")
    generator_lr: Rate = Field(description="the generator's learning rate, > 0")
    discriminator_lr: Rate = Field(description="the discriminator's or classifier's rate, > 0")
    generator_beta_1: Momentum = Field(description="Adam's decay of the mean gradient, in [0, 1)")
    discriminator_beta_1: Momentum = Field(description="the same for the discriminator, in [0, 1)")
    warmup_steps: Annotated[int, Field(ge=0), Number] = Field(
        description="steps of rising rate, ≥ 0"
    )
    decay: Literal["cosine", "linear"] = Field(description="how the rate falls: cosine or linear")
    decay_from: Share = Field(description="share of the steps before the rate falls, in [0, 1]")
    final_lr_fraction: Share = Field(description="share of the rate left at the end, in [0, 1]")
    ema_decay: Annotated[float, Number] = Field(
        ge=0, lt=1, description="decay of the averaged weights, in [0, 1)"
    )
    network: Literal["conv", "dense"] = Field(description="the classifier: conv or dense")
    dense_units: Annotated[list[Count], BeforeValidator(_list_from_text)] = Field(
        min_length=1, description="hidden layers of the dense network, e.g. [500, 250]"
    )
    input_noise: Amount = Field(description="standard deviation of noise on images, ≥ 0")
    layer_noise: Amount = Field(description="standard deviation of noise on activations, ≥ 0")
    augment_rotation: Amount = Field(description="largest angle in radians, ≥ 0")
    augment_scale: Amount = Field(description="largest change of size, natural logarithm, ≥ 0")
    augment_shear: Amount = Field(description="largest shear, ≥ 0")
    augment_shift: Share = Field(description="largest shift, share of the image's side, in [0, 1]")
    baseline: bool = Field(description="train the supervised baseline too: true or false")
    baseline_passes: Annotated[int, Field(ge=0), Number] = Field(
        description="passes of the baseline over its labels, if the images a step allow, ≥ 0"
    )
    deterministic: bool = Field(description="the same seed gives the same metrics: true or false")
    threads: Annotated[Count | None, Optional] = Field(description="CPU threads; none = all cores")
    precision: Literal["float32", "bfloat16"] = Field(
        description="float32 or bfloat16: of the networks' products; weights and sums stay float32"
    )
    jit_compile: bool = Field(description="compile the step with XLA: true or false")
    devices: Annotated[Count | None, Optional] = Field(
        description="devices that share each batch; none = every GPU, or the CPU as one"
    )
    system_metrics: bool = Field(
        description="log CPU, memory, disk and GPU use while the run goes: true or false"
    )
    experiment: Annotated[str | None, Optional] = Field(
        description="name of the MLflow experiment; null = MLFLOW_EXPERIMENT_NAME or "
        "MLFLOW_EXPERIMENT_ID, or else ssgan"
    )
    run_name: Annotated[str | None, Optional] = Field(description="name of the MLflow run")
    run_id: Annotated[str | None, Optional] = Field(
        description="the run whose split or model this stage continues from"
    )
    register_as: Annotated[str | None, Optional] = Field(
        description="name in MLflow's model registry"
    )
    own: Mapping[str, Any] = Field(exclude=True, repr=False)

    def flat(self) -> dict[str, Value]:
        """Every key and value of the run, the method's own among them, ready for YAML."""
        return {**self.model_dump(mode="json"), **self.own}


SHARED = tuple(key for key in Config.model_fields if key != "own")
# The groups that `--help` shows, by the first key of each.
GROUPS = {
    "dataset": "data",
    "label_frac": "labels",
    "method": "method and length",
    "generator_lr": "optimiser",
    "network": "network and augmentation",
    "baseline": "run",
}
# What says where and under which name a run is kept, not what it computes.
BOOKKEEPING = frozenset({"experiment", "run_name", "run_id", "register_as"})
# What a stage that continues from a run may still choose.
FREE_KEYS = BOOKKEEPING | {"data_dir", "threads", "baseline", "system_metrics"}
# What people compare: the parameters of a run in MLflow, beside whatever differs from the default.
COMPARED = (
    *("dataset", "method", "label_frac", "labels_per_class", "split_file", "split_seed", "seed"),
    *("steps", "generator_lr", "discriminator_lr", "network", "precision"),
)
# What the split stage has decided; a later stage cannot change it.
SPLIT_KEYS = frozenset(
    {"dataset", "data_dir", "label_frac", "labels_per_class", "valid_frac"}
    | {"valid_labels", "split_seed", "split_file"}
)

# What arms that are compared on one split share.
PAIRED_KEYS = frozenset({"seed", "deterministic", "threads", "baseline"})
# A method's own key that ends so is a share, in [0, 1], or divides; of the others, whole numbers
# are ≥ 1, the rest ≥ 0.
SHARES = ("_share", "_threshold", "_ramp", "_from")
DIVISORS = ("_epsilon",)
# Each says alone which labels are read.
RIVALS = ("label_frac", "labels_per_class", "split_file")


# What a key that not every method has means: the same in each method that has it.
OWN: Mapping[str, Any] = {
    "warm_up_share": Field(
        description="share of the steps that learn without labels, before the others, in [0, 1]; "
        "0 = none; smaller by default in a run of fewer steps than the default"
    ),
    "warm_up_lr": Field(description="learning rate of the warm-up, under the same schedule, ≥ 0"),
    "temperature": Field(description="of the warm-up's contrastive loss, ≥ 0"),
    "warm_up_elastic": Field(
        description="largest elastic displacement in the warm-up's views, share of the image's "
        "side, ≥ 0"
    ),
    "warm_up_thickness": Field(
        description="largest share of dilation or erosion in the warm-up's views, ≥ 0"
    ),
    "graph_images": Field(
        description="most images in the graph of neighbours that spreads the labels after the "
        "warm-up, ≥ 1"
    ),
    "graph_confident_share": Field(
        description="share of each class's images, the surest ones, whose spread label is used, "
        "in [0, 1]"
    ),
    "graph_share": Field(
        description="share of the steps after the warm-up that use the spread labels, before the "
        "averaged network's own, in [0, 1]"
    ),
    "gan_weight": Field(
        description="weight of real-or-generated in the discriminator's loss, ≥ 0; 0 = no generator"
    ),
    "latent_size": Field(description="random numbers that the generator makes an image of, ≥ 1"),
    "generator_network": Field(
        description="the generator: a file of pipeline/networks/generators/"
    ),
    "generator_units": Field(description="hidden layers of the generator, e.g. [500, 500]"),
    "generated_batch_size": Field(description="generated images a step, ≥ 1"),
    "consistency_weight": Field(
        description="weight of the loss that asks two views of an unlabelled image for one "
        "answer, ≥ 0"
    ),
    "consistency_ramp": Field(
        description="share of the steps over which consistency_weight rises, in [0, 1]"
    ),
    "confidence_threshold": Field(
        description="probability below which a pseudo-label is left out, in [0, 1]"
    ),
    "weak_shift_share": Field(
        description="largest shift of the view that gives the pseudo-label, share of the image's "
        "side, in [0, 1]; 0 = the image itself"
    ),
    "unsupervised_weight": Field(
        description="weight of real-or-generated in the discriminator's loss, ≥ 0"
    ),
    "adam_epsilon": Field(description="Adam's epsilon, > 0"),
    "pull_away_weight": Field(
        description="weight of the pull-away term in the generator's loss, ≥ 0"
    ),
    "entropy_weight": Field(
        description="weight of the entropy of the predictions on unlabelled images, ≥ 0; 0 = none"
    ),
    "rounds": Field(
        description="turns of discriminator and generator in a step, which share its unlabelled "
        "images, ≥ 1"
    ),
    "units": Field(description="hidden layers of generator and discriminator, e.g. [128, 128]"),
    "penalty_weight": Field(
        description="weight of the discriminator's squared gradient on real images (R1), ≥ 0"
    ),
    "class_weight": Field(
        description="weight of the wanted class being read in the generated images, ≥ 0"
    ),
    "matching_weight": Field(description="weight of the feature matching of each class, ≥ 0"),
    "sample_weight": Field(
        description="weight of the generated images in the classifier's loss, ≥ 0"
    ),
    "samples_from": Field(
        description="share of the steps before generated images count, in [0, 1]"
    ),
    "epsilon": Field(description="norm of the adversarial perturbation, pixels in [0, 1], ≥ 0"),
    "xi": Field(description="step of the power iteration's finite difference, ≥ 0"),
}


def own_model(defaults: Mapping[str, Value]) -> type[BaseModel]:
    """The model that a method's own keys must satisfy, from their values in its YAML."""
    fields: Any = {
        key: (_type_of(key, value), OWN.get(key, ...)) for key, value in defaults.items()
    }
    return create_model("Own", __config__=ConfigDict(allow_inf_nan=False), **fields)


def _type_of(key: str, value: Value) -> Any:
    """The type a method's own key must have, from its name and value in the method's YAML."""
    if key.endswith(SHARES):
        return Share
    if key.endswith(DIVISORS):
        return Rate
    if isinstance(value, bool | str):
        return type(value)
    if isinstance(value, int):
        return Count
    if isinstance(value, float):
        return Amount
    elements: Any = list[_type_of(key, value[0])] if isinstance(value, list) else Any  # type: ignore[misc]
    return Annotated[elements, BeforeValidator(_list_from_text)]
