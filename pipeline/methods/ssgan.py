"""Our recipe: labels spread over a graph of features that were learned without labels, then a
K+1-class discriminator with feature matching that learns from them.

Warm-up: the classifier's body learns to tell images apart by contrastive learning (SimCLR, Chen
et al. 2020), without labels. Then the labels are spread over a graph of neighbours in its
convolutions' maps (`training.graph`); they are the pseudo-labels of the unlabelled images.
GAN part: Salimans et al. 2016 (logsumexp form, feature matching on the last hidden layer and on
the last convolution's map). With `graph_share` < 1 the pseudo-labels of the later steps are those
of FixMatch (Sohn et al. 2020) with a mean teacher (Tarvainen & Valpola 2017) and distribution
alignment to the labelled set's class balance (Berthelot et al. 2020); without a warm-up, all are.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from pipeline.config.schema import Config
from pipeline.methods import Arrays, Batch, Latents, Method
from pipeline.networks.build import Spec, averaged_copy, classifier, dtype_policy
from pipeline.networks.dense import generator
from pipeline.ops import devices, losses
from pipeline.ops.devices import Random
from pipeline.ops.label_graph import most_confident, principal_components, spread_labels
from pipeline.ops.optimizers import Adam, adam, descend
from pipeline.ops.views import affine, elastic, thickness

PROJECTION = 64  # units of the contrastive head, which is dropped after the warm-up
COMPONENTS_FROM = 10000  # images that the principal components of the features are fitted to
ALIGNMENT_DECAY = 0.98  # of the running mean of predictions that alignment divides by


class SemiSupervisedGAN(Method):
    """Classifier = discriminator, dense generator, averaged teacher (see `Method`)."""

    warm_up_keys = ("warm_up_lr", "temperature", "warm_up_elastic", "warm_up_thickness")

    def __init__(self, config: Config, spec: Spec, seed: int) -> None:
        """Build the networks; `gan_weight: 0` leaves the generator out (the ablation)."""
        self.config, self.own = config, config.own
        self.random = Random(seed)
        self.network = classifier(config, spec, self.random, seed)
        self.average = averaged_copy(self.network, config, spec)
        self.class_balance = tf.Variable(spec.class_balance, trainable=False)
        self.predicted_balance = tf.Variable(spec.class_balance, trainable=False)
        self.optimizers = {"discriminator": adam(self.network, config.discriminator_beta_1)}
        self.warm_up_share = self.own["warm_up_share"]
        # Classes that the graph gives to images, by their position among the training images.
        self.graph_labels = tf.Variable([-1], shape=[None], trainable=False)
        if self.warm_up_share:
            start = keras.initializers.LecunNormal(seed=seed + 2000)
            self.projection = keras.layers.Dense(PROJECTION, kernel_initializer=start)
            self.projection(
                self.network.forward(tf.zeros([1, *spec.image_shape]), False, False).features[0]
            )
            self.optimizers["warm_up"] = Adam(
                [*self.network.body_variables, *self.projection.trainable_variables],
                config.discriminator_beta_1,
            )
        self.generator, self.latents = None, None
        if self.own["gan_weight"]:
            self.latents = Latents(self.own["latent_size"], "normal")
            self.generator = generator(
                self.latents.size,
                self.own["generator_units"],
                spec.image_shape,
                seed + 1000,
                dtype_policy(config),
            )
            self.optimizers["generator"] = adam(self.generator, config.generator_beta_1)

    def warm_up(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One contrastive step on two views of every unlabelled image of the batch."""
        images = batch.unlabelled_images
        views = affine(tf.concat([images, images], axis=0), self.config, self.random)
        # Stronger views than `step`'s: there they would teach the classifier what is not in the
        # data, here they bring the kinds of a class together.
        views = elastic(views, self.own["warm_up_elastic"], self.random)
        views = thickness(views, self.own["warm_up_thickness"], self.random)
        optimizer = self.optimizers["warm_up"]
        with tf.GradientTape() as tape:
            hidden = self.network.forward(views, True, True).features[0]
            loss = losses.contrastive(self.projection(hidden), self.own["temperature"])
        variables = [variable.value for variable in optimizer.trained]
        optimizer.apply(devices.mean(tape.gradient(loss, variables)))
        return {"contrastive_loss": loss}

    def warm_up_state(self) -> list[Any]:
        """All that `warm_up` and the moving average change."""
        optimizer = self.optimizers["warm_up"]
        return [self.network, self.average, self.projection, optimizer, self.random]

    def after_warm_up(self, arrays: Arrays) -> None:
        """Spread the labels over the graph; keep the surest share of each class."""
        if not self.warm_up_share:
            return
        kept = np.full(len(arrays.images), -1, np.int32)
        kept[arrays.labelled] = arrays.labels
        others = np.setdiff1d(arrays.pool, arrays.labelled)
        if len(others):
            kept[others] = self._spread(arrays, others)
        self.graph_labels.assign(kept)

    def _spread(self, arrays: Arrays, others: NDArray[np.int64]) -> NDArray[np.int32]:
        """Classes that the labels give to the images `others`, -1 where they are not sure."""
        random = np.random.default_rng(self.config.seed)
        order = random.permutation(len(others))
        places = np.concatenate([arrays.labelled, others[order]])
        probabilities = spread_labels(
            self._components(arrays.images[places]),
            np.concatenate([arrays.labels, np.full(len(others), -1)]),
            self.class_balance.numpy(),
            largest=max(self.own["graph_images"], len(arrays.labelled)),
        )
        kept = most_confident(probabilities, self.own["graph_confident_share"])
        return kept[len(arrays.labelled) :][np.argsort(order)]

    def _components(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What neighbours are looked for in, float32 [n, d]: components of the network's maps.

        Not the last hidden layer, where contrastive learning has torn the kinds of a class apart:
        MNIST's sevens with a bar lie no nearer to other sevens there than to twos, on the maps
        below three times nearer. Two maps, because the longer a warm-up, the fewer such ties the
        last one keeps.
        """
        sample = self._maps(images[:: -(-len(images) // COMPONENTS_FROM)])
        to_components = [principal_components(part) for part in sample]
        del sample  # a quarter of a gigabyte on MNIST
        parts = []
        for some in np.array_split(images, -(-len(images) // COMPONENTS_FROM)):
            pairs = zip(to_components, self._maps(some), strict=True)
            parts.append(np.hstack([normalize(reduce(part)) for reduce, part in pairs]))
        return np.concatenate(parts)

    def _maps(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The network's maps of clean images, each float32 [n, d]."""
        parts = [
            self.network.forward(part / np.float32(255), False, False).maps
            for part in np.array_split(images, -(-len(images) // 1000))
        ]
        return [
            np.concatenate([np.reshape(one, [len(one), -1]) for one in layer])
            for layer in zip(*parts, strict=True)
        ]

    def step(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Update classifier and generator together; one forward of fakes serves both losses."""
        pseudo_labels, confident = self._pseudo_labels(batch)
        n = batch.labels.shape[0]
        real_images = tf.concat([batch.labelled_images, batch.unlabelled_images], axis=0)
        images = affine(real_images, self.config, self.random)
        with tf.GradientTape(persistent=True) as tape:
            true = self.network.forward(images, True, True)
            supervised = losses.classification(true.logits[:n], batch.labels)
            consistency = losses.consistency(true.logits[n:], pseudo_labels, confident)
            loss = supervised + self._consistency_weight(batch.progress) * consistency
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

    def _pseudo_labels(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Classes int32 [n], and where they are sure, float [n]: first the graph's, then ours."""
        if not self.warm_up_share:
            return self._teacher(batch.unlabelled_images)
        spread = tf.gather(devices.local(self.graph_labels), batch.positions)
        known, spread = tf.cast(spread >= 0, tf.float32), tf.maximum(spread, 0)
        if self.own["graph_share"] == 1:
            return spread, known
        classes, confident = self._teacher(batch.unlabelled_images)
        early = batch.progress <= self.own["graph_share"]
        return tf.where(early, spread, classes), tf.where(early, known, confident)

    def _teacher(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The averaged network's classes of clean images, int32 [n], and where it is sure."""
        probabilities = tf.nn.softmax(self.average.forward(images, False, False).logits)
        running = devices.local(self.predicted_balance)
        seen = devices.mean(tf.reduce_mean(probabilities, axis=0))
        running.assign(ALIGNMENT_DECAY * running + (1 - ALIGNMENT_DECAY) * seen)
        aligned = probabilities * (self.class_balance / running)
        aligned /= tf.reduce_sum(aligned, axis=1, keepdims=True)
        return losses.pseudo_labels(aligned, self.own["confidence_threshold"])

    def _consistency_weight(self, progress: tf.Tensor) -> tf.Tensor:
        ramp = max(1e-9, self.own["consistency_ramp"])
        return self.own["consistency_weight"] * tf.minimum(1.0, progress / ramp)


build = SemiSupervisedGAN
