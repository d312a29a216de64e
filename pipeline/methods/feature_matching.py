"""Semi-supervised GAN with feature matching, Salimans et al. 2016 (arXiv 1606.03498, 5 and 6.1).

K+1 classes by logsumexp, weight-normalised noisy dense discriminator, data-dependent
initialisation. The generator learns from other images than the discriminator has just learned to
reject, as in the paper's code: on the same ones the discriminator can run away from it.
"""

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.methods import Batch, Latents, Method
from pipeline.networks.build import Spec, averaged_copy, classifier, dtype_policy
from pipeline.networks.dense import salimans_generator
from pipeline.networks.layers import Activations
from pipeline.ops import losses
from pipeline.ops.devices import Random
from pipeline.ops.optimizers import adam, descend
from pipeline.ops.views import affine


class FeatureMatching(Method):
    """Discriminator with K logits and a generator that matches its features (see `Method`)."""

    def __init__(self, config: Config, spec: Spec, seed: int) -> None:
        """Build both networks; the classifier is the one `network` names (dense by default)."""
        self.config, self.own = config, config.own
        self.random = Random(seed)
        self.network = classifier(config, spec, self.random, seed)
        self.average = averaged_copy(self.network, config, spec)
        self.latents = Latents(self.own["latent_size"], "uniform")
        self.generator = salimans_generator(
            self.latents.size,
            self.own["generator_units"],
            spec.image_shape,
            seed + 1000,
            dtype_policy(config),
        )
        epsilon = self.own["adam_epsilon"]
        self.optimizers = {
            "discriminator": adam(self.network, config.discriminator_beta_1, epsilon),
            "generator": adam(self.generator, config.generator_beta_1, epsilon),
        }

    def step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Update the discriminator once, then the generator."""
        n, m = batch.labels.shape[0], batch.unlabelled_images.shape[0]
        real_images = tf.concat([batch.labelled_images, batch.unlabelled_images], axis=0)
        images = affine(real_images, self.config, self.random)
        generated = self.generator(self._latents(m), training=True)
        with tf.GradientTape() as tape:
            prepared = self.network.prepare()
            true = self.network.forward(images, True, True, prepared)
            fake = self.network.forward(generated, True, False, prepared)
            unlabelled = Activations(true.logits[n:], tuple(part[n:] for part in true.features))
            supervised = losses.classification(true.logits[:n], batch.labels)
            discriminating = self._discriminator_losses(supervised, unlabelled, fake)
        loss = discriminating["discriminator_loss"]
        descend(self.optimizers["discriminator"], tape, loss, self.network)

        prepared = self.network.prepare()
        unlabelled = self.network.forward(images[n:], True, False, prepared)
        with tf.GradientTape() as tape:
            generated = self.generator(self._latents(m), training=True)
            fake = self.network.forward(generated, True, False, prepared)
            generating = self._generator_losses(unlabelled, fake)
        loss = generating["generator_loss"]
        descend(self.optimizers["generator"], tape, loss, self.generator)
        return {"supervised_loss": supervised, **discriminating, **generating}

    def _latents(self, n: int) -> tf.Tensor:
        return self.random.uniform([n, self.own["latent_size"]])

    def _discriminator_losses(
        self, supervised: tf.Tensor, real: Activations, fake: Activations
    ) -> dict[str, tf.Tensor]:
        """`discriminator_loss`, which is minimised, and its parts besides `supervised`."""
        unsupervised = 0.5 * (losses.real(real.logits) + losses.generated(fake.logits))
        loss = supervised + self.own["unsupervised_weight"] * unsupervised
        return {"unsupervised_loss": unsupervised, "discriminator_loss": loss}

    def _generator_losses(self, real: Activations, fake: Activations) -> dict[str, tf.Tensor]:
        """`generator_loss`, which is minimised, and its parts if there are several."""
        return {"generator_loss": losses.feature_matching(real.features, fake.features)}


build = FeatureMatching
