"""The residual classifier fits every size of image, and its convolutions have true gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import layers as configuration
from pipeline.errors import UserError
from pipeline.networks.build import PixelTable, averaged_copy, classifier, exported_classifier
from pipeline.networks.classifiers.resnet import ResidualClassifier
from pipeline.networks.convolutions import Convolution, PatchConvolution, whiten
from pipeline.networks.spec import Spec
from pipeline.ops import runtime
from pipeline.ops.devices import Random


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def make(shape=(32, 32, 3), width=8, seed=0, noise=(0.0, 0.0), policy="float32"):
    return ResidualClassifier(
        shape,
        4,
        width=width,
        pixel_scale=4.0,
        input_noise=noise[0],
        layer_noise=noise[1],
        random=Random(1),
        seed=seed,
        policy=policy,
    )


def products(network):
    """Multiplications an image, counted in the traced graph by the sizes of what it multiplies."""
    images = tf.TensorSpec([1, *network.image_shape])
    traced = tf.function(network, autograph=False).get_concrete_function(images)
    found = [op for op in traced.graph.get_operations() if op.type in ("Conv2D", "MatMul")]
    assert len(found) >= 8
    pairs = [(op.outputs[0].shape, op.inputs[1].shape) for op in found]
    return sum(np.prod(made) * np.prod(kernel[:-1]) for made, kernel in pairs)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sides", [(8, 8), (13, 21), (28, 28), (32, 32), (64, 48), (128, 128)])
def test_it_fits_every_size_of_image(sides, channels, policy):
    network = make((*sides, channels), policy=policy)
    images = np.random.default_rng(0).random((6, *sides, channels), np.float32)
    logits, features, maps = network.forward(tf.constant(images), True, True)
    assert logits.dtype == tf.float32
    assert logits.shape == (6, 4)
    assert np.isfinite(logits).all()
    assert features[0].shape == (6, 32)
    assert features[1].shape[3] == 32
    assert min(features[1].shape[1:3]) in range(3, 7)
    np.testing.assert_allclose(features[0], tf.reduce_mean(features[1], [1, 2]), atol=1e-5)
    assert all(len(part.shape) == 2 for part in maps)
    assert network.trainable_variables[0].dtype == "float32"
    assert np.ptp(logits, axis=0).min() > 1e-3  # looks at the image


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("training", [True, False])
def test_maps_stay_in_the_type_of_the_products(policy, training):
    network, dtype = make(policy=policy), tf.as_dtype(keras.DTypePolicy(policy).compute_dtype)
    run = tf.function(lambda x: network.forward(x, training, training).logits, autograph=False)
    traced = run.get_concrete_function(tf.TensorSpec([2, 32, 32, 3]))
    kinds = {op.type: [] for op in traced.graph.get_operations()}
    for op in traced.graph.get_operations():
        kinds[op.type].append(op.outputs[0].dtype if op.outputs else None)
    maps = [made for kind in ("Conv2D", "FusedBatchNormV3", "LeakyRelu") for made in kinds[kind]]
    assert len(maps) == 21
    assert set(maps) == {dtype}
    # The image, seven kernels, the last map; nothing between two products.
    assert len(kinds.get("Cast", [])) == (9 if policy == "mixed_bfloat16" else 0)
    assert {variable.dtype for variable in network.variables} == {"float32"}


@pytest.mark.slow
def test_work_grows_slowly_with_the_image():
    reference = products(make(width=32))
    assert reference == pytest.approx(12.2e6, rel=0.01)
    for side in range(8, 97, 4):
        assert 0.45 < products(make((side, side, 3), width=32)) / reference < 2.3, side
    assert products(make((128, 128, 3), width=32)) < 2 * reference
    assert products(make((512, 512, 3), width=32)) < 4 * reference


def test_the_width_decides_the_work():
    assert products(make(width=16)) == pytest.approx(products(make(width=32)) / 4, rel=0.05)
    config = configuration.load({"network": "resnet", "width": "12"})
    spec = Spec(
        (16, 16, 3), 10, np.full(10, 0.1, np.float32), 2.5, np.zeros((2, 16, 16, 3), np.uint8)
    )
    assert classifier(config, spec, Random(0), 0)(tf.zeros([1, 16, 16, 3])).shape == (1, 10)
    assert classifier(config, spec, Random(0), 0).output_layer.kernel.shape == (48, 10)


@pytest.mark.parametrize("width", ["0", "2", "6", "4.5", "yes", "-4"])
def test_a_width_is_a_multiple_of_4(width):
    with pytest.raises(UserError, match=r"width = .* \(from --width\): .*; width: channels"):
        configuration.load({"network": "resnet", "width": width})


def test_weights_are_drawn_from_the_seed():
    one, again, other = (make(seed=seed).get_weights() for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    kernels = [(a, b) for a, b in zip(one, other, strict=True) if a.ndim > 1]
    assert len(kernels) == 8
    assert not any(np.array_equal(a, b) for a, b in kernels)
    firsts = [kernel.ravel()[:6] / kernel.std() for kernel, _ in kernels]
    assert all(not np.allclose(a, b) for i, a in enumerate(firsts) for b in firsts[:i])


def test_noise_goes_where_it_is_asked_for():
    images = tf.constant(np.random.default_rng(0).random((6, 16, 16, 3), np.float32))
    quiet = make((16, 16, 3))
    for noise in ((0.2, 0.0), (0.0, 0.2)):
        network = make((16, 16, 3), noise=noise)
        runs = [network.forward(images, True, False).logits for _ in range(2)]
        assert np.abs(runs[0] - runs[1]).max() > 1e-3
        expected = quiet.forward(images, True, False).logits
        np.testing.assert_array_equal(
            network.forward(images, True, False, noisy=False).logits, expected
        )
        np.testing.assert_array_equal(network(images), quiet(images))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_and_its_gradients_are_those_of_keras(stride):
    draw = np.random.default_rng(0)
    ours, theirs = (
        Convolution(7, stride, 0),
        keras.layers.Conv2D(7, 3, stride, padding="same", use_bias=False),
    )
    x = tf.constant(draw.normal(size=(3, 6, 9, 5)).astype(np.float32))
    theirs(x), ours(x)
    theirs.kernel.assign(ours.kernel)
    results = []
    for layer in (ours, theirs):
        kernel = layer.kernel.value
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x)
                loss = tf.reduce_sum(tf.sin(y))
            first = tape.gradient(loss, [x, kernel])
            second = tf.reduce_sum(first[0] ** 2) + tf.reduce_sum(first[1] ** 2)
        results.append([y, *first, *outer.gradient(second, [x, kernel])])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("side", "cell"), [(32, 2), (9, 2), (64, 4), (50, 3), (40, 8)])
def test_patches_are_a_strided_convolution_of_the_padded_image(side, cell):
    draw = np.random.default_rng(0)
    layer = PatchConvolution(5, cell, 0)
    x = draw.normal(size=(2, side, side, 3)).astype(np.float32)
    y = layer(tf.constant(x))
    patch, places = layer.cells * cell, -(-side // cell)
    # [cells, cells, (cell, cell, 3), 5] → [patch, patch, 3, 5]
    kernel = layer.kernel.numpy().reshape([layer.cells, layer.cells, cell, cell, 3, 5])
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5).reshape([patch, patch, 3, 5])
    missing = (places - 1) * cell + patch - side
    around = (missing // 2, missing - missing // 2)
    padded = np.pad(x, [(0, 0), around, around, (0, 0)])
    expected = tf.nn.conv2d(padded, kernel, cell, "VALID")
    assert y.shape == (2, places, places, 5)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_the_exported_model_and_the_average_are_the_network(tmp_path):
    config = configuration.load({"network": "resnet", "width": "8"})
    images = np.random.default_rng(0).integers(0, 256, (20, 24, 20, 3), np.uint8)
    spec = Spec((24, 20, 3), 10, np.full(10, 0.1, np.float32), 2.5, images)
    network = classifier(config, spec, Random(0), 0)
    network.forward(images / np.float32(255), True, True)
    copy = averaged_copy(network, config, spec)
    np.testing.assert_array_equal(copy(images / np.float32(255)), network(images / np.float32(255)))
    exported = exported_classifier(network, spec.image_shape, PixelTable())
    probabilities = exported(images).numpy()
    exported.export(str(tmp_path / "kept"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "kept"))
    np.testing.assert_allclose(loaded.serve(images), probabilities, atol=1e-5)


@pytest.mark.parametrize(
    "layer", [PatchConvolution(16, 2, 0), PatchConvolution(64, 4, 0), Convolution(24, 1, 0)]
)
def test_a_whitened_layer_gives_uncorrelated_outputs_and_their_opposites(layer):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 16, 16, 2)).astype(np.float32)
    x = tf.constant(x + 2 * np.roll(x, 1, axis=1) + np.roll(x, 1, axis=2))  # neighbours are alike
    layer(x)
    whiten(layer, x)
    y = layer(x).numpy().reshape([-1, layer.channels])
    half = layer.channels // 2
    np.testing.assert_allclose(y[:, :half], -y[:, half:], atol=1e-4)
    covariance = np.cov(y[:, :half], rowvar=False)
    np.testing.assert_allclose(covariance, np.eye(half), atol=0.03)


def test_whitening_stands_images_that_say_little():
    for images in (np.zeros((3, 8, 8, 1)), np.ones((1, 1, 2, 3)), np.full((4, 40, 40, 3), 0.5)):
        network = make(images.shape[1:], width=32)
        drawn = network.blocks[0].convolution.kernel.numpy()
        network.whiten(tf.constant(images, tf.float32))
        kernel = network.blocks[0].convolution.kernel.numpy()
        assert np.isfinite(kernel).all()
        components = kernel[..., 0].size
        same = (kernel == drawn).all(axis=(0, 1, 2))
        assert same.sum() == max(0, 32 - 2 * components)
