"""The keys that not every method has: each means the same in every method that has it.

A method's YAML gives their values; which keys a method has is what its YAML names.
"""

from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo

from pipeline.config.key import (
    Amount,
    Count,
    Decides,
    Further,
    Generator,
    Layers,
    Momentum,
    Optional,
    Part,
    Rate,
    Said,
    Share,
    Side,
    Value,
    View,
    key,
    said_of,
)
from pipeline.config.schema import SAID, Config

# Keys of what comes after a warm-up, and of no step of it.
_AFTER = Decides.STEP | Decides.TRAINING


class OwnKeys(BaseModel):
    """All of them, with type and range."""

    # Whether there is a warm-up is told by its steps, of which there are none without.
    warm_up_share: Share = key(
        "share of the steps that learn without labels, before the others, in [0, 1]; "
        "0 = none; smaller by default in a run of fewer steps than the default",
        Decides.TRAINING,
    )
    warm_up_labels: Annotated[Count | None, Optional] = key(
        "labels for training beyond which there is no warm-up; none = always one",
        Decides.TRAINING,
    )
    warm_up_lr: Rate = key(
        "learning rate of the warm-up, under the same schedule, > 0",
        Decides.WARM_UP | Decides.TRAINING,
    )
    warm_up_weight_decay: Amount = key("weight_decay of the warm-up, ≥ 0; 0 = none")
    temperature: Rate = key("of the warm-up's contrastive loss, > 0")
    warm_up_elastic: Amount = key(
        "largest elastic displacement in the warm-up's views, share of the image's side, ≥ 0"
    )
    warm_up_thickness: Share = key(
        "largest share of dilation or erosion in the warm-up's views, in [0, 1]"
    )
    warm_up_crop: Part = key("augment_crop of the warm-up's views, in (0, 1]; 1 = no crop")
    warm_up_colour: Momentum = key(
        "augment_colour of the warm-up's views, in [0, 1), where twice as many become grey"
    )
    warm_up_rotation: Annotated[Amount | None, Optional] = key(
        "augment_rotation of the warm-up's views, radians, ≥ 0; none = the same"
    )
    graph_images: Count = key(
        "most images in the graph of neighbours that spreads the labels after the warm-up, ≥ 1",
        _AFTER,
    )
    graph_confident_share: Share = key(
        "share of each class's images, the surest ones, whose spread label is used, in [0, 1]",
        _AFTER,
    )
    graph_share: Share = key(
        "share of the steps after the warm-up that use the spread labels, before the "
        "averaged network's own, in [0, 1]",
        _AFTER,
    )
    generator: bool = key(
        "train a generator of images by class after the classifier: true or false", _AFTER
    )
    generator_steps: Count = key(
        "steps of the generator, beside `steps`, ≥ 1; fewer by default in a run of fewer steps "
        "than the default",
        Decides.TRAINING,
    )
    augment_with: Further = key(
        "what the classifier learns from in further steps, when there is a generator: none = there "
        "are no such steps; samples = also images that it draws, where the classifier reads the "
        "wanted class; images = the comparison, real ones with their pseudo-labels instead",
        _AFTER,
    )
    augment_steps: Count = key(
        "further steps with augment_with, beside `steps` and `generator_steps`, ≥ 1; fewer by "
        "default in a run of fewer steps than the default",
        Decides.TRAINING,
    )
    generator_size: Side = key(
        "pixels of the generator's images, the longer side, 8 to 512; larger images are reduced",
        _AFTER,
    )
    latent_size: Count = key("random numbers that the generator makes an image of, ≥ 1", _AFTER)
    truncation: Part = key(
        "what the latents are multiplied by when samples are drawn, in (0, 1]; training has 1, and "
        "less gives likelier images and less variety",
        _AFTER,
    )
    generator_network: Generator = key("the generator: a file of networks/generators/", _AFTER)
    generator_units: Layers = key(
        "hidden layers of the generator, or the channels of its maps from the smallest on, e.g. "
        "[500, 500]",
        _AFTER,
    )
    generated_batch_size: Count = key("generated images a step, ≥ 1", _AFTER)
    consistency_weight: Amount = key(
        "weight of the loss that asks two views of an unlabelled image for one answer, ≥ 0", _AFTER
    )
    consistency_ramp: Share = key(
        "share of the steps over which consistency_weight rises, in [0, 1]", _AFTER
    )
    confidence_threshold: Share = key(
        "probability below which a pseudo-label is left out, in [0, 1]", _AFTER
    )
    learned_batch_size: Annotated[Count | None, Optional] = key(
        "unlabelled images a step that are learned from, at most unlabelled_batch_size: those "
        "with a sure pseudo-label first; none = all; their loss is a mean, so fewer weigh more",
        _AFTER,
    )
    labelled_view: View = key(
        "view of the labelled images: strong, as of the unlabelled ones, or weak: shifted and, "
        "with augment_flip, mirrored",
        _AFTER,
    )
    weak_shift_share: Share = key(
        "largest shift of a weak view, share of the image's side, in [0, 1]; 0 = the image itself"
    )
    unsupervised_weight: Amount = key(
        "weight of real-or-generated in the discriminator's loss, ≥ 0"
    )
    adam_epsilon: Rate = key("Adam's epsilon, > 0")
    pull_away_weight: Amount = key("weight of the pull-away term in the generator's loss, ≥ 0")
    entropy_weight: Amount = key(
        "weight of the entropy of the predictions on unlabelled images, ≥ 0; 0 = none"
    )
    rounds: Count = key(
        "turns of discriminator and generator in a step, which share its unlabelled images, ≥ 1"
    )
    units: Layers = key("hidden layers of generator and discriminator, e.g. [128, 128]")
    penalty_weight: Amount = key(
        "weight of the discriminator's squared gradient on real images (R1; in ssgan on generated "
        "ones too), ≥ 0",
        _AFTER,
    )
    class_weight: Amount = key("weight of the wanted class being read in the generated images, ≥ 0")
    matching_weight: Amount = key("weight of the feature matching of each class, ≥ 0")
    sample_weight: Amount = key("weight of the generated images in the classifier's loss, ≥ 0")
    samples_from: Share = key("share of the steps before generated images count, in [0, 1]")
    epsilon: Rate = key("norm of the adversarial perturbation, pixels in [0, 1], > 0")
    xi: Rate = key("step of the power iteration's finite difference, > 0")


OWN: Mapping[str, FieldInfo] = OwnKeys.model_fields


def own_model(names: Collection[str]) -> type[BaseModel]:
    """The model that a method's own keys must satisfy; each of `names` is declared here."""
    fields: Any = {name: (OWN[name].annotation, OWN[name]) for name in names}
    return create_model("Own", __config__=ConfigDict(allow_inf_nan=False), **fields)


def said(name: str) -> Said:
    """What is said of a shared key or of a method's own."""
    return SAID[name] if name in SAID else said_of(OWN[name])


def deciding(config: Config, what: Decides) -> dict[str, Value]:
    """The keys and values of a run that decide `what`."""
    return {name: value for name, value in config.flat().items() if what in said(name).decides}
