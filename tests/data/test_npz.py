"""A user's own arrays: what is accepted, and one line for what is not."""

import re

import numpy as np
import pytest

from pipeline import data
from pipeline.errors import UserError
from tests.data.arrays import X, refusal
from tests.data.files import npz_arrays, one_line, write_npz


def test_npz_in_a_folder_and_grey_images_get_a_channel(tmp_path):
    arrays = npz_arrays()
    grey = {name: arrays[name][..., 0] for name in ("x_train", "x_test")}
    write_npz(tmp_path / "grey.npz", **grey, y_train=arrays["y_train"].astype(np.int8))
    dataset = data.load("npz", tmp_path)
    assert dataset.train_images.shape == (12, 5, 6, 1)
    np.testing.assert_array_equal(dataset.train_images[..., 0], grey["x_train"])
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.train_labels.read(np.arange(4), "test").tolist() == [0, 1, 2, -1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y_test": None}, "has no y_test; it holds x_train, y_train, x_test, needed are"),
        ({"x_train": X / 255}, r"train images are float64.*\(images \* 255\)\.round"),
        ({"x_train": X / 127.5 - 1}, r"these hold -1\.\.1, so write .*high - low"),
        ({"x_train": X.astype(np.int64)}, r"int64.*write images\.astype\(np\.uint8\)"),
        ({"x_train": X > 99}, r"train images are bool.*\* 255"),
        ({"x_train": np.array(["a.png"] * 12)}, "train images are <U5.*images themselves"),
        ({"x_train": X[..., 0].reshape(12, 30)}, r"shape \(12, 30\).*reshape\(-1, h, w\)"),
        ({"x_train": np.zeros((12, 64), np.uint8)}, r"images.reshape\(-1, 8, 8\)"),
        ({"x_train": np.zeros((12, 5, 6, 4), np.uint8)}, r"transparency.: images\[\.\.\., :3\]"),
        ({"x_train": np.full((12, 5, 6, 3), 7, np.uint8)}, "every pixel .* is 7.*nothing to learn"),
        ({"x_train": np.zeros((12, 5), np.uint8)}, r"train images have shape \(12, 5\)"),
        ({"x_train": np.zeros((12, 3, 5, 6), np.uint8)}, r"channels first.*moveaxis"),
        ({"x_test": np.zeros((6, 5, 7, 3), np.uint8)}, "bring both to one shape"),
        ({"x_test": np.zeros((0, 5, 6, 3), np.uint8)}, "test images are empty"),
        ({"y_train": np.arange(12) % 3 / 1.0}, r"train labels are float64.*labels.astype\(int\)"),
        ({"y_train": np.array([0, 1, 2, np.nan] * 3)}, r"NaN is -1 here.*nan_to_num"),
        (
            {"y_train": np.array([None] * 12)},
            r"y_train cannot .*Object.*y_train\.astype\(str\), with ''",
        ),
        ({"y_test": np.array([None] * 6)}, r"y_test cannot .*or as text: y_test\.astype\(str\)$"),
        ({"x_test": np.array([None] * 6)}, r"array x_test cannot .*Object arrays.*np\.stack"),
        ({"y_train": np.arange(11) % 3}, "but there are 12 images"),
        ({"y_train": np.arange(12)[:, None] % 3}, r"shape \(12, 1\).*: labels\.ravel\(\)"),
        ({"y_train": np.eye(12, dtype=int)}, r"train labels have shape \(12, 12\).*argmax"),
        ({"y_train": np.arange(12) % 3 - 2}, "train labels hold -2; allowed are -1 .unknown."),
        ({"y_train": np.full(12, 2**64 - 1, np.uint64)}, "train labels hold 18446744073709551615"),
        ({"y_train": np.arange(12) % 3 * 2}, "class 1 has no label"),
        ({"y_train": np.arange(12) % 3 + 1}, "class 0 has no label.*found are 1..3: subtract 1"),
        ({"y_train": np.arange(12) % 2 * 255}, "class 1 has no label.*without gaps"),
        ({"y_train": np.arange(12) % 2}, "class 2 has no label"),
        ({"y_train": np.full(12, -1)}, "class 0 has no label"),
        ({"y_train": np.zeros(12, int), "y_test": np.zeros(6, int)}, "at least two classes"),
        ({"y_test": np.arange(6) % 3 - 1}, "test labels hold -1; allowed are 0..K-1: move images"),
    ],
)
def test_unsuitable_npz(tmp_path, changes, words):
    path = write_npz(tmp_path / "own.npz", **changes)
    with pytest.raises(UserError, match=words) as error:
        data.load("npz", path)
    assert str(path) in one_line(error)


