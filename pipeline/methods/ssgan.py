"""Our recipe: labels spread over a graph of features that were learned without labels, a classifier
that learns from them, then a generator of images by class that learns from all images.

Warm-up: the classifier's body learns to tell images apart by contrastive learning (SimCLR, Chen
et al. 2020), without labels. Then the labels are spread over a graph of neighbours in its
convolutions' maps (`ops.label_graph`); they are the pseudo-labels of the unlabelled images.
With `graph_share` < 1 the pseudo-labels of the later steps are those of FixMatch (Sohn et al. 2020)
with a mean teacher and distribution alignment to the pool's class balance (`parts.pool_balance`);
without a warm-up, all are. Generator: R3GAN (Huang et al. 2024, `parts.relativistic_gan`), on the
averaged classifier's answers and the known labels. It changes nothing of the classifier, unless
`augment_with: samples` lets that learn on from its images (`parts.drawn_images`).
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.methods import Arrays, Batch, Method
from pipeline.networks.build import averaged_copy, classifier
from pipeline.networks.pretrained import PretrainedClassifier
from pipeline.networks.residual_gan import SampleGenerator
from pipeline.networks.spec import Spec
from pipeline.ops import losses, views
from pipeline.ops.devices import Random
from pipeline.ops.optimizers import adam, descend
from pipeline.parts.contrastive import ContrastiveWarmUp
from pipeline.parts.drawn_images import More, accepted, drawn
from pipeline.parts.graph_labels import GraphLabels
from pipeline.parts.relativistic_gan import MOST, SCHEDULE, RelativisticGAN
from pipeline.parts.teacher import AlignedTeacher, consistency_weight, sure_first

# How the classifier's learning rate runs in `augment`: it has learned already.
FURTHER = {"decay": "linear", "decay_from": 0.0, "final_lr_fraction": 0.0}
MOST_ON_BACKBONE = 10_000  # images that a backbone classifies for the generator: about a minute


class SemiSupervisedGAN(Method):
    """Classifier, averaged teacher, and a generator with its own discriminator (see `Method`)."""

    schedules: Mapping[str, Mapping[str, Any]] = {"generate": SCHEDULE, "augment": FURTHER}

    def __init__(self, config: Config, spec: Spec, seed: int) -> None:
        """Build the networks; `generator: false` leaves those that draw out."""
        self.config, self.own = config, config.own
        self.random = Random(seed)
        self.network = classifier(config, spec, self.random, seed)
        self.average = averaged_copy(self.network, config, spec)
        self.teacher = AlignedTeacher(self.average, spec.class_balance)
        self.class_balances = self.teacher.balances
        self.graph = GraphLabels(self.network)
        self.optimizers = {
            "discriminator": adam(
                self.network, config.discriminator_beta_1, weight_decay=config.weight_decay
            )
        }
        self.warm_up_share = self.own["warm_up_share"]
        if self.warm_up_share:
            self.warming = ContrastiveWarmUp(config, spec, self.network, self.random, seed + 2000)
            self.optimizers["warm_up"] = self.warming.optimizer
        if self.own["generator"]:
            self.gan = RelativisticGAN(config, spec, seed + 1000)
            self.generator = SampleGenerator(
                self.gan.average, spec.image_shape, self.own["truncation"]
            )
            self.latents, self.generator_steps = self.gan.latents, self.own["generator_steps"]
            self.optimizers |= self.gan.optimizers
            if self.own["augment_with"] != "none":
                self.augment_steps = self.own["augment_steps"]

    def warm_up(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One contrastive step on two views of every unlabelled image of the batch."""
        return self.warming.step(batch.unlabelled_images)

    def warm_up_state(self) -> list[Any]:
        """All that `warm_up` and the moving average change; not what a backbone's labels gave."""
        return [*self.average.headless_state, *self.warming.state()]

    def after_warm_up(self, arrays: Arrays) -> Mapping[str, float]:
        """Spread the labels over the graph; keep the surest share of each class."""
        if not self.warm_up_share:
            return {}
        return self.graph.spread(
            arrays.images,
            arrays.pool,
            arrays.labelled,
            arrays.labels,
            arrays.unknown,
            self.class_balances,
            self.config,
        )

    def step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Update the classifier: labelled images, and unlabelled ones by their pseudo-labels."""
        weight = consistency_weight(self.config, batch.progress)
        return self._learn(batch, *self._pseudo_labels(batch), weight)

    def augment(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The same with the teacher's pseudo-labels, and as many images more as are labelled."""
        threshold, n = self.own["confidence_threshold"], batch.labels.shape[0]
        classes, sure = self.teacher.pseudo_labels(batch.unlabelled_images, threshold)
        if self.own["augment_with"] == "samples":
            balance = self.teacher.class_balance
            images, wanted = drawn(self.generator, self.gan.latents, balance, n, self.random)
            more = More(images, wanted, accepted(self.average, images, wanted, threshold))
        else:
            more = More(batch.unlabelled_images[:n], classes[:n], sure[:n])
        return self._learn(batch, classes, sure, self.own["consistency_weight"], more)

    def _learn(
        self,
        batch: Batch,
        pseudo_labels: tf.Tensor,
        confident: tf.Tensor,
        weight: tf.Tensor | float,
        more: More | None = None,
    ) -> dict[str, tf.Tensor]:
        """Update the classifier; `weight` is the consistency's, `more` are taken as labelled."""
        n, share = batch.labels.shape[0], tf.reduce_mean(confident)
        others, pseudo_labels, confident = sure_first(
            self.own["learned_batch_size"], batch.unlabelled_images, pseudo_labels, confident
        )
        end = n
        if more is not None:
            end, others = n + more.images.shape[0], tf.concat([more.images, others], axis=0)
        images = views.labelled_and_strong(batch.labelled_images, others, self.config, self.random)
        with tf.GradientTape() as tape:
            logits = self.network.forward(images, True, True).logits
            supervised = losses.classification(logits[:n], batch.labels)
            consistency = losses.consistency(logits[end:], pseudo_labels, confident)
            loss, told = supervised + weight * consistency, {}
            if more is not None:
                of_more = losses.consistency(logits[n:end], more.classes, more.taken)
                loss += of_more
                told = {"augmented_loss": of_more, "accepted_share": tf.reduce_mean(more.taken)}
        descend(self.optimizers["discriminator"], tape, loss, self.network)
        return {
            "discriminator_loss": loss,
            "supervised_loss": supervised,
            "consistency_loss": consistency,
            "confident_share": share,
            **told,
        }

    def before_generator(self, arrays: Arrays) -> None:
        """Give every image a class: the known label, or the averaged classifier's answer."""
        on_backbone = isinstance(self.network, PretrainedClassifier)
        self.gan.take(
            arrays.images,
            arrays.pool,
            arrays.labelled,
            arrays.labels,
            self.average,
            self.config.seed,
            self.generator_steps,
            MOST_ON_BACKBONE if on_backbone else MOST,
        )

    def generate(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Update generator and discriminator; they draw their images themselves."""
        return self.gan.step(batch.progress)

    def let_go_of_images(self) -> None:
        """Free the memory of the generator's images."""
        if self.generator_steps:
            self.gan.let_go_of_images()

    def _pseudo_labels(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Classes int32 [n], and where they are sure, float [n]: first the graph's, then ours."""
        threshold = self.own["confidence_threshold"]
        if not self.warm_up_share:
            return self.teacher.pseudo_labels(batch.unlabelled_images, threshold)
        spread, known = self.graph.of(batch.positions)
        if self.own["graph_share"] == 1:
            return spread, known
        classes, confident = self.teacher.pseudo_labels(batch.unlabelled_images, threshold)
        early = batch.progress <= self.own["graph_share"]
        return tf.where(early, spread, classes), tf.where(early, known, confident)


build = SemiSupervisedGAN
