"""Semi-supervised GAN, Odena 2016 (arXiv 1606.01583): one network classifies and discriminates.

Of its K+1 classes, the generated one has the fixed logit 0 and K logits are learned, which is a
softmax over K+1 free logits without its redundant one (Salimans et al. 2016, section 5). Real
images are those of the pool, the labelled ones among them. The generator's loss is adversarial,
the non-saturating one of Goodfellow et al. 2014, where `feature_matching` matches features.
"""

import tensorflow as tf

from pipeline.methods.feature_matching import FeatureMatching
from pipeline.networks.layers import Activations
from pipeline.ops import losses


class SGAN(FeatureMatching):
    """The networks and the updates of `FeatureMatching`, another loss of the generator."""

    def _generator_losses(self, real: Activations, fake: Activations) -> dict[str, tf.Tensor]:
        return {"generator_loss": losses.real(fake.logits)}


build = SGAN