# ---------------------------------------------------------------- labels of other kinds


NAMES = np.array(["cat", "dog", "emu"])
TEXTS = {
    "y_train": np.array(["emu", "", "cat", "dog"] * 3),
    "y_test": NAMES[np.arange(6) % 3],
}


@pytest.mark.parametrize("kind", ["U", "S"])
def test_text_labels_are_numbered_in_the_order_of_the_alphabet(tmp_path, kind):
    arrays = {name: array.astype(kind) for name, array in TEXTS.items()}
    dataset = data.load("npz", write_npz(tmp_path / "own.npz", **arrays))
    assert dataset.class_names == ("cat", "dog", "emu")
    assert dataset.train_labels.read(np.arange(5), "test").tolist() == [2, -1, 0, 1, 2]
    assert dataset.test_labels.read(np.arange(4), "test").tolist() == [0, 1, 2, 0]


def test_class_names_decide_the_order_of_text_labels(tmp_path):
    path = write_npz(tmp_path / "own.npz", **TEXTS, class_names=np.array(["dog", "emu", "cat"]))
    dataset = data.load("npz", path)
    assert dataset.class_names == ("dog", "emu", "cat")
    assert dataset.train_labels.read(np.arange(5), "test").tolist() == [1, -1, 2, 0, 1]
    assert dataset.test_labels.read(np.arange(4), "test").tolist() == [2, 0, 1, 2]


def test_names_beyond_ascii_are_the_same_text_as_bytes(tmp_path):
    texts = {name: np.where(array == "emu", "Ñandú", array) for name, array in TEXTS.items()}
    encoded = {name: np.char.encode(array, "utf-8") for name, array in texts.items()}
    as_text, as_bytes = (
        data.load("npz", write_npz(tmp_path / f"{i}.npz", **arrays))
        for i, arrays in enumerate((texts, encoded))
    )
    assert as_text.class_names == as_bytes.class_names == ("cat", "dog", "Ñandú")
    assert as_text.digest == as_bytes.digest


def test_class_names_name_numbers(tmp_path):
    plain = data.load("npz", write_npz(tmp_path / "plain.npz"))
    named = data.load("npz", write_npz(tmp_path / "named.npz", class_names=NAMES))
    assert named.class_names == ("cat", "dog", "emu")
    assert named.digest == plain.digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"class_names": NAMES[:2]}, "class_names holds 2 names but the highest label is 2"),
        ({"class_names": np.array(list("abcd"))}, "holds 4 names but .* for each label 0..2"),
        ({"class_names": np.array(["a", "b", "a"])}, "class_names holds a more than once"),
        ({"class_names": np.array(["a", "b", ""])}, "class_names holds an empty name"),
        ({"class_names": np.arange(3)}, r"class_names is int64 of shape \(3,\); it must be text"),
        ({"class_names": NAMES[None]}, r"class_names is <U3 of shape \(1, 3\); it must be text"),
        ({"class_names": np.array([b"\xff", b"b", b"c"])}, "class_names: holds bytes .* UTF-8"),
        ({"class_names": NAMES.astype(object)}, r"array class_names cannot .*astype\(str\)"),
        ({**TEXTS, "class_names": NAMES[:2]}, "labels emu are not in class_names"),
        ({**TEXTS, "class_names": np.array([*NAMES, "fox"])}, r"class 3 \(fox\) has no label"),
        ({**TEXTS, "y_test": TEXTS["y_train"][:6]}, "y_test holds 2 empty texts.*x_unlabelled"),
        ({**TEXTS, "y_test": np.array(["ant"] * 6)}, r"class 0 \(ant\) has no label"),
        ({"y_train": TEXTS["y_train"]}, "y_train is <U3 but y_test is int64; give both"),
        ({"y_test": TEXTS["y_test"]}, "y_train is int64 but y_test is <U3; give both"),
        ({**TEXTS, "y_train": np.array(["cat"] * 12)}, r"class 1 \(dog\) has no label"),
        ({**TEXTS, "y_train": TEXTS["y_train"][:8]}, "train labels .* but there are 12 images"),
    ],
)
def test_unsuitable_names(tmp_path, changes, words):
    assert re.search(words, refusal(write_npz(tmp_path / "own.npz", **changes)))


