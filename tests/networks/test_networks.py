"""Networks compute what the papers and Keras say they do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline import data
from pipeline.config import layers as configuration
from pipeline.networks.build import (
    ExportedGenerator,
    PixelTable,
    averaged_copy,
    classifier,
    exported_classifier,
)
from pipeline.networks.classifiers.conv import ConvClassifier
from pipeline.networks.classifiers.dense import DenseClassifier
from pipeline.networks.conditional import ConditionalGenerator
from pipeline.networks.generators import conv, dense, softplus
from pipeline.networks.layers import BatchNormalization, WeightNormalizedDense, add_noise
from pipeline.networks.spec import Latents, Spec
from pipeline.ops import runtime
from pipeline.ops.devices import Random


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


@pytest.fixture(scope="module")
def digits():
    """200 real images, uint8 [200, 8, 8, 1]."""
    return data.load("digits", None).train_images[:200]


def make_random(seed=0):
    return Random(seed)


def make_dense(shape=(8, 8, 1), n_classes=10, units=(60, 40), noise=0.3):
    return DenseClassifier(
        shape,
        n_classes,
        units=units,
        input_noise=noise,
        layer_noise=noise,
        random=make_random(),
        seed=0,
    )


POLICIES = ("float32", "mixed_bfloat16")


def make_conv(shape=(8, 8, 1), n_classes=10, noise=0.3, policy="float32"):
    return ConvClassifier(
        shape,
        n_classes,
        pixel_scale=2.0,
        policy=policy,
        input_noise=noise,
        layer_noise=noise,
        random=make_random(),
        seed=0,
    )


# ---------------------------------------------------------------- weight normalisation


def test_data_dependent_initialisation_standardises_every_layer_with_its_noise(digits):
    network = make_dense(noise=0.3)
    images = digits / np.float32(255)
    network.initialise(images)
    again = make_random()  # the same noise
    h = add_noise(images.reshape(len(images), -1), 0.3, again)
    for layer in (*network.hidden, network.output_layer):
        y = layer(h).numpy()
        np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-3)
        bias = layer(np.zeros_like(h[:1])).numpy()
        weights = layer(np.eye(h.shape[1], dtype=np.float32)).numpy() - bias
        norms = np.linalg.norm(weights, axis=0)
        np.testing.assert_allclose(norms, layer.gain.numpy(), rtol=1e-3)
        h = add_noise(tf.nn.relu(y), 0.3, again)


def test_only_the_output_gain_is_trained():
    network = make_dense()
    trained = {id(variable) for variable in network.trainable_variables}
    assert [id(layer.gain) in trained for layer in network.hidden] == [False, False]
    assert id(network.output_layer.gain) in trained


def test_two_passes_that_share_prepared_weights_have_the_gradients_of_two(digits):
    network, kept = make_dense(noise=0.0), []
    images = (digits[:20] / np.float32(255)).reshape(2, 10, 8, 8, 1)
    variables = [variable.value for variable in network.trainable_variables]
    for shared in (False, True):
        with tf.GradientTape() as tape:
            prepared = network.prepare() if shared else None
            passes = [network.forward(x, False, False, prepared) for x in images]
            loss = tf.add_n([tf.reduce_sum(tf.square(one.logits)) for one in passes])
        kept.append(tape.gradient(loss, variables))
    for one, other in zip(*kept, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_the_gradient_of_a_weight_norm_is_that_of_its_formula():
    layer = WeightNormalizedDense(3, True, keras.initializers.RandomNormal(seed=0))
    x = tf.random.stateless_normal([7, 5], [0, 0])
    layer(x)
    layer.gain.assign([0.5, 1.0, 2.0])
    v = layer.direction.value
    with tf.GradientTape(persistent=True) as tape:
        ours = tf.reduce_sum(tf.sin(layer(x)))
        weights = layer.gain.value * v / tf.norm(v, axis=0)
        theirs = tf.reduce_sum(tf.sin(x @ weights + layer.bias.value))
    np.testing.assert_allclose(
        tape.gradient(ours, v), tape.gradient(theirs, v), rtol=1e-5, atol=1e-5
    )


# ---------------------------------------------------------------- batch normalisation


@pytest.mark.parametrize("shape", [(50, 7), (6, 5, 4, 7)])
def test_batch_normalisation_is_that_of_keras(shape):
    values = np.random.default_rng(0)
    x = tf.constant(values.normal(3.0, 2.0, shape).astype(np.float32))
    ours = BatchNormalization(momentum=0.9, epsilon=1e-3)
    theirs = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3)
    for layer in (ours, theirs):
        layer.build(shape)
        for i, variable in enumerate(layer.trainable_variables):
            variable.assign(np.linspace(0.5, 2.0 + i, 7))
    results = []
    for layer in (ours, theirs):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(y**3)
        results.append((y, tape.gradient(loss, x)))
    training, gradient = zip(*results, strict=True)
    np.testing.assert_allclose(*training, atol=1e-4)
    np.testing.assert_allclose(*gradient, atol=2e-3)
    np.testing.assert_allclose(ours.mean, theirs.moving_mean, rtol=1e-5)
    # Ioffe & Szegedy keep the unbiased variance, as we do; Keras keeps the biased one.
    count = np.prod(shape[:-1])
    biased = 0.9 + (ours.variance.numpy() - 0.9) * (count - 1) / count
    np.testing.assert_allclose(biased, theirs.moving_variance, rtol=1e-5)
    ours.variance.assign(biased)
    np.testing.assert_allclose(ours(x), theirs(x, training=False), atol=1e-4)


def test_generated_images_can_stay_out_of_the_statistics():
    layer, x = BatchNormalization(), 5.0 + Random(0).normal([20, 3])
    counted = layer(x, training=True)
    before = [variable.numpy() for variable in layer.non_trainable_variables]
    ignored = layer(x, training=True, update_statistics=False)
    layer(x, training=False)
    np.testing.assert_array_equal(before, layer.non_trainable_variables)
    np.testing.assert_array_equal(counted, ignored)
    assert np.abs(before[0]).max() > 0


# ---------------------------------------------------------------- classifiers


def test_the_convolutional_classifier_rounds_its_maps_and_nothing_that_leaves_it(digits):
    whole, rounded = (make_conv(noise=0.0, policy=policy) for policy in POLICIES)
    images = tf.constant(digits / np.float32(255))
    expected, found = (each.forward(images, True, True) for each in (whole, rounded))
    for one, other in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True):
        assert one.dtype == other.dtype == tf.float32
        assert np.abs(one - other).max() < 0.05 * np.abs(one).max()
    assert not np.array_equal(expected.logits, found.logits)
    assert {variable.dtype for variable in rounded.variables} == {"float32"}


def test_noise_has_the_deviation_asked_for():
    zeros = tf.zeros([200, 200])
    noise = add_noise(zeros, 0.3, make_random()).numpy()
    assert noise.std() == pytest.approx(0.3, rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert add_noise(zeros, 0.0, make_random()) is zeros


@pytest.mark.parametrize("make", [make_dense, make_conv])
def test_noise_is_added_in_training_only(make, digits):
    images = digits[:16] / np.float32(255)
    noisy, quiet = make(), make(noise=0.0)
    quiet.set_weights(noisy.get_weights())

    def forward(network, training):
        return network.forward(tf.constant(images), training, False).logits.numpy()

    np.testing.assert_array_equal(noisy(images), noisy(images))
    np.testing.assert_array_equal(noisy(images), quiet(images))
    assert not np.allclose(forward(noisy, True), forward(noisy, True))
    np.testing.assert_array_equal(forward(quiet, True), forward(quiet, True))


@pytest.mark.parametrize(
    ("shape", "convolutions"),
    [
        ((28, 28, 1), [(5, 2, 32), (3, 2, 64), (3, 1, 64)]),  # the recipe's, on MNIST
        ((8, 8, 1), [(5, 2, 32), (3, 1, 64)]),
        ((32, 32, 3), [(5, 2, 32), (3, 2, 64), (3, 2, 128), (3, 1, 128)]),
        ((9, 13, 1), [(5, 2, 32), (3, 1, 64)]),
        ((1, 2, 3), [(5, 2, 32), (3, 1, 64)]),
    ],
)
def test_the_convolutional_classifier_fits_the_image(shape, convolutions):
    network = make_conv(shape, n_classes=4)
    layers = [(c.kernel.shape[0], c.strides[0], c.filters) for c in network.convolutions]
    assert layers == convolutions
    logits, features, maps = network.forward(tf.zeros([3, *shape]), True, True)
    assert logits.shape == (3, 4)
    assert [len(f.shape) for f in features] == [2, 4]
    assert [m.shape[3] for m in maps] == [filters for _, _, filters in convolutions[-2:]]
    np.testing.assert_array_equal(maps[-1], features[-1])
    assert features[0].shape == (3, 128)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", ["conv", "dense"])
def test_the_exported_classifier_gives_the_networks_probabilities(name, digits, tmp_path):
    config = configuration.load({"network": name, "dense_units": "[60, 40]"})
    spec = Spec((8, 8, 1), 10, np.full(10, 0.1, np.float32), 2.5, digits)
    network = classifier(config, spec, make_random(), 0)
    exported = exported_classifier(network, spec.image_shape, PixelTable())
    probabilities = exported(digits).numpy()
    expected = tf.nn.softmax(network(digits / np.float32(255))).numpy()
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)
    assert probabilities.std(axis=0).max() > 0.01
    exported.export(str(tmp_path / "kept"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "kept"))
    np.testing.assert_allclose(loaded.serve(digits), probabilities, atol=1e-5)


def test_the_average_starts_equal_and_lives_on_its_own(digits):
    config = configuration.load({"method": "feature_matching", "dense_units": "[60, 40]"})
    spec = Spec((8, 8, 1), 10, np.full(10, 0.1, np.float32), 2.5, digits)
    network = classifier(config, spec, make_random(), 0)
    copy = averaged_copy(network, config, spec)
    images = digits / np.float32(255)
    before = copy(images).numpy()
    np.testing.assert_array_equal(network(images), before)
    network.trainable_variables[0].assign_add(tf.ones([64, 60]))
    np.testing.assert_array_equal(copy(images), before)
    assert not np.allclose(network(images), before)


@pytest.mark.parametrize("make", [make_conv, make_dense])
def test_noise_can_be_left_out_of_training(make):
    network, images = make(), tf.random.uniform([20, 8, 8, 1])
    still = [network.forward(images, True, False, noisy=False).logits for _ in range(2)]
    np.testing.assert_array_equal(*still)
    assert np.abs(network.forward(images, True, False).logits - still[0]).max() > 1e-3


# ---------------------------------------------------------------- generators


@pytest.mark.parametrize("make", [dense.build, softplus.build])
@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 13, 3)])
def test_generators_fill_images_between_0_and_1(make, shape):
    network = make(20, (30, 25), shape, seed=0)
    z = 3.0 * make_random().normal([64, 20])
    for training in (False, True):
        images = network(z, training=training).numpy()
        assert images.shape == (64, *shape)
        assert images.min() >= 0
        assert images.max() <= 1
        assert images.std(axis=0).max() > 0.01
    hidden = [layer for layer in network.layers if isinstance(layer, BatchNormalization)]
    assert len(hidden) == 2
    # Exactly the latents' spread is taken out, so training does not look at their scale.
    np.testing.assert_allclose(network(z, training=True), network(10 * z, training=True), atol=1e-2)


@pytest.mark.parametrize(
    "shape", [(4, 4, 1), (8, 8, 1), (28, 28, 1), (33, 50, 3), (64, 64, 3), (96, 96, 3)]
)
def test_the_convolutional_generator_fits_every_shape_with_few_weights(shape):
    network = conv.build(64, (64, 32, 16), shape, seed=0)
    z = make_random().normal([8, 64])
    for training in (False, True):
        images = network(z, training=training).numpy()
        assert images.shape == (8, *shape)
        assert images.min() >= 0
        assert images.max() <= 1
        assert images.std(axis=0).max() > 0.01
    # Dense, 96 x 96 x 3 takes 10.8 million.
    assert network.count_params() < 250_000
    again = conv.build(64, (64, 32, 16), shape, seed=0)
    np.testing.assert_array_equal(network.get_weights()[0], again.get_weights()[0])


def test_the_exported_generator_takes_what_latents_draw():
    latents = Latents(20, "normal", n_classes=3)
    network = ConditionalGenerator(dense.build(20, (30,), (4, 5, 3), 0), 20, 3, seed=1)
    exported = ExportedGenerator(network, latents, PixelTable())
    drawn = latents.draw(30, np.random.default_rng(0), latents.grid_labels(30))
    images = exported(tf.constant(drawn)).numpy()
    assert images.dtype == np.uint8
    expected = network((drawn[:, :20], drawn[:, 20:]), training=False).numpy() * 255
    np.testing.assert_allclose(images, expected, atol=0.51)
    assert images.std() > 1
