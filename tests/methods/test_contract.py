"""Every method, present and future, keeps the contract of `pipeline.methods`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline import data, methods
from pipeline.config import layers as configuration
from pipeline.methods import Arrays, Batch
from pipeline.networks.build import ExportedGenerator, PixelTable
from pipeline.networks.spec import Spec
from pipeline.ops import runtime
from pipeline.ops.devices import Random
from pipeline.ops.optimizers import Adam

ALL = methods.names()
LIGHT = {"dense_units": "[60, 40]"}  # in place of the paper's, where width does not matter
WITH_GENERATOR = [name for name in ALL if name not in ("supervised", "fixmatch", "vat")]
BESIDE = [name for name in WITH_GENERATOR if name != "ssgan"]  # trained in the classifier's step


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)


def digits(n_labelled=12, n_pool=20):
    """Labelled images, labels and pool images, as a step takes them."""
    part = data.load("digits", None)
    images = part.train_images[: n_labelled + n_pool] / np.float32(255)
    labels = part.train_labels.read(np.arange(n_labelled), "train").astype(np.int32)
    return images[:n_labelled], labels, images[n_labelled:]


def colours(n_labelled=12, n_pool=20):
    """The same of three classes of 12 × 10 photographs: which channel is bright."""
    values = np.random.default_rng(0)
    labels = np.arange(n_labelled + n_pool) % 3
    images = values.random((len(labels), 12, 10, 3), np.float32) / 2
    images[np.arange(len(labels)), ..., labels] += 0.5
    return images[:n_labelled], labels[:n_labelled].astype(np.int32), images[n_labelled:]


def make(name, batch=None, seed=0, balance=None, **flags):
    """The method by its own YAML on data of the batch's shape, its rates at 0.001."""
    images, labels, pool = batch or digits()
    shape, n_classes = images.shape[1:], 3 if images.shape[3] == 3 else 10
    flags = {"dataset": "cifar10" if n_classes == 3 else "digits"} | flags
    config = configuration.load(
        {"method": name, "steps": "40"} | {k: str(v) for k, v in flags.items()}
    )
    spec = Spec(
        image_shape=shape,
        n_classes=n_classes,
        class_balance=np.float32(np.full(n_classes, 1 / n_classes) if balance is None else balance),
        pixel_scale=float(1 / images.std()),
        first_images=np.round(images * 255).astype(np.uint8),
    )
    method = methods.build(config, spec, seed)
    everything = np.round(np.concatenate([images, pool]) * 255).astype(np.uint8)
    labelled = np.arange(len(images))
    places = Arrays(
        everything, np.arange(len(everything)), labelled, labels.astype(np.int64), np.arange(0), ""
    )
    method.after_warm_up(places)
    return method


def next_numbers(method):
    """A generator that gives the numbers the method will draw next."""
    copy = Random(0)
    copy.state.assign(method.random.state)
    return copy


def as_batch(arrays, progress):
    images, labels, pool = map(tf.constant, arrays)
    positions = tf.range(len(images), len(images) + len(pool))
    return Batch(images, labels, pool, positions, tf.constant(progress))


def step(method, batch, progress=0.5):
    taken = method.step(as_batch(batch, progress))
    return {name: float(value) for name, value in taken.items()}


def values(network, trainable=True):
    kept = network.trainable_variables if trainable else network.non_trainable_variables
    return [variable.numpy() for variable in kept]


def equal(one, other):
    return [bool(np.array_equal(a, b)) for a, b in zip(one, other, strict=True)]


def close(one, other):
    """Equal but for rounding: what two runs of one computation may differ by."""
    return [bool(np.allclose(a, b, rtol=1e-5, atol=1e-6)) for a, b in zip(one, other, strict=True)]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("make_batch", [digits, colours])
def test_a_step_trains_every_weight_compiled_or_not(name, make_batch):
    batch = make_batch()
    method = make(name, batch)
    networks = [method.network, *([method.generator] if name in BESIDE else [])]
    before = [values(network) for network in networks]
    average = values(method.average)
    taken = tf.function(method.step, autograph=False) if make_batch is digits else method.step
    reported = taken(as_batch(batch, 0.5))
    assert "supervised_loss" in reported
    assert all(value.shape == () and np.isfinite(value) for value in reported.values())
    for network, old in zip(networks, before, strict=True):
        assert not any(equal(values(network), old))
        assert all(np.isfinite(value).all() for value in values(network))
    assert all(equal(values(method.average), average))  # the loop's to move
    n_classes = 3 if make_batch is colours else 10
    assert method.average(batch[0]).shape == (len(batch[0]), n_classes)


