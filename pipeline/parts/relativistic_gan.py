"""A GAN that draws images of a wanted class, from all images and the classes taken for theirs.

R3GAN (Huang et al. 2024): a generated image is judged against a real one of its class, and the
discriminator's gradient is penalised on both (R1 + R2). R1 alone collapses.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.config.schema import Config
from pipeline.networks.layers import Classifier
from pipeline.networks.residual_gan import ResidualDiscriminator, ResidualGenerator
from pipeline.networks.spec import Latents, Spec, dtype_policy, reduced_shape
from pipeline.ops import devices, views
from pipeline.ops.devices import Random
from pipeline.ops.optimizers import Adam
from pipeline.parts import Part
from pipeline.parts.teacher import predict

BETA_2 = 0.95  # of both Adams: a mean over some 20 steps follows a moving opponent
PENALTY_EVERY = 4  # steps; its weight is so many times larger then (StyleGAN2, Karras et al. 2020)
PENALTY_LEFT = 0.1  # share of the penalty's weight that is left
PENALTY_FALLS = 2 / 3  # share of the steps over which it falls
AVERAGE_DECAY = 0.999  # of the generator's averaged weights; less in the first 9,000 steps
STEEPEST = 30.0  # largest logarithm of a ratio of gradients, so that it stays a number
# Over the images; of more, both networks see changed ones, or they would learn them by heart.
PASSES = 100
MOST = 60_000  # images that are used, drawn at random from more
CALL_PIXELS = 2**21  # of images that are classified at a time
# How learning rates of both networks run, whatever the classifier's do.
SCHEDULE = {"warmup_steps": 100, "decay": "linear", "decay_from": 0.5, "final_lr_fraction": 0.1}


class RelativisticGAN(Part):
    """Generator, its average, which draws, and discriminator; the images and their classes."""

    def __init__(self, config: Config, spec: Spec, seed: int) -> None:
        """Build the networks for images of `generator_size` at most, weights drawn from `seed`."""
        own, self.n_classes = config.own, spec.n_classes
        self.shape = reduced_shape(spec.image_shape, own["generator_size"])
        self.batch, self.penalty_weight = own["generated_batch_size"], own["penalty_weight"]
        self.coloured = config.kind == "photos"
        self.random, self.latents = (
            Random(seed),
            Latents(own["latent_size"], "normal", spec.n_classes),
        )
        mean = reduced(spec.first_images, self.shape).mean(axis=0) / 255
        units, policy = own["generator_units"], dtype_policy(config)
        self.generator, self.average = (
            ResidualGenerator(
                self.latents.size, self.n_classes, units, self.shape, seed + 1000, policy, mean
            )
            for _ in range(2)
        )
        self.discriminator = ResidualDiscriminator(
            self.n_classes, units, self.shape, seed + 2000, policy
        )
        self.optimizers = {
            "generator": Adam(self.generator.trainable_variables, config.generator_beta_1, BETA_2),
            "generator's discriminator": Adam(
                self.discriminator.trainable_variables, config.generator_beta_1, BETA_2
            ),
        }
        self.taken = tf.Variable(0, dtype=tf.int32, trainable=False)  # steps
        self.images = tf.Variable(
            tf.zeros([1, *self.shape], tf.uint8), shape=[None, *self.shape], trainable=False
        )
        self.classes = tf.Variable([0], shape=[None], trainable=False)
        self.weights = tf.Variable([1.0], shape=[None], trainable=False)  # their mean is 1
        self.change = tf.Variable(0.0, trainable=False)  # 1 = both networks see changed images

    def let_go_of_images(self) -> None:
        """Free their memory."""
        self.images.assign(tf.zeros([1, *self.shape], tf.uint8))
        self.classes.assign([0])
        self.weights.assign([1.0])

    def take(
        self,
        images: NDArray[np.uint8],
        places: NDArray[np.int64],
        labelled: NDArray[np.int64],
        labels: NDArray[np.int64],
        classifier: Classifier,
        seed: int,
        steps: int,
        most: int = MOST,
    ) -> None:
        """Keep the images to learn from, reduced, each with its class.

        That is the known label, or the classifier's answer. An image weighs in the loss by how far
        the answer is from a guess: (p - 1/K) / (1 - 1/K), p its probability. It is not drawn the
        less, so that odd images, of which a classifier is less sure, are seen all the same.

        images uint8 [n, h, w, c], read part by part; `places` in them may be used without a label,
        `labelled` are those of `labels`, int64; of more than `most` places some are drawn.
        `steps` are to come.
        """
        if len(places) > most:
            drawn = np.random.default_rng(seed).choice(places, most, replace=False)
            places = np.union1d(drawn, np.intersect1d(labelled, places))
        rows = max(1, min(1000, CALL_PIXELS // classifier.pixels))
        small, classes, sure = [], [], []
        for some in np.array_split(places, -(-len(places) // rows)):
            part = images[some]
            small.append(reduced(part, self.shape))
            probabilities = predict(classifier, part / np.float32(255)).numpy()
            classes.append(probabilities.argmax(axis=1))
            sure.append(probabilities.max(axis=1))
        class_of = np.concatenate(classes).astype(np.int32)
        weights = (np.concatenate(sure) - 1 / self.n_classes) / (1 - 1 / self.n_classes)
        order = np.argsort(labelled)
        at = np.searchsorted(labelled, places, sorter=order).clip(max=len(labelled) - 1)
        known = labelled[order[at]] == places
        class_of[known], weights[known] = labels[order[at]][known], 1.0
        self.images.assign(np.concatenate(small))
        self.classes.assign(class_of)
        self.weights.assign(np.float32(weights / max(weights.mean(), 1e-6)))
        self.change.assign(float(steps * self.batch > PASSES * len(places)))

    def step(self, progress: tf.Tensor) -> dict[str, tf.Tensor]:
        """Update both networks at once, from one pass of the discriminator; losses by name.

        progress: share of the steps taken, in (0, 1].
        """
        real, one_hot, weights = self._drawn()
        changed = self._change(real.shape[0])
        latents = self.random.normal([real.shape[0], self.latents.size])
        with tf.GradientTape() as tape:
            generated = changed(self.generator((latents, one_hot), training=True))
        images = tf.concat([changed(real), generated], axis=0)
        gamma = self.penalty_weight * PENALTY_LEFT ** tf.minimum(1.0, progress / PENALTY_FALLS)
        taken = devices.local(self.taken)
        found = tf.cond(
            tf.equal(taken % PENALTY_EVERY, PENALTY_EVERY - 1),
            lambda: self.penalised(images, one_hot, weights, gamma * PENALTY_EVERY),
            lambda: self.plain(images, one_hot, weights),
        )
        loss, opposed, penalty, slopes, *gradients = found
        variables = [variable.value for variable in self.generator.trainable_variables]
        of_generator = tape.gradient(generated, variables, output_gradients=slopes)
        gradients, of_generator = devices.mean([gradients, of_generator])
        self.optimizers["generator's discriminator"].apply(gradients)
        self.optimizers["generator"].apply(of_generator)
        self._average(taken)
        taken.assign_add(1)
        return {
            "generator_loss": opposed,
            "unsupervised_loss": loss,
            "gradient_penalty": PENALTY_EVERY * penalty,  # 0 where it is not computed
        }

    def plain(self, images: tf.Tensor, one_hot: tf.Tensor, weights: tf.Tensor) -> list[tf.Tensor]:
        """Losses of one pass, and their gradients.

        images float32 [2n, h, w, c], real ones before generated ones; one_hot [n, K]; weights [n].

        Returns:
            The discriminator's loss, the generator's, 0 for the penalty; the gradient of the
            generator's loss by generated images [n, h, w, c]; those of the discriminator's loss by
            its weights.
        """
        with tf.GradientTape() as tape:
            tape.watch(images)
            ahead, loss, opposed = self._losses(images, one_hot, weights)
        *gradients, slopes = tape.gradient(loss, [*self._weights(), images])
        # The generator's loss is softplus(-x) where the discriminator's is softplus(x): the ratio
        # of their gradients is -exp(-x), and no second way back through the network is needed.
        ratio = -tf.exp(tf.clip_by_value(-ahead, -STEEPEST, STEEPEST))
        slopes = slopes[one_hot.shape[0] :] * ratio[:, None, None, None]
        return [loss, opposed, tf.zeros([]), slopes, *gradients]

    def penalised(
        self, images: tf.Tensor, one_hot: tf.Tensor, weights: tf.Tensor, gamma: tf.Tensor
    ) -> list[tf.Tensor]:
        """The same with gamma / 2 times R1 + R2 in the discriminator's gradients.

        R1 (R2): the squared gradient of the logits by real (generated) images, summed over an
        image, its mean over the images.
        """
        n = one_hot.shape[0]
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(images)
                logits = self._logits(images, one_hot)
                total = tf.reduce_sum(logits)
            slopes = inner.gradient(total, images)
            ahead, loss, opposed = _pairs(logits, weights)
            penalty = tf.reduce_sum(tf.square(slopes)) / n
            penalised = loss + gamma / 2 * penalty
        gradients = tape.gradient(penalised, self._weights())
        push = -weights * tf.nn.sigmoid(-ahead) / n
        return [loss, opposed, penalty, slopes[n:] * push[:, None, None, None], *gradients]

    def _losses(
        self, images: tf.Tensor, one_hot: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return _pairs(self._logits(images, one_hot), weights)

    def _logits(self, images: tf.Tensor, one_hot: tf.Tensor) -> tf.Tensor:
        return self.discriminator((images, tf.concat([one_hot, one_hot], axis=0)))

    def _weights(self) -> list[tf.Variable]:
        return [variable.value for variable in self.discriminator.trainable_variables]

    def _drawn(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Images [n, h, w, c] in [0, 1], their one-hot classes and weights [n]."""
        classes = devices.local(self.classes)
        count = tf.cast(tf.shape(classes)[0], tf.float32)
        part = self.batch // devices.count()
        rows = tf.cast(tf.floor(self.random.uniform([part]) * count), tf.int32)
        images = tf.cast(tf.gather(devices.local(self.images), rows), tf.float32) / 255.0
        one_hot = tf.one_hot(tf.gather(classes, rows), self.n_classes)
        return images, one_hot, tf.gather(devices.local(self.weights), rows)

    def _change(self, n: int) -> Callable[[tf.Tensor], tf.Tensor]:
        return views.shared(n, self.shape, self.change, self.random, coloured=self.coloured)

    def _average(self, taken: tf.Tensor) -> None:
        # A young average forgets faster, or it would remember the random start.
        since = tf.cast(taken, tf.float32)
        pace = tf.maximum(1 - AVERAGE_DECAY, 9 / (10 + since))
        networks = self.average.trainable_variables, self.generator.trainable_variables
        for average, variable in zip(*networks, strict=True):
            held = devices.local(average)
            tf.raw_ops.ResourceApplyGradientDescent(
                var=held.handle, alpha=pace, delta=held - devices.local(variable)
            )


def _pairs(logits: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """How far each generated image is ahead of its real one [n], both networks' losses."""
    real, generated = tf.split(logits, 2)
    ahead = generated - real
    loss, opposed = (tf.reduce_mean(weights * tf.nn.softplus(x)) for x in (ahead, -ahead))
    return ahead, loss, opposed


def reduced(images: NDArray[np.uint8], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Images [n, h, w, c] brought to smaller ones of `shape`, each pixel the mean of its area."""
    if images.shape[1:] == shape:
        return images
    small = tf.image.resize(tf.constant(images), shape[:2], "area")
    return np.asarray(tf.cast(tf.round(small), tf.uint8))
