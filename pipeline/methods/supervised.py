"""The baseline: the same classifier, strong views and schedule, trained on the labels alone."""

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.methods import Batch, Method
from pipeline.networks.build import averaged_copy, classifier
from pipeline.networks.spec import Spec
from pipeline.ops import losses, views
from pipeline.ops.devices import Random
from pipeline.ops.optimizers import adam, descend


class Supervised(Method):
    """Cross-entropy on augmented labelled images (see `pipeline.methods.Method`)."""

    uses_pool = False

    def __init__(self, config: Config, spec: Spec, seed: int) -> None:
        """Build the classifier and its average."""
        self.config = config
        self.random = Random(seed)
        self.network = classifier(config, spec, self.random, seed)
        self.average = averaged_copy(self.network, config, spec)
        self.optimizers = {
            "discriminator": adam(
                self.network, config.discriminator_beta_1, weight_decay=config.weight_decay
            )
        }

    def step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One step on the labelled images; the unlabelled ones are not looked at."""
        images = views.strong(batch.labelled_images, self.config, self.random)
        with tf.GradientTape() as tape:
            logits = self.network.forward(images, True, True).logits
            loss = losses.classification(logits, batch.labels)
        descend(self.optimizers["discriminator"], tape, loss, self.network)
        return {"supervised_loss": loss}


build = Supervised
