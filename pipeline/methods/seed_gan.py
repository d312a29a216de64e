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
from pipeline.methods import Batch, Method
from pipeline.networks.build import averaged_copy, classifier
from pipeline.networks.spec import Spec
from pipeline.ops import losses, views
from pipeline.ops.devices import Random
from pipeline.ops.optimizers import adam, descend
from pipeline.parts.conditional_gan import ConditionalGAN
from pipeline.parts.teacher import predict


class SeedGAN(Method):
    """Conditional generator, binary discriminator, and the classifier they serve."""

    def __init__(self, config: Config, spec: Spec, seed: int) -> None:
        """Build the three networks (see `Method`)."""
        self.config, self.own = config, config.own
        self.random = Random(seed)
        self.network = classifier(config, spec, self.random, seed)
        self.average = averaged_copy(self.network, config, spec)
        self.gan = ConditionalGAN(config, spec, self.random, seed)
        self.generator, self.latents = self.gan.generator, self.gan.latents
        self.optimizers = {
            **self.gan.optimizers,
            "classifier": adam(
                self.network, config.discriminator_beta_1, weight_decay=config.weight_decay
            ),
        }

    def step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Discriminator and generator take turns on parts of the pool's batch, then the classifier.

        The two are small beside the classifier, so they take `rounds` turns in a step.
        """
        pool, labels = batch.unlabelled_images, batch.labels
        seen = predict(self.average, pool)
        n = -(-pool.shape[0] // self.own["rounds"])
        wanted = tf.tile(labels, [-(-n // labels.shape[0])])[:n]
        turns = []
        for begin in range(0, pool.shape[0], n):
            part = slice(begin, begin + n)
            discriminator_loss = self.gan.discriminator_step(pool[part], seen[part], wanted)
            # The classifier is what costs: one turn of each step asks it.
            guide = (batch.labelled_images, labels) if begin + n >= pool.shape[0] else None
            generator_loss = self.gan.generator_step(wanted, guide, self.average)
            turns.append([discriminator_loss, generator_loss])
        discriminator_loss, generator_loss = tf.unstack(tf.reduce_mean(turns, axis=0))
        return {
            "discriminator_loss": discriminator_loss,
            "generator_loss": generator_loss,
            "supervised_loss": self._classifier_step(batch),
        }

    def _classifier_step(self, batch: Batch) -> tf.Tensor:
        labels = batch.labels
        begun = tf.cast(batch.progress > self.own["samples_from"], tf.float32)
        samples = self.gan.generate(labels, training=False)
        samples = views.strong(samples, self.config, self.random)
        images = views.strong(batch.labelled_images, self.config, self.random)
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
