"""Every data set keeps the contract of `Dataset`; missing, damaged, foreign files get one line."""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.data import _idx, mnist
from pipeline.errors import UserError
from tests.data.files import (
    idx_bytes,
    mnist_arrays,
    one_line,
    served,
    write_cifar10,
    write_idx,
    write_npz,
    write_svhn,
)
from tests.data.pictures import write_classes

# ---------------------------------------------------------------- every data set


@pytest.fixture
def data_dir(tmp_path):
    return {
        "digits": None,
        "mnist": write_idx(tmp_path / "mnist"),
        "fashion_mnist": write_idx(tmp_path / "fashion"),
        "cifar10": write_cifar10(tmp_path / "cifar10"),
        "svhn": write_svhn(tmp_path / "svhn"),
        "npz": write_npz(tmp_path / "own.npz"),
        "folder": write_classes(tmp_path / "pictures"),
    }


@pytest.mark.parametrize("name", data.names())
def test_contract(name, data_dir):
    dataset = data.load(name, data_dir[name])
    n_classes = len(dataset.class_names)
    parts = (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    )
    assert dataset.name == name
    for images, door in parts:
        labels = door.read(np.arange(len(door)), "test")
        assert images.dtype == np.uint8
        assert images.shape == (len(door), *dataset.train_images.shape[1:])
        assert images.ndim == 4
        assert images.max() > 200, "pixels use the whole range"
        assert labels.dtype == np.int64
        assert door.n_classes == n_classes
        assert set(labels) - {-1} == set(range(n_classes))
    assert -1 not in labels, "every test label is known"
    assert data.load(name, data_dir[name]).digest == dataset.digest


def test_unknown_name_suggests_the_nearest_and_lists_the_known():
    with pytest.raises(
        UserError, match=r"mnits.*did you mean mnist\?.*cifar10, digits, fashion_mnist, folder"
    ):
        data.load("mnits", None)


@pytest.mark.parametrize("name", ["dataset", "_idx", "os", "../digits"])
def test_only_data_sets_can_be_loaded(name):
    with pytest.raises(UserError, match="is not known"):
        data.load(name, None)


def test_label_door_records_who_read_what():
    door = data.LabelDoor(np.array([5, 6, 7, -1]), 8)
    assert door.read(np.array([2, 0, 2]), "train").tolist() == [7, 5, 7]
    door.read(np.arange(4), "split")
    assert door.indices_read("train").tolist() == [0, 2]
    assert door.indices_read("split").tolist() == [0, 1, 2, 3]
    assert door.indices_read("evaluate").tolist() == []
    with pytest.raises(IndexError):
        door.read(np.array([1, 4]), "train")
    assert door.indices_read("train").tolist() == [0, 2]


def test_digits_test_part_is_stratified_and_never_moves():
    dataset = data.load("digits", None)
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (1437, 360)
    assert np.bincount(dataset.test_labels.read(np.arange(360), "test")).min() >= 34
    assert dataset.digest == "118500489eef4d5d"


def test_digits_does_not_ignore_a_data_dir(tmp_path):
    with pytest.raises(UserError, match="leave data_dir out"):
        data.load("digits", tmp_path)


# ---------------------------------------------------------------- IDX files


@pytest.mark.parametrize("dots", ["-idx", ".idx"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_spellings_are_one_data_set(tmp_path, dots, suffix):
    plain = data.load("mnist", write_idx(tmp_path / "plain"))
    folder = write_idx(tmp_path / "other", "{}" + suffix)
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace("-idx", dots))
    assert data.load("mnist", folder).digest == plain.digest


def test_digest_tells_one_label_apart(tmp_path):
    arrays = mnist_arrays()
    before = data.load("mnist", write_idx(tmp_path / "a", arrays=arrays)).digest
    arrays[1][0] = 9
    assert data.load("mnist", write_idx(tmp_path / "b", arrays=arrays)).digest != before


IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = _idx.FILES
GOOD_IMAGES, GOOD_LABELS = (idx_bytes(array) for array in mnist_arrays()[:2])
UNKNOWN_AS_255 = np.where(np.arange(40) < 30, np.arange(40) % 10, 255).astype(np.uint8)
GZIPPED = gzip.compress(GOOD_IMAGES)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (IMAGES, None, "data_dir=.* has no train-images-idx3-ubyte"),
        (TEST_LABELS, None, "data_dir=.* has no t10k-labels-idx1-ubyte"),
        (IMAGES, b"", "begins with nothing, expected"),
        (IMAGES, b"<html>not found</html>", "begins with 3c 68 74 6d, expected 00 00 08 03"),
        (IMAGES, b"\x00\x00\x08\x03\x00\x00", "at least 16 bytes"),
        (IMAGES, b"\x00\x00\x0d" + GOOD_IMAGES[3:], "begins with 00 00 0d 03"),
        (IMAGES, GOOD_LABELS, "begins with 00 00 08 01"),
        (LABELS, GOOD_IMAGES, "begins with 00 00 08 03"),
        (
            IMAGES,
            GOOD_IMAGES[:-1],
            f"cut short: {len(GOOD_IMAGES) - 17} bytes after",
        ),
        (IMAGES, GOOD_IMAGES + b"x", "too long: more bytes after"),
        (IMAGES, GOOD_IMAGES[:4] + b"\xff" * 12 + GOOD_IMAGES[16:], "TB, which is more than this"),
        # 2^64 pixels: 0 where the product overflows.
        (IMAGES, GOOD_IMAGES[:4] + struct.pack(">3I", 2**22, 2**21, 2**21), "more than this"),
        # Few bytes that unpack to many: no more are unpacked than the header says.
        (IMAGES, gzip.compress(GOOD_IMAGES + bytes(2**26)), "too long: more bytes"),
        (IMAGES, GZIPPED[: len(GZIPPED) // 2], "damaged gzip file"),
        (IMAGES, GZIPPED[:20] + b"\x00" * 20 + GZIPPED[40:], "damaged gzip file"),
        (IMAGES, GZIPPED + b"garbage", "damaged gzip file"),
        (IMAGES, idx_bytes(np.zeros((40, 32, 32), np.uint8)), "images are 32x32.*28x28"),
        (IMAGES, idx_bytes(np.zeros((0, 28, 28), np.uint8)), "train images are empty"),
        (LABELS, idx_bytes(np.arange(39, dtype=np.uint8) % 10), "there are 40 images"),
        (LABELS, idx_bytes(np.arange(40, dtype=np.uint8) % 11), "hold 10; allowed .*0..9"),
        (LABELS, idx_bytes(np.arange(40, dtype=np.uint8) % 9), "class 9 has no label"),
        (LABELS, idx_bytes(np.arange(40, dtype=np.uint8) % 11 * 5), "hold 50; allowed"),
        (LABELS, idx_bytes(UNKNOWN_AS_255), "255, which looks like 'unknown'.*use dataset=npz"),
    ],
)
def test_damaged_idx_file(tmp_path, file, content, words):
    folder = write_idx(tmp_path / "data")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        data.load("mnist", folder)
    assert str(folder) in one_line(error)


def test_data_dir_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist; .*train-images-idx3-ubyte"):
        data.load("mnist", tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match=r"file is not a folder; .*train-images-idx3-ubyte"):
        data.load("mnist", tmp_path / "file")
    with pytest.raises(UserError, match=r"is not a folder; .*for own arrays say dataset=npz"):
        data.load("mnist", write_npz(tmp_path / "own.npz"))


def test_a_relative_data_dir_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=rf"does not exist \(looked for {tmp_path}/nowhere\)"):
        data.load("mnist", Path("nowhere"))


