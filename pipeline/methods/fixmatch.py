"""FixMatch, Sohn et al. 2020 (arXiv 2001.07685): the control without a GAN and without a teacher.

The current network labels weakly augmented images; where it is sure, the strongly augmented view
must get the same class. Network and augmentation are the baseline's, but for labelled images of
photographs, whose view is weak (`labelled_view`). As in the paper the moving average of the weights
is evaluated, but takes no part in training.
"""

import tensorflow as tf

from pipeline.methods import Batch
from pipeline.methods.supervised import Supervised
from pipeline.ops import losses, views
from pipeline.ops.optimizers import descend
from pipeline.parts.teacher import predict


class FixMatch(Supervised):
    """The baseline's classifier with pseudo-labels of its own (see `Method`)."""

    uses_pool = True

    def step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Label the weak views of the unlabelled images, then update on all strong views."""
        n, own = batch.labels.shape[0], self.config.own
        weak = views.weak(batch.unlabelled_images, self.config, self.random)
        predicted = predict(self.network, weak)
        pseudo_labels, confident = losses.pseudo_labels(predicted, own["confidence_threshold"])
        images = views.labelled_and_strong(
            batch.labelled_images, batch.unlabelled_images, self.config, self.random
        )
        with tf.GradientTape() as tape:
            logits = self.network.forward(images, True, True).logits
            supervised = losses.classification(logits[:n], batch.labels)
            consistency = losses.consistency(logits[n:], pseudo_labels, confident)
            loss = supervised + own["consistency_weight"] * consistency
        descend(self.optimizers["discriminator"], tape, loss, self.network)
        return {
            "supervised_loss": supervised,
            "consistency_loss": consistency,
            "discriminator_loss": loss,
            "confident_share": tf.reduce_mean(confident),
        }


build = FixMatch
