"""Good semi-supervised learning that requires a bad GAN, Dai et al. 2017 (arXiv 1705.09783).

Feature matching (Salimans et al. 2016) with two more terms: the generator's images are pulled
apart in the discriminator's features, which raises its entropy (section 5.1), and the
discriminator must be sure of its class for every unlabelled image (section 5.3). The paper's
low-density term (5.2) is left out: it needs a PixelCNN++ trained beforehand.
"""

import tensorflow as tf

from pipeline.methods.feature_matching import FeatureMatching
from pipeline.networks.layers import Activations
from pipeline.ops import losses


class BadGAN(FeatureMatching):
    """`FeatureMatching` with pull-away term and conditional entropy (see `Method`)."""

    def _discriminator_losses(
        self, supervised: tf.Tensor, real: Activations, fake: Activations
    ) -> dict[str, tf.Tensor]:
        reported = super()._discriminator_losses(supervised, real, fake)
        entropy = losses.conditional_entropy(real.logits)
        loss = reported["discriminator_loss"] + self.own["entropy_weight"] * entropy
        return {**reported, "entropy_loss": entropy, "discriminator_loss": loss}

    def _generator_losses(self, real: Activations, fake: Activations) -> dict[str, tf.Tensor]:
        matching = super()._generator_losses(real, fake)["generator_loss"]
        pull_away = losses.pull_away(fake.features[0])
        loss = matching + self.own["pull_away_weight"] * pull_away
        return {"pull_away_loss": pull_away, "generator_loss": loss}


build = BadGAN
