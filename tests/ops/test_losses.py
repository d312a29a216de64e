"""The losses equal the papers' formulas and survive extreme logits."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.ops import losses, runtime


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


@pytest.fixture
def values():
    return np.random.default_rng(0)


def k_plus_1(logits):
    """The paper's p(y | x) over K+1 classes, the generated one last, with the logit 0."""
    exponentials = np.exp(np.concatenate([logits, np.zeros((len(logits), 1))], axis=1))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def tensor(array):
    return tf.constant(array, tf.float32)


# ---------------------------------------------------------------- K+1 classes by logsumexp


def test_the_supervised_loss_is_the_papers(values):
    logits, labels = values.normal(0, 3, (40, 5)), values.integers(0, 5, 40)
    p = k_plus_1(logits)
    # L_supervised = −E log p(y | x, y < K+1)
    given_real = p[np.arange(40), labels] / p[:, :5].sum(axis=1)
    loss = losses.classification(tensor(logits), tf.constant(labels))
    assert float(loss) == pytest.approx(-np.log(given_real).mean(), rel=1e-5)


def test_the_unsupervised_loss_is_the_papers(values):
    real, generated = values.normal(1, 3, (40, 5)), values.normal(-1, 3, (30, 5))
    # L_unsupervised = −E log(1 − p(K+1 | x)) − E_G log p(K+1 | x)
    expected_real = -np.log(1 - k_plus_1(real)[:, 5]).mean()
    expected_generated = -np.log(k_plus_1(generated)[:, 5]).mean()
    assert float(losses.real(tensor(real))) == pytest.approx(expected_real, rel=1e-5)
    loss = losses.generated(tensor(generated))
    assert float(loss) == pytest.approx(expected_generated, rel=1e-5)


def test_binary_losses_are_cross_entropies(values):
    logits = values.normal(0, 3, (40, 1))
    p = 1 / (1 + np.exp(-logits))
    assert float(losses.binary_real(tensor(logits))) == pytest.approx(-np.log(p).mean(), rel=1e-5)
    loss = losses.binary_generated(tensor(logits))
    assert float(loss) == pytest.approx(-np.log(1 - p).mean(), rel=1e-5)


@pytest.mark.parametrize("scale", [1e4, -1e4])
@pytest.mark.parametrize(
    "loss",
    [
        losses.real,
        losses.generated,
        losses.binary_real,
        losses.binary_generated,
        lambda logits: losses.classification(logits, tf.constant([2, 0])),
        lambda logits: losses.consistency(logits, tf.constant([2, 0]), tf.ones([2])),
        losses.conditional_entropy,
        lambda logits: losses.kl_divergence(-logits, logits),
    ],
)
def test_extreme_logits_stay_finite(loss, scale):
    logits = tf.constant([[1.0, 0.5, -1.0], [1.0, 1.0, 1.0]]) * scale
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(logits)
    assert np.isfinite(value)
    assert np.isfinite(tape.gradient(value, logits)).all()


# ---------------------------------------------------------------- feature matching


def test_feature_matching_by_hand():
    real = (tensor([[1, 2], [3, 4]]), tensor([[[0.0], [2.0]]]))
    generated = (tensor([[0, 0], [0, 0], [3, 3]]), tensor([[[1.0], [1.0]]]))
    # means (2, 3) and (1, 1): (1² + 2²) / 2; means (0, 2) and (1, 1): (1² + 1²) / 2
    assert float(losses.feature_matching(real, generated)) == pytest.approx(2.5 + 1.0)


def test_class_matching_by_hand():
    real, real_labels = tensor([[1, 1], [3, 5], [7, 7]]), tf.constant([0, 0, 1])
    generated, labels = tensor([[0, 0], [9, 9], [4, 3]]), tf.constant([0, 3, 0])
    # Only class 0 is on both sides: means (2, 3) and (2, 1.5), of 5 classes.
    matched = losses.class_feature_matching(real, real_labels, generated, labels, 5)
    assert float(matched) == pytest.approx((0 + 1.5**2) / 2)
    # Classes 0 and 1: (0² + 1.5²) / 2 and (2² + 4²) / 2, each counting the same.
    generated, labels = tensor([[4, 3], [0, 0], [5, 3]]), tf.constant([0, 0, 1])
    matched = losses.class_feature_matching(real, real_labels, generated, labels, 5)
    assert float(matched) == pytest.approx((1.125 + 10) / 2)


