"""Our recipe: a K+1-class discriminator with feature matching that also learns from its own
averaged, confident predictions on unlabelled images.

GAN part: Salimans et al. 2016 (logsumexp form, feature matching on the last hidden layer and on
the last convolution's map). Consistency part: FixMatch (Sohn et al. 2020) with a mean teacher
(Tarvainen & Valpola 2017) and distribution alignment to the labelled set's class balance
(Berthelot et al. 2020).
"""

import tensorflow as tf

from pipeline.methods import Latents
from pipeline.networks.build import Spec, averaged_copy, classifier
from pipeline.networks.dense import generator
from pipeline.schema import Config
from pipeline.training import losses
from pipeline.training.augment import affine
from pipeline.training.optimizers import adam, descend

ALIGNMENT_DECAY = 0.98  # of the running mean of predictions that alignment divides by


class SemiSupervisedGAN:
    """Classifier = discriminator, dense generator, averaged teacher (see `Method`)."""

    uses_pool = True

    def __init__(self, config: Config, spec: Spec, seed: int) -> None:
        """Build the networks; `gan_weight: 0` leaves the generator out (the ablation)."""
        self.config, self.own = config, config.own
        self.random = tf.random.Generator.from_seed(seed)
        self.network = classifier(config, spec, self.random, seed)
        self.average = averaged_copy(self.network, config, spec)
        self.class_balance = tf.constant(spec.class_balance)
        self.predicted_balance = tf.Variable(spec.class_balance, trainable=False)
        self.optimizers = {"discriminator": adam(self.network, config.discriminator_beta_1)}
        self.generator, self.latents = None, None
        if self.own["gan_weight"]:
            self.latents = Latents(self.own["latent_size"], "normal")
            self.generator = generator(
                self.latents.size, self.own["generator_units"], spec.image_shape, seed + 1000
            )
            self.optimizers["generator"] = adam(self.generator, config.generator_beta_1)

    def step(
        self, labelled_images: tf.Tensor, labels: tf.Tensor, unlabelled_images: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Update classifier and generator together; one forward of fakes serves both losses."""
        pseudo_labels, confident = self._pseudo_labels(unlabelled_images)
        n = labelled_images.shape[0]
        images = affine(
            tf.concat([labelled_images, unlabelled_images], axis=0), self.config, self.random
        )
        with tf.GradientTape(persistent=True) as tape:
            true = self.network.forward(images, True, True)
            supervised = losses.classification(true.logits[:n], labels)
            consistency = losses.consistency(true.logits[n:], pseudo_labels, confident)
            loss = supervised + self._consistency_weight() * consistency
            if self.generator is not None:
                z = self.random.normal([self.own["generated_batch_size"], self.own["latent_size"]])
                fake = self.network.forward(self.generator(z, training=True), True, False)
                real_or_fake = 0.5 * (losses.real(true.logits[n:]) + losses.generated(fake.logits))
                loss += self.own["gan_weight"] * real_or_fake
                matching = losses.feature_matching(
                    [features[n:] for features in true.features], fake.features
                )
        descend(self.optimizers["discriminator"], tape, loss, self.network)
        reported = {
            "discriminator_loss": loss,
            "supervised_loss": supervised,
            "consistency_loss": consistency,
            "confident_share": tf.reduce_mean(confident),
        }
        if self.generator is not None:
            descend(self.optimizers["generator"], tape, matching, self.generator)
            reported |= {"unsupervised_loss": real_or_fake, "generator_loss": matching}
        return reported

    def _pseudo_labels(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The teacher's classes of clean images, int64 [n], and where it is sure, float [n]."""
        probabilities = tf.nn.softmax(self.average.forward(images, False, False).logits)
        running = self.predicted_balance
        running.assign(
            ALIGNMENT_DECAY * running
            + (1 - ALIGNMENT_DECAY) * tf.reduce_mean(probabilities, axis=0)
        )
        aligned = probabilities * (self.class_balance / running)
        aligned /= tf.reduce_sum(aligned, axis=1, keepdims=True)
        return losses.pseudo_labels(aligned, self.own["confidence_threshold"])

    def _consistency_weight(self) -> tf.Tensor:
        ramp = max(1.0, self.own["consistency_ramp"] * self.config.steps)
        taken = tf.cast(self.optimizers["discriminator"].iterations, tf.float32)
        return self.own["consistency_weight"] * tf.minimum(1.0, (taken + 1) / ramp)


build = SemiSupervisedGAN
