"""A classifier as K+1-class discriminator, and a generator against it (Salimans et al. 2016)."""

from typing import Literal

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.networks.build import generator
from pipeline.networks.layers import Activations
from pipeline.networks.spec import Latents, Spec
from pipeline.ops import losses
from pipeline.ops.devices import Random
from pipeline.ops.optimizers import adam
from pipeline.parts import Part


class Generator(Part):
    """The generator that `generator_network` names, what it is fed, and its optimiser."""

    def __init__(
        self,
        config: Config,
        spec: Spec,
        random: Random,
        seed: int,
        distribution: Literal["normal", "uniform"],
        epsilon: float = 1e-7,
    ) -> None:
        """Draw the weights from `seed`; `epsilon` is Adam's."""
        self.random = random
        self.latents = Latents(config.own["latent_size"], distribution)
        self.network = generator(config, spec, config.own["generator_units"], seed)
        self.optimizer = adam(self.network, config.generator_beta_1, epsilon)

    def generate(self, n: int) -> tf.Tensor:
        """Images [n, h, w, c] in [0, 1] from fresh latents, as in training."""
        normal = self.latents.distribution == "normal"
        draw = self.random.normal if normal else self.random.uniform
        return self.network(draw([n, self.latents.size]), training=True)


def without(n: int, activations: Activations) -> Activations:
    """The activations of a batch without its first n images, which are labelled."""
    return Activations(activations.logits[n:], tuple(part[n:] for part in activations.features))


def real_or_generated(real: Activations, fake: Activations) -> tf.Tensor:
    """Half the binary cross-entropy of real images and half that of generated ones."""
    return 0.5 * (losses.real(real.logits) + losses.generated(fake.logits))