def test_classes_apart_match_nothing():
    none = losses.class_feature_matching(
        tensor([[1, 1]]), tf.constant([0]), tensor([[5, 5]]), tf.constant([1]), 2
    )
    assert float(none) == 0


def test_no_gradient_reaches_the_real_side(values):
    real, generated = tensor(values.normal(size=(6, 4))), tensor(values.normal(size=(6, 4)))
    labels = tf.constant([0, 0, 1, 1, 2, 2])
    for loss in (
        lambda: losses.feature_matching([real], [generated]),
        lambda: losses.class_feature_matching(real, labels, generated, labels, 3),
        lambda: losses.kl_divergence(real, generated),
    ):
        with tf.GradientTape() as tape:
            tape.watch([real, generated])
            value = loss()
        real_gradient, gradient = tape.gradient(value, [real, generated])
        assert real_gradient is None
        assert np.abs(gradient).min() > 0


# ---------------------------------------------------------------- pull-away term


def test_the_pull_away_term_is_the_papers(values):
    features = values.normal(size=(5, 2, 3))
    total = 0.0
    for i in range(5):
        for j in range(5):
            one, other = features[i].ravel(), features[j].ravel()
            if i != j:
                total += (one @ other / np.linalg.norm(one) / np.linalg.norm(other)) ** 2
    assert float(losses.pull_away(tensor(features))) == pytest.approx(total / (5 * 4), rel=1e-5)


def test_the_pull_away_term_survives_dead_features_and_a_lone_image():
    for features in (tf.zeros([3, 4]), tf.ones([1, 4])):
        with tf.GradientTape() as tape:
            tape.watch(features)
            value = losses.pull_away(features)
        assert float(value) == 0
        assert np.isfinite(tape.gradient(value, features)).all()


# ---------------------------------------------------------------- entropy and divergence


def test_entropy_and_divergence_by_hand(values):
    logits, target = values.normal(0, 2, (6, 4)), values.normal(0, 2, (6, 4))
    q, p = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (logits, target))
    entropy = losses.conditional_entropy(tensor(logits))
    assert float(entropy) == pytest.approx(-(q * np.log(q)).sum(axis=1).mean(), rel=1e-5)
    divergence = losses.kl_divergence(tensor(target), tensor(logits))
    assert float(divergence) == pytest.approx((p * np.log(p / q)).sum(axis=1).mean(), rel=1e-5)


def test_minimising_the_entropy_makes_predictions_surer(values):
    logits = tensor(values.normal(size=(1, 4)))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        entropy = losses.conditional_entropy(logits)
    moved = logits - 0.1 * tape.gradient(entropy, logits)
    assert np.max(tf.nn.softmax(moved)) > np.max(tf.nn.softmax(logits))


# ---------------------------------------------------------------- consistency


def test_only_confident_pseudo_labels_count_and_the_mean_is_over_all(values):
    logits, confident = values.normal(size=(4, 3)), np.array([1, 0, 1, 0])
    labels = np.array([0, 1, 2, 0])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    loss = losses.consistency(tensor(logits), tf.constant(labels), tensor(confident))
    assert float(loss) == pytest.approx(-(log_p[0, 0] + log_p[2, 2]) / 4, rel=1e-5)


def test_pseudo_labels_are_the_likeliest_classes_and_must_pass_the_threshold():
    probabilities = tensor([[0.1, 0.9], [0.6, 0.4], [0.96, 0.04]])
    labels, confident = losses.pseudo_labels(probabilities, 0.8)
    assert labels.numpy().tolist() == [1, 0, 0]
    assert confident.numpy().tolist() == [1, 0, 1]
