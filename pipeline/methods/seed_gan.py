"""The text's scheme: labelled data trains the generator, unlabelled data trains the discriminator.

Networks as in the text (latent 100 → 128 → 128 → pixels; pixels → 128 → 128 → 1; batch norm
between), its two faults mended: the loss is taken on logits and the images are generated inside
the tape. Our reading makes it useful: the generator is conditioned on labels drawn from the
labelled set and matches that set's features within each class; the discriminator's real images
are the unlabelled ones. The method is judged by a classifier trained on the labelled images plus
class-conditional samples (classification accuracy score, Ravuri & Vinyals 2019).
"""

import tensorflow as tf

from pipeline.methods import Batch, Latents, Method
from pipeline.networks.build import Spec, averaged_copy, classifier
from pipeline.networks.dense import ConditionalGenerator, SeedDiscriminator, generator
from pipeline.schema import Config
from pipeline.training import losses
from pipeline.training.augment import affine
from pipeline.training.devices import Random
from pipeline.training.optimizers import adam, descend


class SeedGAN(Method):
    """Conditional generator, binary discriminator, and the classifier they serve."""

    def __init__(self, config: Config, spec: Spec, seed: int) -> None:
        """Build the three networks (see `Method`)."""
        self.config, self.own, self.n_classes = config, config.own, spec.n_classes
        self.random = Random(seed)
        self.network = classifier(config, spec, self.random, seed)
        self.average = averaged_copy(self.network, config, spec)
        self.latents = Latents(self.own["latent_size"], "normal", spec.n_classes)
        self.generator = ConditionalGenerator(
            generator(self.latents.size, self.own["units"], spec.image_shape, seed + 1000),
            self.latents.size,
            spec.n_classes,
            seed + 2000,
        )
        self.discriminator = SeedDiscriminator(spec.image_shape, self.own["units"], seed + 3000)
        self.optimizers = {
            "discriminator": adam(self.discriminator, config.generator_beta_1),
            "generator": adam(self.generator, config.generator_beta_1),
            "classifier": adam(self.network, config.discriminator_beta_1),
        }

    def step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Discriminator on unlabelled images, generator on labelled ones, then the classifier."""
        n, labels = batch.unlabelled_images.shape[0], batch.labels
        wanted = tf.tile(labels, [-(-n // labels.shape[0])])[:n]
        return {
            "discriminator_loss": self._discriminator_step(batch.unlabelled_images, wanted),
            "generator_loss": self._generator_step(batch.labelled_images, labels, wanted),
            "supervised_loss": self._classifier_step(batch),
        }

    def _generate(self, labels: tf.Tensor, training: bool) -> tf.Tensor:
        z = self.random.normal([labels.shape[0], self.own["latent_size"]])
        return self.generator((z, tf.one_hot(labels, self.n_classes)), training=training)

    def _discriminator_step(self, images: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        generated = self._generate(wanted, training=True)
        with tf.GradientTape() as tape:
            real = self.discriminator(images, training=True)
            fake = self.discriminator(generated, training=True)
            loss = 0.5 * (losses.binary_real(real) + losses.binary_generated(fake))
        descend(self.optimizers["discriminator"], tape, loss, self.discriminator)
        return loss

    def _generator_step(self, images: tf.Tensor, labels: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
        # The classifier's features tell the classes apart; the discriminator's need not.
        true = self.average.forward(images, False, False)
        with tf.GradientTape() as tape:
            generated = self._generate(wanted, training=True)
            logits = self.discriminator(generated, training=True)
            fake = self.average.forward(generated, False, False)
            matching = losses.class_feature_matching(
                true.features[0], labels, fake.features[0], wanted, self.n_classes
            )
            loss = losses.binary_real(logits) + self.own["matching_weight"] * matching
        descend(self.optimizers["generator"], tape, loss, self.generator)
        return loss

    def _classifier_step(self, batch: Batch) -> tf.Tensor:
        labels = batch.labels
        begun = tf.cast(batch.progress > self.own["samples_from"], tf.float32)
        samples = affine(self._generate(labels, training=False), self.config, self.random)
        images = affine(batch.labelled_images, self.config, self.random)
        with tf.GradientTape() as tape:
            # Samples normalise by themselves and stay out of the statistics of real images.
            logits = self.network.forward(images, True, True).logits
            supervised = losses.classification(logits, labels)
            on_samples = losses.classification(
                self.network.forward(samples, True, False).logits, labels
            )
            loss = supervised + begun * self.own["sample_weight"] * on_samples
        descend(self.optimizers["classifier"], tape, loss, self.network)
        return supervised


build = SeedGAN
