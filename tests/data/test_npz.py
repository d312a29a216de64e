"""A user's own arrays: what is accepted, and one line for what is not."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline import data, memory
from pipeline.errors import UserError
from tests.data.files import npz_arrays, one_line, write_idx, write_npz


def test_npz_in_a_folder_and_grey_images_get_a_channel(tmp_path):
    arrays = npz_arrays()
    grey = {name: arrays[name][..., 0] for name in ("x_train", "x_test")}
    write_npz(tmp_path / "grey.npz", **grey, y_train=arrays["y_train"].astype(np.int8))
    dataset = data.load("npz", tmp_path)
    assert dataset.train_images.shape == (12, 5, 6, 1)
    np.testing.assert_array_equal(dataset.train_images[..., 0], grey["x_train"])
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.train_labels.read(np.arange(4), "test").tolist() == [0, 1, 2, -1]


X = npz_arrays()["x_train"]


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


@pytest.mark.parametrize("damage", ["foreign", "empty", "truncated", "flipped"])
def test_damaged_npz(tmp_path, damage):
    path = write_npz(tmp_path / "own.npz")
    content = path.read_bytes()
    middle = len(content) // 4
    path.write_bytes(
        {
            "foreign": b"x_train,y_train\n1,2\n",
            "empty": b"",
            "truncated": content[:-50],
            "flipped": content[:middle]
            + bytes(b ^ 255 for b in content[middle:][:50])
            + content[middle + 50 :],
        }[damage]
    )
    with pytest.raises(UserError, match=r"own\.npz") as error:
        data.load("npz", path)
    assert "savez" in one_line(error)


def refusal(data_dir):
    with pytest.raises(UserError) as error:
        data.load("npz", data_dir)
    return one_line(error)


def test_npz_folder_must_hold_exactly_one(tmp_path):
    assert "holds no .npz file; put one there" in refusal(tmp_path)
    write_npz(tmp_path / "a.npz")
    data.load("npz", tmp_path)
    write_npz(tmp_path / "b.npz")
    assert "holds 2 .npz files (a.npz, b.npz); name one of them" in refusal(tmp_path)


def test_npz_needs_a_data_dir(tmp_path, monkeypatch):
    assert "needs data_dir" in refusal(None)
    assert "nowhere.npz does not exist; dataset=npz" in refusal(tmp_path / "nowhere.npz")
    monkeypatch.chdir(tmp_path)
    assert f"looked for {tmp_path}/nowhere.npz)" in refusal(Path("nowhere.npz"))
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123")
    assert "project's folder, not in the one where it was typed" in refusal(Path("nowhere.npz"))


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


# ---------------------------------------------------------------- other arrays, other files


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (["x_pool"], "rename x_pool to x_unlabelled"),
        (["label_names"], "rename label_names to class_names"),
        (["x_val", "y_val"], "append validation images .* valid_frac chooses"),
        (["X_train"], "file again without what is not read; optional are class_names .* and x_unl"),
        ([f"a{i}" for i in range(99)], r"holds a0, a1, .* and 91 more besides x_train"),
    ],
)
def test_arrays_that_nothing_reads_are_refused(tmp_path, others, words):
    path = write_npz(tmp_path / "own.npz", **dict.fromkeys(others, X))
    message = refusal(path)
    assert re.search(words, message)
    assert f"holds {others[0]}" in message
    assert "which would be left unread" in message


def test_arrays_under_other_names_are_told_theirs(tmp_path):
    arrays = npz_arrays()
    np.savez(
        tmp_path / "own.npz",
        X_train=arrays["x_train"],
        train_labels=arrays["y_train"],
        test_images=arrays["x_test"],
        y_test=arrays["y_test"],
    )
    message = refusal(tmp_path / "own.npz")
    assert "has no x_train, y_train, x_test; it holds X_train" in message
    assert "rename X_train to x_train, train_labels to y_train, test_images to x_test" in message


def test_picture_files_are_counted_and_told_the_way(tmp_path):
    for name, suffix, n in (("cats", ".jpg", 3), ("dogs", ".JPG", 2), ("dogs", ".png", 1)):
        (tmp_path / name).mkdir(exist_ok=True)
        for i in range(n):
            (tmp_path / name / f"{i}{suffix}").write_bytes(b"")
    (tmp_path / "cats" / "notes.txt").write_text("not a picture")
    message = refusal(tmp_path)
    assert "holds no .npz file but 2 folders with 5 .jpg and 1 .png files" in message
    assert "say dataset=folder" in message
    message = refusal(tmp_path / "cats" / "0.jpg")
    assert "a single picture, not an .npz file" in message
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(tmp_path.glob("*/*.[jJ]*")):
            archive.write(path, path.relative_to(tmp_path))
    message = refusal(tmp_path / "all.zip")
    assert (
        "a zip file of 2 folders with 5 .jpg files; unpack it, then say dataset=folder" in message
    )


def test_a_folder_of_other_files_says_what_they_are(tmp_path):
    assert "IDX files; say whose they are: dataset=mnist" in refusal(write_idx(tmp_path / "idx"))
    np.save(tmp_path / "x_train.npy", X)
    assert "but x_train.npy; load them and write it" in refusal(tmp_path)


def header(text: str) -> bytes:
    """The beginning of an array's file that describes it so."""
    said = text.encode() + b"\n"
    return b"\x93NUMPY\x02\x00" + len(said).to_bytes(4, "little") + said


@pytest.mark.parametrize(
    "said",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (9895604649984,), }",  # 9 TiB
        "{'descr': '|u1', 'fortran_order': False, 'shape': " + 9000 * "(" + 9000 * ")" + ", }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + 40 * "9" + ",), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-4,), }",
        "{'descr': 'O', 'fortran_order': False, 'shape': (4,), }",
        "",
    ],
    ids=["terabytes", "brackets", "overflow", "negative", "objects", "nothing"],
)
def test_an_array_s_header_may_say_anything(tmp_path, said):
    path = write_npz(tmp_path / "mine.npz", **npz_arrays())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, header(said) if name == "x_train.npy" else content)
    with pytest.raises(UserError, match="array x_train cannot be read") as error:
        data.load("npz", path)
    assert len(one_line(error)) < 600


def test_arrays_that_unpack_to_more_than_the_memory_are_not_unpacked(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    limit.write_text("1000")
    monkeypatch.setattr(memory, "CONTAINER_LIMITS", (limit,))
    path = write_npz(tmp_path / "mine.npz", **npz_arrays())
    with pytest.raises(UserError, match="of memory; give fewer or smaller images") as error:
        data.load("npz", path)
    one_line(error)
