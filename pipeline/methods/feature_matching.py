"""Semi-supervised GAN with feature matching, Salimans et al. 2016 (arXiv 1606.03498, 5 and 6.1).

K+1 classes by logsumexp, weight-normalised noisy dense discriminator, data-dependent
initialisation. The generator learns from other images than the discriminator has just learned to
reject, as in the paper's code: on the same ones the discriminator can run away from it.
"""

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.methods import Batch, Method
from pipeline.networks.build import averaged_copy, classifier
from pipeline.networks.layers import Activations
from pipeline.networks.spec import Spec
from pipeline.ops import losses, views
from pipeline.ops.devices import Random
from pipeline.ops.optimizers import adam, descend
from pipeline.parts.k_plus_one import Generator, real_or_generated, without


class FeatureMatching(Method):
    """Discriminator with K logits and a generator that matches its features (see `Method`)."""

    def __init__(self, config: Config, spec: Spec, seed: int) -> None:
        """Build both networks; the classifier is the one `network` names (dense by default)."""
        self.config, self.own = config, config.own
        self.random = Random(seed)
        self.network = classifier(config, spec, self.random, seed)
        self.average = averaged_copy(self.network, config, spec)
        epsilon = self.own["adam_epsilon"]
        self.generating = Generator(config, spec, self.random, seed + 1000, "uniform", epsilon)
        self.generator, self.latents = self.generating.network, self.generating.latents
        self.optimizers = {
            "discriminator": adam(
                self.network, config.discriminator_beta_1, epsilon, config.weight_decay
            ),
            "generator": self.generating.optimizer,
        }

    def step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Update the discriminator once, then the generator."""
        n, m = batch.labels.shape[0], batch.unlabelled_images.shape[0]
        real_images = tf.concat([batch.labelled_images, batch.unlabelled_images], axis=0)
        images = views.strong(real_images, self.config, self.random)
        generated = self.generating.generate(m)
        with tf.GradientTape() as tape:
            prepared = self.network.prepare()
            true = self.network.forward(images, True, True, prepared)
            fake = self.network.forward(generated, True, False, prepared)
            supervised = losses.classification(true.logits[:n], batch.labels)
            discriminating = self._discriminator_losses(supervised, without(n, true), fake)
        loss = discriminating["discriminator_loss"]
        descend(self.optimizers["discriminator"], tape, loss, self.network)

        prepared = self.network.prepare()
        unlabelled = self.network.forward(images[n:], True, False, prepared)
        with tf.GradientTape() as tape:
            fake = self.network.forward(self.generating.generate(m), True, False, prepared)
            generating = self._generator_losses(unlabelled, fake)
        loss = generating["generator_loss"]
        descend(self.optimizers["generator"], tape, loss, self.generator)
        return {"supervised_loss": supervised, **discriminating, **generating}

    def _discriminator_losses(
        self, supervised: tf.Tensor, real: Activations, fake: Activations
    ) -> dict[str, tf.Tensor]:
        """`discriminator_loss`, which is minimised, and its parts besides `supervised`."""
        unsupervised = real_or_generated(real, fake)
        loss = supervised + self.own["unsupervised_weight"] * unsupervised
        return {"unsupervised_loss": unsupervised, "discriminator_loss": loss}

    def _generator_losses(self, real: Activations, fake: Activations) -> dict[str, tf.Tensor]:
        """`generator_loss`, which is minimised, and its parts if there are several."""
        return {"generator_loss": losses.feature_matching(real.features, fake.features)}


build = FeatureMatching