@pytest.mark.parametrize("name", WITH_GENERATOR)
def test_a_generator_has_steps_of_its_own_or_is_trained_beside_the_classifier(name):
    method = make(name)
    assert (method.generator_steps == 0) == (name in BESIDE)
    before = values(method.generator)
    step(method, digits())
    assert any(equal(values(method.generator), before)) == (name not in BESIDE)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("make_batch", [digits, colours])
def test_generators_and_latents_fit_each_other(name, make_batch):
    batch = make_batch()
    method = make(name, batch)
    assert (method.generator is not None) == (name in WITH_GENERATOR)
    assert (method.generator is None) == (method.latents is None)
    assert ("generator" in method.optimizers) == (method.generator is not None)
    assert all(isinstance(o, Adam) for o in method.optimizers.values())
    if method.latents is None:
        return
    latents, random = method.latents, np.random.default_rng(0)
    drawn = latents.draw(30, random, latents.grid_labels(30))
    assert drawn.shape == (30, latents.size + latents.n_classes)
    assert (drawn.min() < 0) == (latents.distribution == "normal")
    images = ExportedGenerator(method.generator, latents, PixelTable())(tf.constant(drawn)).numpy()
    assert images.dtype == np.uint8
    assert images.shape == (30, *batch[0].shape[1:])
    assert images.std(axis=0).mean() > 1


@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides_alone_and_only_the_pools_users_look_at_the_pool(name):
    labelled, labels, pool = digits()
    trained = []
    for seed, other_pool in ((0, pool), (0, pool), (0, pool[::-1] * 0.5), (1, pool)):
        method = make(name, seed=seed, **LIGHT)
        step(method, (labelled, labels, other_pool))
        networks = [part for part in vars(method).values() if isinstance(part, keras.Model)]
        trained.append([value for network in networks for value in values(network)])
    first, again, elsewhere, other = trained
    assert all(close(first, again))
    assert not all(close(first, other))
    assert all(close(first, elsewhere)) == (not method.uses_pool)


@pytest.mark.parametrize("name", BESIDE)
def test_each_update_leaves_the_other_networks_alone(name):
    for moving in ("generator", "classifier"):
        method = make(name, **LIGHT)
        for key, optimizer in method.optimizers.items():
            optimizer.learning_rate.assign(
                0.001 * ((key == "generator") == (moving == "generator"))
            )
        before = values(method.network), values(method.generator)
        step(method, digits())
        after = values(method.network), values(method.generator)
        still, moved = (0, 1) if moving == "generator" else (1, 0)
        assert all(equal(before[still], after[still]))
        assert not any(equal(before[moved], after[moved]))


@pytest.mark.parametrize("name", BESIDE)
def test_generated_images_stay_out_of_the_classifiers_statistics(name):
    moving = []
    for scale in (1.0, 3.0):
        method = make(name, network="conv", augment_rotation=0)
        for variable in method.generator.trainable_variables:
            variable.assign(variable * scale)
        step(method, digits())
        moving.append(values(method.network, trainable=False))
    assert all(close(*moving))
    assert np.abs(moving[0][0]).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["supervised", "ssgan"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_residual_network_keeps_the_contract_with_weight_decay(name, precision):
    batch, trained = colours(), []
    flags = {"network": "resnet", "width": 4, "precision": precision, "input_noise": 0.1}
    for decay in (0.0, 0.0, 5.0):
        method = make(name, batch, weight_decay=decay, **flags)
        before = values(method.network)
        reported = tf.function(method.step, autograph=False)(as_batch(batch, 0.5))
        assert all(np.isfinite(value) for value in reported.values())
        assert not any(equal(values(method.network), before))
        assert all(np.isfinite(value).all() for value in values(method.network))
        trained.append(values(method.network))
    plain, again, decayed = trained
    assert all(equal(plain, again))
    products = [value.ndim > 1 for value in plain]
    assert [not same for same in close(plain, decayed)] == products
    assert method.average(batch[0]).shape == (len(batch[0]), 3)


@pytest.mark.parametrize("decay", [0.0, 5.0])
def test_the_warm_up_has_a_weight_decay_of_its_own(decay):
    batch, sizes = colours(), []
    for own in (0.0, decay):
        method = make("ssgan", batch, network="resnet", width=4, warm_up_weight_decay=own)
        method.warm_up(as_batch(batch, 0.5))
        kernel = method.warming.projection.kernel.numpy()
        sizes.append(float(np.linalg.norm(kernel)))
    assert sizes[1] == pytest.approx(sizes[0] * (1 - 0.001 * decay), rel=1e-3)