@pytest.mark.parametrize("unknown", ["nan", "None", "-1", "Unknown"])
def test_a_text_that_reads_like_unknown_is_refused(tmp_path, unknown):
    labels = np.array(["emu", unknown, "cat", "dog"] * 3)
    path = write_npz(tmp_path / "own.npz", **{**TEXTS, "y_train": labels})
    message = refusal(path)
    assert f"y_train holds '{unknown}', which looks like 'unknown'" in message
    arrays = {"y_train": labels}
    exec(re.search(r"empty text: (.*) \(if", message)[1], arrays)
    dataset = data.load("npz", write_npz(path, **{**TEXTS, "y_train": arrays["y_train"]}))
    assert dataset.train_labels.read(np.arange(4), "test").tolist() == [2, -1, 0, 1]


def test_a_class_may_be_called_unknown(tmp_path):
    changes = {name: np.where(array == "emu", "unknown", array) for name, array in TEXTS.items()}
    dataset = data.load("npz", write_npz(tmp_path / "own.npz", **changes))
    assert dataset.class_names == ("cat", "dog", "unknown")


# ---------------------------------------------------------------- images without labels


@pytest.mark.parametrize("name", ["x_unlabelled", "x_unlabeled"])
def test_unlabelled_images_come_after_the_training_images(tmp_path, name):
    more = npz_arrays()["x_test"] // 2
    dataset = data.load("npz", write_npz(tmp_path / "own.npz", **{name: more}))
    assert len(dataset.train_images) == len(dataset.train_labels) == 18
    np.testing.assert_array_equal(dataset.train_images[12:], more)
    assert dataset.train_labels.read(np.arange(11, 18), "test").tolist() == [-1] * 7
    arrays = npz_arrays()
    by_hand = write_npz(
        tmp_path / "hand.npz",
        x_train=np.concatenate([arrays["x_train"], more]),
        y_train=np.concatenate([arrays["y_train"], np.full(6, -1)]),
    )
    assert dataset.digest == data.load("npz", by_hand).digest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_unlabelled": X[:, :4]}, r"unlabelled images are \(4, 6, 3\).*to one shape"),
        ({"x_unlabelled": X / 255}, r"unlabelled images are float64"),
        ({"x_unlabelled": X[:0]}, "unlabelled images are empty"),
        ({"x_unlabelled": np.array([None] * 6)}, "array x_unlabelled cannot .*np.stack"),
        ({"x_unlabelled": X, "x_unlabeled": X}, "x_unlabelled and x_unlabeled; join them"),
        ({"x_unlabelled": X, "y_train": np.arange(24) % 3}, "but there are 12 images"),
    ],
)
def test_unsuitable_unlabelled_images(tmp_path, changes, words):
    assert re.search(words, refusal(write_npz(tmp_path / "own.npz", **changes)))


# ---------------------------------------------------------------- numbers that mean something else


@pytest.mark.parametrize("unknown", [255, 99, 127, 30])
def test_a_label_far_above_the_others_looks_like_unknown(tmp_path, unknown):
    labels = np.array([0, 1, 2, unknown] * 3, np.uint8)
    path = write_npz(tmp_path / "own.npz", y_train=labels)
    message = refusal(path)
    assert f"train labels hold 0..2 and {unknown}, which looks like 'unknown'" in message
    arrays = {"y_train": labels}
    told = re.search(r"is -1: (.*) \(if", message)[1]
    for line in told.split(", then "):
        exec(line, {"np": np}, arrays)
    dataset = data.load("npz", write_npz(path, **arrays))
    assert dataset.train_labels.read(np.arange(4), "test").tolist() == [0, 1, 2, -1]


def test_an_unknown_test_label_is_refused_in_its_own_words(tmp_path):
    labels = np.array([0, 1, 2, 255, 0, 1], np.uint8)
    message = refusal(write_npz(tmp_path / "own.npz", y_test=labels))
    assert "test labels hold 0..2 and 255" in message
    assert "a test label cannot be unknown" in message


@pytest.mark.parametrize("lacking", [[8], [7, 8], range(3, 9), range(1, 9)])
def test_a_small_test_part_may_lack_classes_that_training_has(tmp_path, lacking):
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), np.uint8)
    labels = np.arange(20) % 10
    tested = ~np.isin(labels, lacking)
    arrays = {"x_train": images, "y_train": labels}
    write_npz(tmp_path / "x.npz", **arrays, x_test=images[tested], y_test=labels[tested])
    dataset = data.load("npz", tmp_path / "x.npz")
    assert len(dataset.class_names) == 10
    assert len(dataset.test_labels) == tested.sum()


def test_many_classes_up_to_255_are_no_unknown_ones(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (256, 4, 4), np.uint8)
    y = np.arange(256, dtype=np.uint8)
    dataset = data.load(
        "npz", write_npz(tmp_path / "own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    )
    assert len(dataset.class_names) == 256
