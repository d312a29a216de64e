"""The text's scheme: labelled data trains the generator, unlabelled data trains the discriminator.

Networks as in the text (latent 100 → 128 → 128 → pixels; pixels → 128 → 128 → 1; batch norm
between), its two faults mended: the loss is taken on logits and the images are generated inside
the tape. Our reading makes it useful: the generator is conditioned on labels drawn from the
labelled set, matches that set's features within each class, and its images shall be read as the
wanted class by the classifier that learns from the labelled set (auxiliary classifier, Odena et
al. 2017). The discriminator's real images are the unlabelled ones, with the class that this
classifier sees in them (projection, Miyato & Koyama 2018); its gradient on them is penalised (R1,
Mescheder et al. 2018), without which it wins and the samples of a class are all alike. The method
is judged by a classifier trained on the labelled images plus class-conditional samples
(classification accuracy score, Ravuri & Vinyals 2019).
"""

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.methods import Batch, Latents, Method
from pipeline.networks.build import Spec, averaged_copy, classifier
from pipeline.networks.dense import ConditionalGenerator, SeedDiscriminator, generator
from pipeline.ops import losses
from pipeline.ops.devices import Random
from pipeline.ops.optimizers import adam, descend
from pipeline.ops.views import affine


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
        self.discriminator = SeedDiscriminator(
            spec.image_shape, self.own["units"], spec.n_classes, seed + 3000
        )
        self.optimizers = {
            "discriminator": adam(self.discriminator, config.generator_beta_1),
            "generator": adam(self.generator, config.generator_beta_1),
            "classifier": adam(self.network, config.discriminator_beta_1),
        }

    def step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Discriminator and generator take turns on parts of the pool's batch, then the classifier.

        The two are small beside the classifier, so they take `rounds` turns in a step.
        """
        pool, labels = batch.unlabelled_images, batch.labels
        seen = tf.nn.softmax(self.average.forward(pool, False, False).logits)
        n = -(-pool.shape[0] // self.own["rounds"])
        wanted = tf.tile(labels, [-(-n // labels.shape[0])])[:n]
        turns = []
        for begin in range(0, pool.shape[0], n):
            part = slice(begin, begin + n)
            discriminator_loss = self._discriminator_step(pool[part], seen[part], wanted)
            # The classifier is what costs: one turn of each step asks it.
            guide = (batch.labelled_images, labels) if begin + n >= pool.shape[0] else None
            turns.append([discriminator_loss, self._generator_step(wanted, guide)])
        discriminator_loss, generator_loss = tf.unstack(tf.reduce_mean(turns, axis=0))
        return {
            "discriminator_loss": discriminator_loss,
            "generator_loss": generator_loss,
            "supervised_loss": self._classifier_step(batch),
        }

    def _generate(self, labels: tf.Tensor, training: bool) -> tf.Tensor:
        z = self.random.normal([labels.shape[0], self.own["latent_size"]])
        return self.generator((z, self._one_hot(labels)), training=training)

    def _discriminator_step(
        self, images: tf.Tensor, seen: tf.Tensor, wanted: tf.Tensor
    ) -> tf.Tensor:
        """Pool images with the classes seen in them, [n, K], against images of wanted classes."""
        generated, wanted = self._generate(wanted, training=True), self._one_hot(wanted)
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

    def _generator_step(
        self, wanted: tf.Tensor, guide: tuple[tf.Tensor, tf.Tensor] | None
    ) -> tf.Tensor:
        """Pass for real; with labelled images and labels as guide, pass for the class as well."""
        with tf.GradientTape() as tape:
            generated = self._generate(wanted, training=True)
            logits = self.discriminator((generated, self._one_hot(wanted)))
            loss = guided = losses.binary_real(logits)
            if guide is not None:
                images, labels = guide
                true = self.average.forward(images, False, False)
                fake = self.average.forward(generated, False, False)
                matching = losses.class_feature_matching(
                    true.features[0], labels, fake.features[0], wanted, self.n_classes
                )
                read = losses.classification(fake.logits, wanted)
                guided += self.own["class_weight"] * read + self.own["matching_weight"] * matching
        descend(self.optimizers["generator"], tape, guided, self.generator)
        return loss

    def _one_hot(self, labels: tf.Tensor) -> tf.Tensor:
        return tf.one_hot(labels, self.n_classes)

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
