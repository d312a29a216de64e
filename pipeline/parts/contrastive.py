"""Contrastive learning (SimCLR, Chen et al. 2020): a classifier's body learns without labels."""

from typing import Any

import keras
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.networks.layers import Classifier
from pipeline.networks.spec import Spec
from pipeline.ops import devices, losses, views
from pipeline.ops.devices import Random
from pipeline.ops.optimizers import Adam
from pipeline.parts import Part

PROJECTION = 64  # units of the contrastive head, which is dropped after the warm-up


class ContrastiveWarmUp(Part):
    """Head and optimiser of a warm-up of `network`; see `Method.warm_up`."""

    def __init__(
        self, config: Config, spec: Spec, network: Classifier, random: Random, seed: int
    ) -> None:
        """Put a head on the last hidden layer, its weights drawn from `seed`."""
        self.config, self.network, self.random = config, network, random
        start = keras.initializers.LecunNormal(seed=seed)
        self.projection = keras.layers.Dense(PROJECTION, kernel_initializer=start)
        self.projection(network.forward(tf.zeros([1, *spec.image_shape]), False, False).features[0])
        self.optimizer = Adam(
            [*network.body_variables, *self.projection.trainable_variables],
            config.discriminator_beta_1,
            weight_decay=config.own["warm_up_weight_decay"],
        )

    def step(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step on two views of every image, float32 [n, h, w, c]; the loss by name."""
        both = tf.concat([images, images], axis=0)
        seen = views.contrastive(both, self.config, self.random)
        with tf.GradientTape() as tape:
            hidden = self.network.forward(seen, True, True).features[0]
            loss = losses.contrastive(self.projection(hidden), self.config.own["temperature"])
        variables = [variable.value for variable in self.optimizer.trained]
        self.optimizer.apply(devices.mean(tape.gradient(loss, variables)))
        return {"contrastive_loss": loss}

    def state(self) -> list[Any]:
        """All that a step changes."""
        return [*self.network.headless_state, self.projection, self.optimizer, self.random]