def test_a_folder_of_own_data_is_told_from_idx_files(tmp_path):
    write_npz(tmp_path / "own.npz")
    with pytest.raises(UserError, match="or say dataset=npz for own arrays"):
        data.load("mnist", tmp_path)
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds 1 folder with 1 \.png file: .*dataset=folder"):
        data.load("mnist", tmp_path)


@pytest.mark.mnist
def test_real_mnist():
    folder = Path(os.environ.get("MNIST_DIR", ""))
    if not any(folder.glob("train-images*ubyte*")):
        pytest.skip("MNIST_DIR names no folder with the MNIST files")
    dataset = data.load("mnist", folder)
    assert dataset.train_images.shape == (60000, 28, 28, 1)
    assert dataset.test_images.shape == (10000, 28, 28, 1)
    first_labels = dataset.train_labels.read(np.arange(10), "test")
    assert first_labels.tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert dataset.train_images.mean() == pytest.approx(33.318, abs=0.001)


# ---------------------------------------------------------------- downloads


@pytest.fixture
def server_folder(tmp_path, monkeypatch):
    """Four gzipped files that a server on 127.0.0.1 gives out; and an empty home folder."""
    folder = write_idx(tmp_path / "served", "{}.gz")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    digests = [hashlib.md5((folder / f"{file}.gz").read_bytes()).hexdigest() for file in _idx.FILES]
    monkeypatch.setattr(mnist, "MD5", tuple(digests))
    with served(folder) as address:
        monkeypatch.setattr(mnist, "BASE_URL", address)
        yield folder


def test_download_once_and_again_only_what_got_damaged(server_folder, tmp_path):
    digest = data.load("mnist", None).digest
    cached = tmp_path / "home/.cache/ssgan/mnist" / f"{IMAGES}.gz"
    assert cached.is_file()
    for path in server_folder.iterdir():
        if path.name != cached.name:
            path.unlink()  # whatever is asked for again now fails
    cached.write_bytes(cached.read_bytes()[:-5])
    assert data.load("mnist", None).digest == digest
    (server_folder / cached.name).unlink()
    assert data.load("mnist", None).digest == digest
    assert data.load("mnist", cached.parent).digest == digest


@pytest.mark.parametrize(
    ("accident", "reason"),
    [("missing", "HTTP 404"), ("damaged", "wrong checksum"), ("offline", "ConnectionError")],
)
def test_failed_download_says_what_to_do_and_leaves_nothing(
    server_folder, tmp_path, monkeypatch, accident, reason
):
    if accident == "missing":
        (server_folder / f"{LABELS}.gz").unlink()
    elif accident == "damaged":
        (server_folder / f"{LABELS}.gz").write_bytes(GZIPPED)
    else:
        monkeypatch.setattr(mnist, "BASE_URL", "http://127.0.0.1:1/")
    with pytest.raises(UserError) as error:
        data.load("mnist", None)
    message = one_line(error)
    for words in (reason, "from 127.0.0.1:", *_idx.FILES, "data_dir=", "dataset=digits"):
        assert words in message
    kept = {path.name for path in (tmp_path / "home/.cache/ssgan/mnist").iterdir()}
    assert kept == (set() if accident == "offline" else {f"{IMAGES}.gz"})


def test_cache_folder_that_cannot_be_used(server_folder, tmp_path):
    (tmp_path / "home").write_text("a file where the home folder should be")
    with pytest.raises(UserError, match=r"cache folder .*home.* cannot be used"):
        data.load("mnist", None)
