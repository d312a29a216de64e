"""Images too large to be held whole are brought step by step, and make the same model."""

import re
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from pipeline import data, memory
from pipeline.config import layers as configuration
from pipeline.data.dataset import build
from pipeline.methods import Arrays
from pipeline.networks.build import classifier
from pipeline.networks.spec import Spec
from pipeline.ops.devices import Random
from pipeline.parts import graph_labels
from pipeline.stages.split import choose_split
from pipeline.stages.train import train
from pipeline.training import inputs, loop, warm_up
from pipeline.training.inputs import Inputs
from pipeline.training.program import Program
from tests.training.short import build as build_method
from tests.training.short import prepare

DENSE = {"network": "dense", "dense_units": "[64, 32]", "report_every": "10"}
SMALL = DENSE | {"steps": "30"}
SMALL |= {"label_frac": "0.1", "warm_up_share": "0.4", "generator_units": "[64]"}


def predicted(dataset, flags=SMALL):
    warm_up.forget()
    config = configuration.load(flags)
    result = train(dataset, choose_split(config, dataset), config)
    answer = result.model.classify(dataset.test_images[:])
    result.release()
    return answer


def mapped(dataset, path):
    """The same data, the training images in a mapped file."""
    np.save(path, dataset.train_images)
    return replace(dataset, train_images=np.load(path, mmap_mode="r"))


def narrow(dataset):
    """The same data stored in 100..116."""
    parts = []
    for images, door in (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        stored = np.rint(images / 255 * 16).astype(np.uint8) + 100
        parts.append((stored, door.read(np.arange(len(door)), "test")))
    return build("npz", "here", *parts)


@pytest.mark.slow
@pytest.mark.parametrize("stored", [lambda whole: whole, narrow])
def test_gathered_images_make_the_same_model(stored, tmp_path, monkeypatch):
    dataset = stored(data.load("digits", None))
    wanted = predicted(dataset)
    monkeypatch.setattr(inputs, "LARGEST_SHARE", 0)
    few = 3 * (32 + 128) * 64  # bytes of three steps, so that a report takes several calls
    monkeypatch.setattr(inputs, "GATHERED_BYTES", few)
    answer = predicted(mapped(dataset, tmp_path / "images.npy"))
    np.testing.assert_array_equal(answer, wanted)


def test_the_graphs_features_are_made_of_fewer_images_at_a_time_and_are_alike(monkeypatch):
    digits = data.load("digits", None)
    wanted = predicted(digits)
    monkeypatch.setattr(graph_labels, "MAPS_BYTES", 300 * 4 * (64 + 32))
    agree = predicted(digits).argmax(axis=1) == wanted.argmax(axis=1)
    assert agree.mean() > 0.9


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells this memory")
def test_images_that_are_held_whole_leave_memory_for_the_rest(tmp_path):
    """However often they are copied on the way: measured while they are."""
    path, shape = tmp_path / "images.npy", (60, 60, 3)
    np.save(path, np.ones((20_000, *shape), np.uint8))
    images, none = np.load(path, mmap_mode="r"), np.array([], np.int64)
    held = tf.Variable(tf.zeros([1, *shape], tf.uint8), shape=[None, *shape], trainable=False)
    method = SimpleNamespace(optimizers={}, schedules={}, uses_pool=True)
    arrays = Arrays(images, np.arange(9), np.arange(9), np.arange(9), none, "")
    found, over = [_own_memory()], threading.Event()

    def watch():
        while not over.wait(0.001):
            found.append(_own_memory())

    watching = threading.Thread(target=watch)
    watching.start()
    made = Inputs(SimpleNamespace(method=method, images=held), arrays, configuration.load({}))
    over.set()
    watching.join()
    assert made.everything
    assert max(found) - found[0] > images.nbytes * 0.9
    assert inputs.LARGEST_SHARE * (max(found) - found[0]) / images.nbytes < 0.6


def _own_memory():
    """Bytes that this process has for itself, without pages of files."""
    (line,) = re.findall(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) * 1024


class Watched:
    """Images that note which were brought, and the most pixels of them at a time."""

    def __init__(self, images):
        self.images, self.most, self.brought = images, 0, set()
        self.shape, self.nbytes = images.shape, images.nbytes

    def __len__(self):
        return len(self.images)

    def __getitem__(self, places):
        found = self.images[places]
        self.most = max(self.most, int(np.prod(found.shape[:3])))
        self.brought.update(np.ravel(np.arange(len(self))[places]).tolist())
        return found


def test_the_graph_brings_few_large_images_at_a_time_and_finds_the_same_features(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (90, 32, 32, 1), np.uint8)
    config = configuration.load(SMALL)
    spec = Spec((32, 32, 1), 10, np.full(10, 0.1, np.float32), 4.0, images[:50])
    network = classifier(config, spec, Random(0), 0)
    places = np.random.default_rng(1).permutation(90)
    labels = graph_labels.GraphLabels(network)
    wanted = labels._components(images, places)
    assert len(wanted) == 90
    monkeypatch.setattr(graph_labels, "CALL_PIXELS", 8 * 32 * 32 + 5)
    watched = Watched(images)
    np.testing.assert_allclose(labels._components(watched, places), wanted, atol=1e-4)
    assert watched.most == 8 * 32 * 32


@pytest.mark.parametrize("method", ["supervised", "fixmatch"])
def test_what_a_method_never_looks_at_is_not_brought(method, monkeypatch):
    monkeypatch.setattr(inputs, "LARGEST_SHARE", 0)
    config, arrays = prepare(**DENSE, method=method, steps=20)
    watched = Watched(arrays.images)
    loop.train(
        Program(build_method(config, arrays), config),
        replace(arrays, images=watched),
        config,
        lambda report: True,
    )
    assert watched.brought >= set(arrays.labelled)
    assert (watched.brought == set(arrays.labelled)) == (method == "supervised")


def test_the_baseline_is_the_same_model_on_gathered_images(tmp_path, monkeypatch):
    digits, flags = data.load("digits", None), DENSE | {"method": "supervised", "steps": "20"}
    wanted = predicted(digits, flags)
    monkeypatch.setattr(inputs, "LARGEST_SHARE", 0)
    np.testing.assert_array_equal(predicted(mapped(digits, tmp_path / "im.npy"), flags), wanted)


def test_a_container_may_leave_less_memory_than_the_machine_has(tmp_path, monkeypatch):
    whole = memory.limit()
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "CONTAINER_LIMITS", (limit, tmp_path / "no such file"))
    for text, expected in (("1000000\n", 1_000_000), ("max\n", whole)):
        limit.write_text(text)
        assert memory.limit() == pytest.approx(expected)
