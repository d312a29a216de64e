"""A GAN that draws images of a wanted class: conditional generator, projection discriminator."""

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.networks.build import generator
from pipeline.networks.conditional import ConditionalGenerator, ProjectionDiscriminator
from pipeline.networks.layers import Classifier
from pipeline.networks.spec import Latents, Spec
from pipeline.ops import losses
from pipeline.ops.devices import Random
from pipeline.ops.optimizers import adam, descend
from pipeline.parts import Part


class ConditionalGAN(Part):
    """Both networks and their optimisers; the gradient on real images is penalised (R1)."""

    def __init__(self, config: Config, spec: Spec, random: Random, seed: int) -> None:
        """Build both of `units`, their weights drawn from `seed`."""
        self.own, self.n_classes, self.random = config.own, spec.n_classes, random
        units = self.own["units"]
        self.latents = Latents(self.own["latent_size"], "normal", spec.n_classes)
        self.generator = ConditionalGenerator(
            generator(config, spec, units, seed + 1000),
            self.latents.size,
            spec.n_classes,
            seed + 2000,
        )
        self.discriminator = ProjectionDiscriminator(
            spec.image_shape, units, spec.n_classes, seed + 3000
        )
        self.optimizers = {
            "discriminator": adam(self.discriminator, config.generator_beta_1),
            "generator": adam(self.generator, config.generator_beta_1),
        }

    def generate(self, labels: tf.Tensor, training: bool) -> tf.Tensor:
        """Images [n, h, w, c] in [0, 1] of wanted classes, int32 [n]."""
        z = self.random.normal([labels.shape[0], self.latents.size])
        return self.generator((z, self._one_hot(labels)), training=training)

    def discriminator_step(
        self, images: tf.Tensor, seen: tf.Tensor, wanted: tf.Tensor
    ) -> tf.Tensor:
        """Real images with the classes seen in them, [n, K], against images of wanted classes."""
        generated, wanted = self.generate(wanted, training=True), self._one_hot(wanted)
        self.discriminator.observe(images)
        with tf.GradientTape() as tape:
            with tf.GradientTape() as slope:
                slope.watch(images)
                real = self.discriminator((images, seen))
            penalty = tf.reduce_sum(tf.square(slope.gradient(real, images))) / images.shape[0]
            fake = self.discriminator((generated, wanted))
            loss = 0.5 * (losses.binary_real(real) + losses.binary_generated(fake))
            penalised = loss + 0.5 * self.own["penalty_weight"] * penalty
        descend(self.optimizers["discriminator"], tape, penalised, self.discriminator)
        return loss

    def generator_step(
        self,
        wanted: tf.Tensor,
        guide: tuple[tf.Tensor, tf.Tensor] | None,
        classifier: Classifier,
    ) -> tf.Tensor:
        """Pass for real; with labelled images and labels as guide, pass for the class as well."""
        with tf.GradientTape() as tape:
            generated = self.generate(wanted, training=True)
            logits = self.discriminator((generated, self._one_hot(wanted)))
            loss = guided = losses.binary_real(logits)
            if guide is not None:
                images, labels = guide
                true = classifier.forward(images, False, False)
                fake = classifier.forward(generated, False, False)
                matching = losses.class_feature_matching(
                    true.features[0], labels, fake.features[0], wanted, self.n_classes
                )
                read = losses.classification(fake.logits, wanted)
                guided += self.own["class_weight"] * read + self.own["matching_weight"] * matching
        descend(self.optimizers["generator"], tape, guided, self.generator)
        return loss

    def _one_hot(self, labels: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(labels, self.n_classes)
