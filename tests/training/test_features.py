"""Features of a backbone are computed once, kept by content, and computed anew if they are lost."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config import layers as config
from pipeline.methods import Arrays, Method
from pipeline.networks.pretrained import PretrainedClassifier
from pipeline.ops.devices import Random
from pipeline.training import features
from tests.networks.small_backbone import small_backbone

SHAPE = (12, 12, 3)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def network():
    return PretrainedClassifier(SHAPE, 3, small_backbone(12), Random(0))


@pytest.fixture
def arrays():
    images = np.random.default_rng(0).integers(0, 256, (130, *SHAPE), np.uint8)
    every, none = np.arange(130), np.array([], np.int64)
    return Arrays(images, every, none, none, none, "a data set")


def computed(network, arrays, places):
    return network.features(tf.constant(arrays.images[places].astype(np.float32) / 255)).numpy()


def others(arrays):
    """Other images under the same digest: what comes from the cache does not see them."""
    return replace(arrays, images=255 - arrays.images)


def parts(home):
    return sorted((home / ".cache" / "ssgan" / "features").glob("*/*"))


def test_features_come_in_the_order_asked_for_and_are_computed_once(network, arrays, home):
    places = np.array([129, 3, 3, 70, 0, 51])
    found = features.of(network, arrays, places)
    np.testing.assert_allclose(found, computed(network, arrays, places), rtol=1e-4)
    assert found.dtype == np.float32
    assert len(parts(home)) == 1
    np.testing.assert_array_equal(features.of(network, others(arrays), places[::-1]), found[::-1])
    assert len(parts(home)) == 1
    assert features.of(network, arrays, places[:0]).shape == (0, 14)


def test_more_images_compute_the_new_ones_alone(network, arrays, home):
    few, many = np.array([5, 9, 100]), np.array([4, 5, 6, 9, 10, 100])
    first = features.of(network, arrays, few)
    both = features.of(network, others(arrays), many)
    np.testing.assert_array_equal(both[[1, 3, 5]], first)
    new = computed(network, others(arrays), many[[0, 2, 4]])
    np.testing.assert_allclose(both[[0, 2, 4]], new, rtol=1e-4)
    sets = {tuple(np.load(file)["places"]) for file in parts(home)}
    assert sets == {(5, 9, 100), (4, 6, 10)}


def test_what_an_interrupt_has_left_is_not_computed_again(network, arrays, home, monkeypatch):
    monkeypatch.setattr(features, "PART", 50)
    places, expected = np.arange(130), features.of(network, arrays, np.arange(130))
    for file in parts(home):
        file.unlink()
    told = features.progress.advance

    def interrupt(done):
        if done == 130:
            raise KeyboardInterrupt
        told(done)

    with monkeypatch.context() as patch:
        patch.setattr(features.progress, "advance", interrupt)
        with pytest.raises(KeyboardInterrupt):
            features.of(network, arrays, places)
    kept = {tuple(np.load(file)["places"]) for file in parts(home)}
    assert kept == {tuple(range(50)), tuple(range(50, 100))}
    found = features.of(network, others(arrays), places)
    np.testing.assert_array_equal(found[:100], expected[:100])
    rest = computed(network, others(arrays), places[100:])
    np.testing.assert_allclose(found[100:], rest, rtol=1e-4)
    np.testing.assert_array_equal(features.of(network, arrays, places), found)


def test_other_images_weights_or_sizes_are_computed_anew(network, arrays, home):
    places = np.arange(4)
    features.of(network, arrays, places)
    changed = replace(others(arrays), digest="another data set")
    expected = computed(network, changed, places)
    np.testing.assert_allclose(features.of(network, changed, places), expected, rtol=1e-4)
    for backbone in (small_backbone(12, "1"), small_backbone(24)):
        other = PretrainedClassifier(SHAPE, 3, backbone, Random(0))
        expected = computed(other, others(arrays), places)
        np.testing.assert_allclose(features.of(other, others(arrays), places), expected, rtol=1e-4)
    assert len({file.parent for file in parts(home)}) == 4


@pytest.mark.parametrize("damage", ["cut", "bits", "empty", "text", "folder", "other arrays"])
def test_a_damaged_file_is_computed_anew(damage, network, arrays, home):
    places = np.arange(40)
    expected = features.of(network, arrays, places)
    (file,) = parts(home)
    content = bytearray(file.read_bytes())
    if damage == "bits":
        content[len(content) // 2] ^= 255
    damaged = {"cut": content[:-30], "bits": content, "empty": b"", "text": b"some words"}
    if damage == "folder":
        file.unlink()
        file.mkdir()
    elif damage == "other arrays":
        with file.open("wb") as stream:
            np.savez(stream, places=places, rows=expected[:, :3])
    else:
        file.write_bytes(damaged[damage])
    np.testing.assert_array_equal(features.of(network, arrays, places), expected)


def test_where_nothing_can_be_kept_they_are_computed(network, arrays, home, monkeypatch):
    places = np.arange(3)
    (home / ".cache").mkdir(parents=True)
    (home / ".cache" / "ssgan").write_text("a file where the folder should be")
    expected = computed(network, arrays, places)
    np.testing.assert_allclose(features.of(network, arrays, places), expected, rtol=1e-4)
    monkeypatch.setenv("HOME", "/dev/null")
    np.testing.assert_allclose(features.of(network, arrays, places), expected, rtol=1e-4)


def test_the_last_ones_used_are_kept(network, arrays, home, monkeypatch):
    sets = [replace(arrays, digest=str(number)) for number in range(4)]
    places = np.arange(50)
    for number, one in enumerate(sets[:3]):
        features.of(network, one, places)
        newest = max(parts(home), key=lambda file: file.stat().st_ctime_ns)
        os.utime(newest, ns=(0, number))
    features.of(network, sets[0], places)  # used once more
    size = parts(home)[0].stat().st_size
    monkeypatch.setattr(features, "BYTES", 2.5 * size)
    features.of(network, sets[3], places)
    assert len(parts(home)) == 2
    assert len(list(parts(home)[0].parent.parent.iterdir())) == 2
    kept = [features.of(network, others(sets[number]), places) for number in (0, 3)]
    np.testing.assert_array_equal(*kept)
    np.testing.assert_allclose(kept[0], computed(network, arrays, places), rtol=1e-4)


@pytest.mark.parametrize("room", [features.BYTES, 5000])
def test_writers_at_once_lose_nothing(room, network, arrays, home, monkeypatch):
    monkeypatch.setattr(features, "BYTES", room)

    def write(first):
        for place in range(first, 60, 3):
            row = np.full((1, 4), place, np.float32)
            features._keep("entry", np.array([place]), row)
            for known, rows in features._kept("entry", 4):
                np.testing.assert_array_equal(rows, known[:, None] * np.ones((1, 4)))

    with ThreadPoolExecutor(3) as pool:  # they share no lock and no state but the files
        list(pool.map(write, range(3)))
    found = sorted(int(known[0]) for known, _ in features._kept("entry", 4))
    assert found == list(range(60)) or (room == 5000 and 3 <= len(found) <= 10)
    assert not [file for file in parts(home) if file.suffix != ".npz"]


def test_unlabelled_images_that_differ_are_told_by_their_features(network, arrays):
    dark = arrays.images.copy()
    dark[65:] //= 4
    unknown = np.arange(65, 130)
    data = replace(
        arrays,
        images=dark,
        labelled=np.arange(3),
        labels=np.arange(3),
        unknown=unknown,
        digest="half of it dark",
    )
    method = Method()
    method.network, method.config = network, config.load({})
    method.average = PretrainedClassifier(SHAPE, 3, small_backbone(12), Random(0))
    compared = features.start(method, data)
    assert compared["unlabelled_told_apart"] > 0.8
    assert compared["unlabelled_p_value"] < 1e-3
    assert features.start(method, replace(data, unknown=np.array([], np.int64))) == {}
    for one, other in zip(method.average.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize(("n", "n_classes"), [(20_000, 10), (8_000, 2)])
def test_classes_that_take_turns_are_no_other_mix(n, n_classes):
    random, labels = np.random.default_rng(0), np.arange(n) % n_classes
    grey = np.linspace(40, 210, n_classes)[labels][:, None, None, None]
    images = (grey + random.normal(0, 12, (n, *SHAPE))).clip(0, 255).astype(np.uint8)
    labelled = np.sort(random.permutation(n)[: 30 * n_classes])
    data = Arrays(images, np.arange(n), labelled, labels[labelled], np.arange(0), f"{n} in turn")
    method = Method()
    method.config = config.load({})
    method.network = PretrainedClassifier(SHAPE, n_classes, small_backbone(12), Random(0))
    method.average = PretrainedClassifier(SHAPE, n_classes, small_backbone(12), Random(0))
    even = np.full(n_classes, 1 / n_classes, np.float32)
    method.class_balances = [tf.Variable(even)]
    assert features.start(method, data)["class_shift_p_value"] > 0.005
    np.testing.assert_array_equal(method.class_balances[0], even)


def test_few_labels_at_one_end_are_all_compared(network, arrays):
    """Of many images some are looked at, and every labelled one."""
    first = 255 - arrays.images // 4
    images = np.concatenate([first[:20], arrays.images[np.arange(4000) % 130] // 4])
    every = np.arange(len(images))
    data = Arrays(images, every, every[:20], every[:20] % 3, every[20:], "labels first")
    method = Method()
    method.network, method.config = network, config.load({})
    method.average = PretrainedClassifier(SHAPE, 3, small_backbone(12), Random(0))
    assert features.start(method, data)["unlabelled_p_value"] < 1e-3


def test_the_mix_of_classes_is_judged_by_other_images_than_the_labelled(
    network, arrays, monkeypatch
):
    """A classifier knows these by heart, so that rare classes would seem frequent among them."""
    seen, follow = [], features.pool_balance.follow

    def spy(balance, labelled, labels, pool, seed):
        seen.append(len(pool))
        return follow(balance, labelled, labels, pool, seed)

    monkeypatch.setattr(features.pool_balance, "follow", spy)
    method = Method()
    method.network, method.config = network, config.load({})
    method.average = PretrainedClassifier(SHAPE, 3, small_backbone(12), Random(0))
    method.class_balances = [tf.Variable(np.full(3, 1 / 3, np.float32))]
    every = np.arange(130)
    for labelled in (every, every[::2]):
        data = replace(arrays, labelled=labelled, labels=labelled % 3)
        features.start(method, data)
    assert seen == [65]
