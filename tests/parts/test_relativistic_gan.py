"""The generator's part: its penalty, its losses, its images and their weights."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import layers as configuration
from pipeline.networks.spec import Spec
from pipeline.ops import runtime
from pipeline.parts import relativistic_gan
from pipeline.parts.relativistic_gan import PENALTY_EVERY, RelativisticGAN, reduced
from tests.methods.test_contract import colours, make, values


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def gan(shape=(12, 12, 1), seed=0, **flags):
    """A part whose discriminator has begun to tell images apart: no convolution is 0 any more."""
    flags = {"generator_units": "[8, 6]", "generated_batch_size": "6"} | flags
    config = configuration.load({k: str(v) for k, v in flags.items()})
    images = np.random.default_rng(1).integers(0, 256, (200, *shape), np.uint8)
    part = RelativisticGAN(config, Spec(shape, 10, np.full(10, 0.1), 2.0, images), seed)
    random = np.random.default_rng(seed)
    for network in (part.generator, part.discriminator):
        for variable in network.trainable_variables:
            value = variable.numpy()
            variable.assign(value + random.normal(0, 0.1, value.shape).astype(np.float32))
    return part, images


def batch(part, n=6):
    random = np.random.default_rng(2)
    images = tf.constant(random.random((2 * n, *part.shape), np.float32))
    one_hot = tf.one_hot(random.integers(0, 10, n), 10)
    return images, one_hot, tf.constant(random.uniform(0.2, 1.8, n).astype(np.float32))


def plainly(part, images):
    """Logits by TensorFlow's own convolutions and gradients, from the networks' own weights."""
    from pipeline.networks import residual_gan

    slow = residual_gan.same_convolution
    residual_gan.same_convolution = lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME")
    try:
        return part.discriminator(images)
    finally:
        residual_gan.same_convolution = slow


@pytest.mark.parametrize("shape", [(12, 12, 1), (11, 9, 3), (16, 16, 1)])
def test_the_penalty_and_its_gradient_are_those_of_a_plain_double_tape(shape):
    part, _ = gan(shape)
    images, one_hot, weights = batch(part)
    both, n, gamma = tf.concat([one_hot, one_hot], 0), 6, tf.constant(0.7)
    own = [variable.value for variable in part.discriminator.trainable_variables]
    with tf.GradientTape() as outer:
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(images)
            logits = plainly(part, (images, both))
            each = [logits[i] for i in range(2 * n)]
        slopes = [inner.gradient(one, images)[i] for i, one in enumerate(each)]
        r1 = tf.add_n([tf.reduce_sum(slope**2) for slope in slopes[:n]]) / n
        r2 = tf.add_n([tf.reduce_sum(slope**2) for slope in slopes[n:]]) / n
        main = tf.reduce_mean(weights * tf.nn.softplus(logits[n:] - logits[:n]))
        total = main + gamma / 2 * (r1 + r2)
    wanted = outer.gradient(total, own)
    loss, _, penalty, _, *gradients = tf.function(part.penalised, autograph=False)(
        images, one_hot, weights, gamma
    )
    assert float(r2) > 0
    assert float(loss) == pytest.approx(float(main), rel=1e-4)
    assert float(penalty) == pytest.approx(float(r1 + r2), rel=1e-4)
    for one, other in zip(gradients, wanted, strict=True):
        scale = float(tf.reduce_max(abs(other))) + 1e-6
        np.testing.assert_allclose(one / scale, other / scale, atol=2e-4)


def test_in_bfloat16_penalty_and_gradients_are_those_of_float32_but_for_rounding():
    found = []
    for precision in ("float32", "bfloat16"):
        part, _ = gan(precision=precision)
        images, one_hot, weights = batch(part)
        _, _, penalty, _, *gradients = part.penalised(images, one_hot, weights, tf.constant(0.7))
        found.append((float(penalty), np.concatenate([np.ravel(each) for each in gradients])))
    (penalty, whole), (rounded_penalty, rounded) = found
    assert rounded_penalty == pytest.approx(penalty, rel=0.05)
    cosine = whole @ rounded / (np.linalg.norm(whole) * np.linalg.norm(rounded))
    assert cosine > 0.99
    assert not np.array_equal(whole, rounded)


def test_the_generators_gradient_is_that_of_its_own_loss_whichever_way_it_is_taken():
    part, _ = gan()
    images, one_hot, weights = batch(part)
    both = tf.concat([one_hot, one_hot], 0)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = part.discriminator((images, both))
        loss = tf.reduce_mean(weights * tf.nn.softplus(logits[:6] - logits[6:]))
    wanted = tape.gradient(loss, images)[6:]
    plain = part.plain(images, one_hot, weights)
    penalised = part.penalised(images, one_hot, weights, tf.constant(1.0))
    for found in (plain, penalised):
        assert float(found[1]) == pytest.approx(float(loss), rel=1e-5)
        np.testing.assert_allclose(found[3], wanted, atol=1e-5 * float(tf.reduce_max(abs(wanted))))
    assert float(plain[2]) == 0


def test_the_penalty_is_taken_every_few_steps_alone():
    part, images = gan()
    take(part, images)
    step = tf.function(part.step, autograph=False)
    told = [float(step(tf.constant(0.1))["gradient_penalty"]) for _ in range(2 * PENALTY_EVERY)]
    due = [number % PENALTY_EVERY == PENALTY_EVERY - 1 for number in range(2 * PENALTY_EVERY)]
    assert [penalty > 0 for penalty in told] == due


def take(part, images, steps=10, labels=None, most=10_000, classifier=None):
    """Every second of 200 images may be used; the first 20 of these are labelled."""
    places = np.arange(0, len(images), 2)
    labelled = places[:20][::-1].copy()
    given = np.arange(20) % 10 if labels is None else labels
    part.take(images, places, labelled, given, classifier or Sure(), 0, steps, most)
    return places, labelled, given


class Sure:
    """A classifier that answers by the mean of an image, the surer the brighter."""

    pixels = 12 * 12

    def forward(self, images, training, observe):
        from pipeline.networks.layers import Activations

        mean = tf.reduce_mean(images, axis=[1, 2, 3])
        top = tf.cast(tf.range(10) == 3, tf.float32)
        return Activations(40 * (mean[:, None] - 0.45) * top, ())


def test_an_image_has_its_known_label_or_the_classifiers_answer_and_weighs_as_it_is_sure():
    part, images = gan()
    places, labelled, labels = take(part, images)
    kept = dict(zip(places, part.classes.numpy(), strict=True))
    assert [kept[place] for place in labelled] == list(labels)
    np.testing.assert_array_equal(part.images.numpy(), images[places])
    logits = Sure().forward(images[places] / np.float32(255), False, False).logits
    sure = tf.nn.softmax(logits).numpy().max(axis=1)
    weights = (sure - 0.1) / 0.9
    weights[np.isin(places, labelled)] = 1
    unlabelled = ~np.isin(places, labelled)
    np.testing.assert_array_equal(
        part.classes.numpy()[unlabelled], logits.numpy().argmax(1)[unlabelled]
    )
    np.testing.assert_allclose(part.weights.numpy(), weights / weights.mean(), rtol=1e-4)
    assert part.weights.numpy()[unlabelled].max() < part.weights.numpy()[~unlabelled].min()


def test_of_too_many_images_some_are_drawn_and_all_labelled_ones_kept():
    part, images = gan()
    _, _, labels = take(part, images, most=40)
    n = len(part.classes.numpy())
    assert 40 <= n <= 60
    assert np.bincount(part.classes.numpy()[part.weights.numpy() > 1]).sum() >= len(labels)
    part.let_go_of_images()
    assert part.images.shape[0] is None
    assert part.images.numpy().shape[0] == 1


def test_both_networks_see_changed_images_where_each_is_seen_many_times():
    part, images = gan()
    for passes, change in ((relativistic_gan.PASSES - 1, 0), (relativistic_gan.PASSES + 1, 1)):
        take(part, images, steps=passes * 100 // 6)
        assert float(part.change) == change


def test_large_images_are_reduced_by_area_and_drawn_in_their_own_size():
    flags = {"generator_size": "8", "kind": "photos", "backbone": "none", "image_size": 32}
    part, images = gan((32, 16, 3), **flags)
    assert part.shape == (8, 8, 3)
    small = reduced(images, (8, 8, 3))
    mean = images.reshape(200, 8, 4, 8, 2, 3).astype(float).mean(axis=(2, 4))
    np.testing.assert_allclose(small, mean, atol=0.51)
    method = make("ssgan", colours(), generator_size=8, generator_units="[8]")
    latents = method.latents.draw(3, np.random.default_rng(0), np.arange(3))
    drawn = method.generator((latents[:, :64], latents[:, 64:]))
    assert drawn.shape == (3, 12, 10, 3)


def test_the_seed_decides_every_weight_and_the_average_follows():
    trained = []
    for seed in (0, 0, 1):
        part, images = gan(seed=seed)
        start = values(part.average)
        take(part, images)
        step = tf.function(part.step, autograph=False)
        for _ in range(6):
            told = step(tf.constant(0.5))
        assert all(np.isfinite(value) for value in told.values())
        trained.append(values(part.average))
        moved = [np.abs(new - old).max() > 0 for new, old in zip(trained[-1], start, strict=True)]
        assert all(moved)
    for one, again in zip(*trained[:2], strict=True):
        np.testing.assert_array_equal(one, again)
    assert not np.array_equal(trained[0][1], trained[2][1])


def test_a_few_steps_draw_the_wanted_class():
    """Ten classes of grey squares in ten places: generated ones lie where they are wanted."""
    part, _ = gan((8, 8, 1), generator_units="[32]", generated_batch_size="32")
    labels = np.arange(500) % 10
    images = np.zeros((500, 8, 8, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * (label // 5) * 2 : 2 * (label // 5) * 2 + 3, label % 5 : label % 5 + 3] = 200
    part.take(images, np.arange(500), np.arange(500), labels, Sure(), 0, 300)
    for optimizer in part.optimizers.values():
        optimizer.learning_rate.assign(0.001)
    step = tf.function(part.step, autograph=False)
    for number in range(300):
        step(tf.constant((number + 1) / 300))
    wanted = np.arange(50) % 10
    latents = part.latents.draw(50, np.random.default_rng(0), wanted)
    drawn = part.average((latents[:, :64], latents[:, 64:])).numpy()
    distances = ((drawn[:, None] - images[:10] / 255) ** 2).mean(axis=(2, 3, 4))
    assert np.mean(distances.argmin(axis=1) == wanted) > 0.9
