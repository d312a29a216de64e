"""Losses: logits and features in, scalars out; and the pseudo-labels that one of them takes.

K+1 classes by logsumexp (Salimans et al. 2016, section 5): the generated class has the fixed
logit 0, so with Z(x) = Σₖ exp lₖ(x) the discriminator is D(x) = Z / (Z + 1).
"""

from collections.abc import Sequence

import tensorflow as tf

from pipeline.ops import devices


def classification(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy of logits [n, K] and labels int [n]."""
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


def real(logits: tf.Tensor) -> tf.Tensor:
    """−mean log D(x) of real images: softplus(−log Z); logits [n, K]."""
    return tf.reduce_mean(tf.nn.softplus(-tf.reduce_logsumexp(logits, axis=1)))


def generated(logits: tf.Tensor) -> tf.Tensor:
    """−mean log(1 − D(x)) of generated images: softplus(log Z); logits [n, K]."""
    return tf.reduce_mean(tf.nn.softplus(tf.reduce_logsumexp(logits, axis=1)))


def binary_real(logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy with target 1, on logits [n, 1]."""
    return tf.reduce_mean(tf.nn.softplus(-logits))


def binary_generated(logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy with target 0, on logits [n, 1]."""
    return tf.reduce_mean(tf.nn.softplus(logits))


def feature_matching(
    real_features: Sequence[tf.Tensor], generated_features: Sequence[tf.Tensor]
) -> tf.Tensor:
    """Squared distance of the batch means, Salimans et al. 2016, section 3.1.

    Sum over the pairs of features ([n, …] and [m, …]) of the mean over the units of
    (mean real − mean generated)²; no gradient reaches the real side.
    """

    def distance(real: tf.Tensor, generated: tf.Tensor) -> tf.Tensor:
        target = tf.stop_gradient(devices.mean(tf.reduce_mean(real, axis=0)))
        return tf.reduce_mean(tf.square(devices.mean(tf.reduce_mean(generated, axis=0)) - target))

    return tf.add_n(list(map(distance, real_features, generated_features)))


def class_feature_matching(
    real_features: tf.Tensor,
    real_labels: tf.Tensor,
    generated_features: tf.Tensor,
    generated_labels: tf.Tensor,
    n_classes: int,
) -> tf.Tensor:
    """Feature matching within each class, for a conditional generator.

    Features [n, d] and [m, d], labels int [n] and [m]. Mean over the classes that occur on both
    sides, and over the d units, of the squared distance of the class means.
    """

    def class_means(features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        members = tf.one_hot(labels, n_classes)
        count = devices.total(tf.reduce_sum(members, axis=0))
        total = devices.total(tf.matmul(members, features, transpose_a=True))
        return total / tf.maximum(count, 1.0)[:, None], count

    true, true_count = class_means(tf.stop_gradient(real_features), real_labels)
    fake, fake_count = class_means(generated_features, generated_labels)
    both = tf.cast((true_count > 0) & (fake_count > 0), tf.float32)
    distance = tf.reduce_mean(tf.square(true - fake), axis=1)
    return tf.reduce_sum(both * distance) / tf.maximum(tf.reduce_sum(both), 1.0)


def contrastive(views: tf.Tensor, temperature: float) -> tf.Tensor:
    """NT-Xent (Chen et al. 2020, SimCLR, section 2.1): each image finds its other view.

    Views [2n, d]: rows i and n + i are two views of one image, all other rows are of others.
    Mean cross-entropy of the other view among the 2n - 1 other rows, by cosine / temperature.
    """
    unit = tf.math.l2_normalize(views, axis=1)
    n = views.shape[0] // 2
    similarity = tf.matmul(unit, unit, transpose_b=True) / temperature
    others = tf.linalg.set_diag(similarity, tf.fill([2 * n], -1e9))
    partner = tf.concat([tf.range(n, 2 * n), tf.range(n)], axis=0)
    return classification(others, partner)


def pull_away(features: tf.Tensor) -> tf.Tensor:
    """Pull-away term of Zhao et al. 2017 (EBGAN, section 2.4), for generated images' diversity.

    Mean over the pairs i ≠ j of the squared cosine between features i and j; features [n, …],
    in [0, 1]: 0 if all are orthogonal, 1 if all are parallel.
    """
    n = features.shape[0]
    directions = tf.math.l2_normalize(tf.reshape(features, [n, -1]), axis=1)
    cosines = tf.matmul(directions, directions, transpose_b=True)
    others = tf.linalg.set_diag(cosines, tf.zeros([n]))
    return tf.reduce_sum(tf.square(others)) / (n * max(1, n - 1))


def conditional_entropy(logits: tf.Tensor) -> tf.Tensor:
    """Mean entropy of p(y | x) in nats (Grandvalet & Bengio 2004); logits [n, K], in [0, log K]."""
    return tf.reduce_mean(
        tf.nn.softmax_cross_entropy_with_logits(labels=tf.nn.softmax(logits), logits=logits)
    )


def kl_divergence(target_logits: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Mean KL(p ‖ q) of p = softmax(target_logits) and q = softmax(logits), both [n, K].

    No gradient reaches the target.
    """
    log_p = tf.nn.log_softmax(tf.stop_gradient(target_logits))
    log_q = tf.nn.log_softmax(logits)
    return tf.reduce_mean(tf.reduce_sum(tf.exp(log_p) * (log_p - log_q), axis=1))


def pseudo_labels(probabilities: tf.Tensor, threshold: float) -> tuple[tf.Tensor, tf.Tensor]:
    """The likeliest classes, int32 [n], and whether they pass `threshold`, float [n] of 0 and 1.

    Probabilities float32 [n, K] in [0, 1].
    """
    confident = tf.reduce_max(probabilities, axis=1) > threshold
    return tf.argmax(probabilities, axis=1, output_type=tf.int32), tf.cast(confident, tf.float32)


def consistency(logits: tf.Tensor, pseudo_labels: tf.Tensor, confident: tf.Tensor) -> tf.Tensor:
    """Cross-entropy to pseudo-labels where they are confident (Sohn et al. 2020, FixMatch).

    Logits [n, K] of the augmented view, pseudo_labels int [n], confident float [n] of 0 and 1;
    the mean is over all n, so that few confident images weigh little.
    """
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=pseudo_labels, logits=logits)
    return tf.reduce_mean(confident * loss)
