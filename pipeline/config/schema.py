"""What a configuration is: its keys, their types, ranges and meaning, and what each decides.

Values live in `configs/`, none here. The keys that not every method has stand in `own_keys`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.config.key import (
    Amount,
    Classifier,
    Count,
    Decides,
    Layers,
    Momentum,
    Named,
    Number,
    Optional,
    Part,
    Place,
    Rate,
    Registered,
    Said,
    Seed,
    Share,
    Side,
    Threads,
    Value,
    files_of,
    key,
    said_of,
)

_SPLIT, _STEP, _WARM_UP = Decides.SPLIT, Decides.STEP, Decides.WARM_UP
_TRAINING, _RECORD = Decides.TRAINING, Decides.RECORD


class Config(BaseModel):
    """The resolved, validated values of one run; flat keys, as in `configs/default.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str = key(
        "name of the data set, a file of configs/dataset/", _SPLIT, compared=True, group="data"
    )
    data_dir: Place = key("folder (or .npz) of the data", _SPLIT, free=True)
    kind: Literal["strokes", "photos"] = key(
        "what the images are: strokes (grey, drawn on an empty ground) or photos; other keys' "
        "defaults follow it",
        _SPLIT | _STEP,
    )
    image_size: Annotated[Side | None, Optional] = key(
        "dataset folder: side of the images in pixels, 8 to 512; none = chosen from the pictures",
        _SPLIT,
    )
    fit: Literal["crop", "pad"] = key(
        "dataset folder: what makes a picture square, crop (its centre) or pad", _SPLIT
    )
    test_frac: Annotated[float, Number] = key(
        "dataset folder without a test part: share of the labelled pictures that test, in (0, 1)",
        _SPLIT,
        gt=0,
        lt=1,
    )
    strict: bool = key(
        "dataset folder: stop at a picture that cannot be read, instead of leaving it out: "
        "true or false",
        _SPLIT,
        free=True,
    )
    label_frac: Annotated[Part | None, Optional] = key(
        "share of the training images whose labels are read, in (0, 1]; none = every known label, "
        "but a tenth if all are known",
        _SPLIT,
        compared=True,
        group="labels",
    )
    labels_per_class: Annotated[Count | None, Optional] = key(
        "labels of each class, a whole number ≥ 1; replaces label_frac", _SPLIT, compared=True
    )
    valid_frac: Annotated[float, Number] = key(
        "share of the labels kept for validation, in [0, 1)", _SPLIT, ge=0, lt=1
    )
    valid_labels: Annotated[Count | None, Optional] = key(
        "validation labels beside the others, the same ones for every label_frac; "
        "instead of valid_frac",
        _SPLIT,
    )
    stratified: bool = key(
        "draw the labels of label_frac in the classes' own shares, true, or at random, one of each "
        "class first, false",
        _SPLIT,
    )
    split_seed: Seed = key("draws the labels, a whole number ≥ 0", _SPLIT, compared=True)
    split_file: Place = key(
        "a manifest.parquet of an earlier run, used instead of drawing labels",
        _SPLIT,
        compared=True,
    )
    method: str = key(
        "name of the method, a file of pipeline/methods/", compared=True, group="method and length"
    )
    seed: Seed = key(
        "weights, order, augmentation and noise, a whole number ≥ 0",
        _WARM_UP | _TRAINING,
        compared=True,
        paired=True,
    )
    steps: Annotated[int, Number] = key(
        "optimiser steps, a whole number ≥ 0; 0 = chosen from the number of training images",
        _TRAINING,
        compared=True,
        ge=0,
    )
    report_every: Count = key("steps between two points of the curves, ≥ 1", _WARM_UP | _TRAINING)
    batch_size: Count = key("labelled images a step, ≥ 1", _STEP | _TRAINING)
    unlabelled_batch_size: Count = key("unlabelled images a step, ≥ 1")
    generator_lr: Rate = key(
        "the generator's learning rate, > 0", _TRAINING, compared=True, group="optimiser"
    )
    discriminator_lr: Rate = key(
        "the discriminator's or classifier's rate, > 0", _TRAINING, compared=True
    )
    generator_beta_1: Momentum = key(
        "Adam's decay of the mean gradient, in [0, 1)", _STEP | _TRAINING
    )
    discriminator_beta_1: Momentum = key("the same for the discriminator, in [0, 1)")
    weight_decay: Amount = key(
        "decoupled weight decay of the classifier (AdamW), times the learning rate, ≥ 0; 0 = none",
        _STEP | _TRAINING,
    )
    warmup_steps: Annotated[int, Number] = key(
        "steps of rising rate, ≥ 0", _WARM_UP | _TRAINING, ge=0
    )
    decay: Literal["cosine", "linear"] = key(
        "how the rate falls: cosine or linear", _WARM_UP | _TRAINING
    )
    decay_from: Share = key(
        "share of the steps before the rate falls, in [0, 1]", _WARM_UP | _TRAINING
    )
    final_lr_fraction: Share = key(
        "share of the rate left at the end, in [0, 1]", _WARM_UP | _TRAINING
    )
    ema_decay: Annotated[float, Number] = key(
        "decay of the averaged weights, in [0, 1)", _WARM_UP | _TRAINING, ge=0, lt=1
    )
    network: Classifier = key(
        f"the classifier: {' or '.join(files_of('classifiers'))}",
        compared=True,
        group="network and augmentation",
    )
    backbone: Named = key(
        "a network trained already, for photographs: none, auto (measured on the labelled images "
        "where its weights are at hand), efficientnet_lite0, or one of keras.applications",
        compared=True,
    )
    backbone_weights: Place = key(
        "file of the backbone's weights; none = from its package, or fetched once by Keras"
    )
    backbone_side: Annotated[int, Number] = key(
        "pixels of a side up to which a backbone enlarges smaller images, eightfold at most, 32 to "
        "512; larger ones show it more, and take longer",
        ge=32,
        le=512,
    )
    dense_units: Layers = key("hidden layers of the dense network, e.g. [500, 250]")
    width: Annotated[int, Number] = key(
        "channels of the first layer of the residual network (network: resnet), all others "
        "follow; a multiple of 4, ≥ 4",
        ge=4,
        multiple_of=4,
    )
    input_noise: Amount = key("standard deviation of noise on images, ≥ 0")
    layer_noise: Amount = key("standard deviation of noise on activations, ≥ 0")
    augment_rotation: Amount = key("largest angle in radians, ≥ 0")
    augment_scale: Amount = key("largest change of size, natural logarithm, ≥ 0")
    augment_shear: Amount = key("largest shear, ≥ 0")
    augment_shift: Share = key("largest shift, share of the image's side, in [0, 1]")
    augment_crop: Part = key(
        "smallest share of the area that a random crop keeps, in (0, 1]; 1 = no crop",
        _STEP | _TRAINING,
    )
    augment_flip: bool = key("mirror left and right at random: true or false")
    augment_colour: Momentum = key(
        "largest change of brightness, contrast and saturation, share, in [0, 1); above 0 hues "
        "turn and some images become grey; a warm-up has warm_up_colour",
        _STEP | _TRAINING,
    )
    augment_cutout: Share = key(
        "side of a square of mid grey, share of the image's shorter side, in [0, 1]; 0 = none",
        _STEP | _TRAINING,
    )
    augment_border: Literal["black", "mirror"] = key(
        "what comes in from outside the image: black or mirror"
    )
    baseline: bool = key(
        "train the supervised baseline too: true or false",
        _TRAINING,
        free=True,
        paired=True,
        group="run",
    )
    labelled_passes: Annotated[int, Number] = key(
        "passes over the labels that are aimed at: if they need it, two thirds of a step's images "
        "are labelled ones, and the others weigh less; 0 = batch_size as it is",
        _TRAINING,
        ge=0,
    )
    baseline_passes: Annotated[int, Number] = key(
        "passes of the baseline over its labels, if the images a step allow, ≥ 0", _TRAINING, ge=0
    )
    deterministic: bool = key(
        "the same seed gives the same metrics: true or false", _WARM_UP | _TRAINING, paired=True
    )
    threads: Annotated[Threads | None, Optional] = key(
        "CPU threads, up to 1024; none = all cores", _WARM_UP | _TRAINING, free=True, paired=True
    )
    precision: Literal["auto", "float32", "bfloat16"] = key(
        "of products and convolutions' maps: float32, bfloat16 or auto (bfloat16 on CPUs with AMX)",
        compared=True,
    )
    jit_compile: Annotated[bool | None, Optional] = key(
        "compile the step with XLA: true or false; none = in a long training on a GPU"
    )
    devices: Annotated[Count | None, Optional] = key(
        "devices that share each batch; none = every GPU, or the CPU as one"
    )
    system_metrics: bool = key(
        "log CPU, memory, disk and GPU use while the run goes: true or false", _RECORD
    )
    checkpoint_dir: Place = key(
        "folder of the checkpoints from which `--resume` goes on; none = "
        "~/.cache/ssgan/checkpoints; another where that disk is small or lost with the machine",
        _RECORD,
    )
    checkpoint_every: Amount = key(
        "seconds of training between two checkpoints, ≥ 0, which is what a kill loses; more where "
        "writing is slow; 0 = as often as possible, whatever it costs",
        _RECORD,
    )
    experiment: Annotated[str | None, Optional] = key(
        "name of the MLflow experiment; none = MLFLOW_EXPERIMENT_NAME or "
        "MLFLOW_EXPERIMENT_ID, or else ssgan",
        _RECORD,
    )
    run_name: Annotated[str | None, Optional] = key("name of the MLflow run", _RECORD)
    run_id: Annotated[str | None, Optional] = key(
        "the run whose split or model this stage continues from", _RECORD
    )
    register_as: Registered = key("name in MLflow's model registry", _RECORD)
    own: Mapping[str, Any] = Field(exclude=True, repr=False)
    # While `steps` is 0: the keys that will follow its number, for nobody has said them.
    to_fit: frozenset[str] = Field(default=frozenset(), exclude=True, repr=False)
    # Keys that a file or the command line gave: no recipe may change them.
    given: frozenset[str] = Field(default=frozenset(), exclude=True, repr=False)

    def __eq__(self, other: object) -> bool:
        """Whether all values are equal, whoever gave them."""
        if not isinstance(other, Config):
            return NotImplemented
        return self.__dict__ | {"given": None} == other.__dict__ | {"given": None}

    def __hash__(self) -> int:
        """Of the shared values, which are equal where all are."""
        return hash(self.model_dump_json())

    def flat(self) -> dict[str, Value]:
        """Every key and value of the run, the method's own among them, ready for YAML."""
        return {**self.model_dump(mode="json"), **self.own}


SAID: Mapping[str, Said] = {
    name: said_of(field)
    for name, field in Config.model_fields.items()
    if name not in ("own", "to_fit", "given")
}
SHARED = tuple(SAID)
RECORD = frozenset(name for name, said in SAID.items() if said.decides == _RECORD)
SPLIT = frozenset(name for name, said in SAID.items() if _SPLIT in said.decides)
# Each says alone which labels are read.
RIVALS = ("label_frac", "labels_per_class", "split_file")
