"""The contract of a training method; one file here and one YAML in `configs/method/` each.

The file's name is the registry. A method's module defines

    build(config: Config, spec: Spec, seed: int) -> Method

and what it returns is a `Method`: it owns its networks, optimisers and random generator, and
knows how to take one step. It holds no loop, loads no data and logs nothing; learning rates,
moving averages and reports are the loop's (`pipeline.training`). A compiled step serves many runs:
what changes from run to run (seed, data, class balance, rates, length) lives in variables and
arguments, never in constants of the step. It may be spread over several devices: means over the
batch go through `pipeline.ops.devices`. Importing this package does not import TensorFlow.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.config import named

if TYPE_CHECKING:
    import tensorflow as tf

    from pipeline.config.schema import Config
    from pipeline.networks.layers import Classifier
    from pipeline.networks.spec import Latents, Spec
    from pipeline.ops.devices import Random
    from pipeline.ops.optimizers import Adam


@dataclass(frozen=True)
class Arrays:
    """What training may look at: every image of the pool, the labels of the labelled ones."""

    images: NDArray[np.uint8]  # [n, h, w, c], the whole training part; maybe in a mapped file
    pool: NDArray[np.int64]  # indices of the images used without their labels
    labelled: NDArray[np.int64]  # indices of the labelled images
    labels: NDArray[np.int64]  # their labels, in the same order
    unknown: NDArray[np.int64]  # indices of pool images whose label nobody knows
    digest: str  # of the data set: the same digest, the same images


class Batch(NamedTuple):
    """What a step takes; on several devices, this device's part of it."""

    labelled_images: tf.Tensor  # float32 [n, h, w, c] in [0, 1]
    labels: tf.Tensor  # int32 [n]
    unlabelled_images: tf.Tensor  # float32 [m, h, w, c] in [0, 1]
    positions: tf.Tensor  # of the unlabelled images among all training images, int32 [m]
    progress: tf.Tensor  # share of the phase's steps taken, this one included, float32 in (0, 1]


class Method:
    """What the loop and the stages see of a method; every method derives from it.

    A method with a `warm_up_share` begins with another phase: that share of the steps is
    `warm_up`'s, which sees no label, then comes `after_warm_up` once, then `step`. One with
    `generator_steps` ends with another: when the classifier is done, `before_generator` once, then
    so many times `generate`, beside the steps of the others, in which `average` stands still. One
    with `augment_steps` then trains the classifier on, so many times `augment`. Rates and
    `Batch.progress` begin anew with each phase.
    """

    config: Config  # of the run; may change from run to run where no compiled step looks
    network: Classifier  # the classifier that is trained
    average: Classifier  # its moving average, which is evaluated; kept by the loop
    generator: Any = None  # Keras model, or None for a method without one
    latents: Latents | None = None  # what the generator is fed
    uses_pool: bool = True  # False: looks at labelled images alone
    random: Random  # every random number of `step` comes from here
    # By name; "generator" and "generator's …" take generator_lr, "warm_up" its own key warm_up_lr,
    # others discriminator_lr.
    optimizers: dict[str, Adam]
    class_balances: Sequence[tf.Variable] = ()  # of `AlignedTeacher.balances`, each [K]
    warm_up_share: float = 0.0  # of `config.steps`
    generator_steps: int = 0  # 0 = `step` trains the generator, or there is none
    augment_steps: int = 0  # 0 = the classifier does not learn from the generator's images
    schedules: Mapping[str, Mapping[str, Any]] = {}  # phase → keys of the schedule that differ

    def step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Update every network once; scalar losses by name, `supervised_loss` among them."""
        raise NotImplementedError

    def warm_up(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Update from images alone; scalar losses by name."""
        raise NotImplementedError

    def warm_up_state(self) -> Sequence[Any]:
        """All that `warm_up` changes: networks, layers, optimisers, random generator."""
        raise NotImplementedError

    def after_warm_up(self, arrays: Arrays) -> Mapping[str, float]:
        """Look at all images at once, outside the compiled steps; measures by name, if any."""
        return {}

    def before_generator(self, arrays: Arrays) -> None:
        """Look at all images at once, when the classifier is trained."""

    def generate(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Update the generator alone, with what belongs to it; scalar losses by name."""
        raise NotImplementedError

    def augment(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Update the classifier with the generator's images; losses by name, as `step`'s."""
        raise NotImplementedError

    def let_go_of_images(self) -> None:
        """Free the memory of images that the method keeps; the training is over."""


def names() -> Sequence[str]:
    """The known methods."""
    return named.names("method")


def build(config: Config, spec: Spec, seed: int) -> Method:
    """Build the method that `config.method` names, its weights drawn from `seed`."""
    module = importlib.import_module(f"pipeline.methods.{config.method}")
    # Neighbouring seeds far apart: the networks draw layer after layer from seed, seed + 1, …
    spread = int(np.random.SeedSequence(seed).generate_state(1)[0]) // 2
    method: Method = module.build(config, spec, spread)
    return method
