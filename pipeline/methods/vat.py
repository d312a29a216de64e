"""Virtual adversarial training with entropy minimisation (VATent), Miyato et al. 2017
(arXiv 1704.03976): no GAN, the baseline's network and augmentation.

Every image is moved by ε in the direction that changes the prediction most; the prediction must
stay as it was.
"""

import tensorflow as tf

from pipeline.methods import Batch
from pipeline.methods.supervised import Supervised
from pipeline.ops import losses, views
from pipeline.ops.optimizers import descend


class VirtualAdversarialTraining(Supervised):
    """The baseline's classifier, made smooth around every image (see `Method`)."""

    uses_pool = True

    def step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Update on the labels, the local smoothness and the entropy of all images."""
        n, own = batch.labels.shape[0], self.config.own
        real_images = tf.concat([batch.labelled_images, batch.unlabelled_images], axis=0)
        images = views.strong(real_images, self.config, self.random)
        clean = self._predict(images)
        perturbed = images + self._perturbation(images, clean)
        with tf.GradientTape() as tape:
            logits = self.network.forward(images, True, True).logits
            supervised = losses.classification(logits[:n], batch.labels)
            entropy = losses.conditional_entropy(logits)
            consistency = losses.kl_divergence(clean, self._predict(perturbed))
            loss = supervised + own["consistency_weight"] * consistency
            loss += own["entropy_weight"] * entropy
        descend(self.optimizers["discriminator"], tape, loss, self.network)
        return {
            "supervised_loss": supervised,
            "consistency_loss": consistency,
            "entropy_loss": entropy,
            "discriminator_loss": loss,
        }

    def _predict(self, images: tf.Tensor) -> tf.Tensor:
        """Logits [n, K] as in training, but without noise: the images alone make a difference."""
        return self.network.forward(images, True, False, noisy=False).logits

    def _perturbation(self, images: tf.Tensor, clean: tf.Tensor) -> tf.Tensor:
        """The virtual adversarial perturbation, of norm ε for each image; [n, h, w, c].

        One power iteration (section 3.3): the gradient of the divergence at ξ times a random
        direction. `clean` holds the logits of the images, [n, K].
        """
        direction = _unit(self.random.normal(images.shape))
        with tf.GradientTape() as tape:
            tape.watch(direction)
            moved = self._predict(images + self.config.own["xi"] * direction)
            divergence = losses.kl_divergence(clean, moved)
        return self.config.own["epsilon"] * _unit(tape.gradient(divergence, direction))


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    """Each image's vector at length 1, or 0 if it is 0; [n, h, w, c]."""
    # Gradients of sure predictions are so small that their squares vanish.
    largest = tf.reduce_max(tf.abs(vectors), axis=(1, 2, 3), keepdims=True)
    return tf.math.l2_normalize(tf.math.divide_no_nan(vectors, largest), axis=(1, 2, 3))


build = VirtualAdversarialTraining
