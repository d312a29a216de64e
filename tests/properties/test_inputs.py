"""Whatever a user gives is taken or refused in one line: nothing else is raised."""

import gzip
import io
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from pipeline.config import layers
from pipeline.config.own_keys import OWN
from pipeline.config.schema import RECORD, SAID, Config
from pipeline.data import _idx, npz
from pipeline.data import folder as folders
from pipeline.data.dataset import Dataset
from pipeline.errors import UserError

KEYS = st.sampled_from([*SAID, *OWN])
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([0, 1, -1, 0.5, 10**9]))
TEXTS = st.one_of(st.text(max_size=20), NUMBERS.map(str), st.sampled_from(["null", "true", "[]"]))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=10)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = ("x_train", "y_train", "x_test", "y_test", "class_names", "x")
ARRAYS = st.builds(
    lambda shape, kind, seed: np.random.default_rng(seed).integers(0, 9, shape).astype(kind),
    st.lists(st.integers(0, 5), min_size=0, max_size=4).map(tuple),
    st.sampled_from(["uint8", "int64", "float32", "bool", "U3"]),
    st.integers(0, 99),
)


def refused_in_one_line(error: UserError) -> None:
    said = str(error)
    assert said.strip()
    assert "\n" not in said
    assert "Traceback" not in said


def is_read_back(config: Config) -> None:
    again = layers.load({}, layers.from_yaml(layers.to_yaml(config))).flat()
    kept = config.flat().keys() - RECORD  # those say where and how often, and are the machine's
    assert {key: again[key] for key in kept} == {key: config.flat()[key] for key in kept}


@given(st.dictionaries(KEYS, TEXTS, max_size=4))
def test_flags_make_a_configuration_or_are_refused(flags):
    try:
        config = layers.load(flags)
    except UserError as error:
        refused_in_one_line(error)
        return
    is_read_back(config)


SOUND_FLAGS = {
    "augment_flip": "true",
    "data_dir": "/a b/ü",
    "decay": "linear",
    "dense_units": "[8, 4]",
    "ema_decay": "0.9",
    "generator_units": "[8]",
    "label_frac": "0.2",
    "penalty_weight": "1e-3",
    "seed": "3",
    "split_seed": "5",
    "steps": "77",
    "warm_up_share": "0.3",
}


@given(st.sets(st.sampled_from([*SOUND_FLAGS])))
def test_sound_flags_make_a_configuration_that_is_read_back(keys):
    config, plain = layers.load({key: SOUND_FLAGS[key] for key in keys}), layers.load({})
    assert all(config.flat()[key] != plain.flat()[key] for key in keys)
    is_read_back(config)


@example("kind: []")
@example("backbone: {a: 1}")
@given(st.one_of(st.text(max_size=80), st.dictionaries(KEYS, VALUES, max_size=4).map(yaml.dump)))
def test_a_file_makes_a_configuration_or_is_refused(text):
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "mine.yaml")
        file.write_text(text, encoding="utf-8", errors="ignore")
        try:
            layers.load({"config": str(file)})
        except UserError as error:
            refused_in_one_line(error)


IMAGES = np.arange(6 * 16, dtype=np.uint8).reshape(6, 4, 4) * 2
LABELS = np.arange(6) % 2
SOUND = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS}


@given(st.dictionaries(st.sampled_from(NAMES), ARRAYS, max_size=6))
def test_arrays_are_a_data_set_or_are_refused(arrays):
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "mine.npz")
        np.savez(file, **arrays)
        try:
            assert isinstance(npz.load(file), Dataset)
        except UserError as error:
            refused_in_one_line(error)


@given(st.data())
def test_damaged_arrays_are_refused_or_are_a_data_set(data):
    held = io.BytesIO()
    np.savez(held, **SOUND)
    content = bytearray(held.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "mine.npz")
        file.write_bytes(bytes(content))
        try:
            assert isinstance(npz.load(file), Dataset)
        except UserError as error:
            refused_in_one_line(error)


@given(st.sampled_from(npz.ARRAYS), st.booleans(), st.binary(max_size=200))
def test_any_bytes_as_an_array_are_refused(name, headed, content):
    """The other arrays are sound: only then are these bytes read at all."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "mine.npz")
        with zipfile.ZipFile(file, "w") as archive:
            for other, array in SOUND.items():
                held = io.BytesIO()
                np.save(held, array)
                damaged = b"\x93NUMPY\x01\x00" * headed + content
                archive.writestr(f"{other}.npy", damaged if other == name else held.getvalue())
        with pytest.raises(UserError) as told:
            npz.load(file)
    refused_in_one_line(told.value)
    assert "has no" not in str(told.value)  # it was not the list of names


@given(st.binary(max_size=60), st.booleans(), st.integers(0, 3), st.integers(0, 10))
def test_bytes_are_an_idx_file_or_are_refused(content, packed, cut, size):
    head = struct.pack(">BBBB3I", 0, 0, 8, 3, size, 2, 2)
    for held in (content, (head + content)[: len(head) + len(content) - cut]):
        with tempfile.TemporaryDirectory() as place:
            file = Path(place, "train-images-idx3-ubyte" + (".gz" if packed else ""))
            file.write_bytes(gzip.compress(held) if packed else held)
            try:
                found = _idx.read_idx(file, 3)
                assert found.ndim == 3
            except UserError as error:
                refused_in_one_line(error)


CELLS = st.one_of(
    st.sampled_from(["path", "label", "part", "a.png", "b.png", "test", "cat", "", '"']),
    st.text(max_size=6),
)


PICTURES = ("a.png", "b.png", "c.png", "d.png")
ROWS = st.lists(st.sampled_from([[name, f"cat{i % 2}"] for i, name in enumerate(PICTURES)]))
HEADS = st.sampled_from([[], [["path", "label"]], [["path", "label", "part"]]])
OTHERS = st.lists(st.lists(CELLS, max_size=4), max_size=3)


@given(HEADS, ROWS, OTHERS, st.sampled_from([",", ";", "\t"]))
def test_a_table_of_labels_is_taken_or_refused(head, sound, others, delimiter):
    """Below a sound head, and beside sound rows, the cells of the others are looked at."""
    with tempfile.TemporaryDirectory() as place:
        for number, name in enumerate(PICTURES):
            Image.new("L", (8, 8), 40 * number).save(Path(place, name))
        text = "\n".join(delimiter.join(cells) for cells in (*head, *sound, *others))
        Path(place, "labels.csv").write_bytes(text.encode("utf-8", "ignore"))
        try:
            assert isinstance(folders.load(Path(place), folders.Options()), Dataset)
        except UserError as error:
            refused_in_one_line(error)
