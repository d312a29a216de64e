"""CIFAR-10 and SVHN from files, archives and a server; one line for what is missing or damaged."""

import hashlib
import io
import tarfile

import numpy as np
import pytest

from pipeline import data, progress
from pipeline.data import cifar10, svhn
from pipeline.errors import UserError
from tests.data.files import (
    cifar10_records,
    colour_arrays,
    one_line,
    pack_cifar10,
    served,
    write_cifar10,
    write_svhn,
)


def refusal(name, data_dir):
    with pytest.raises(UserError) as error:
        data.load(name, data_dir)
    return one_line(error)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "home"


# ---------------------------------------------------------------- CIFAR-10


def test_cifar10_images_and_labels_are_those_of_the_records(tmp_path):
    dataset = data.load("cifar10", write_cifar10(tmp_path / "files"))
    assert len(dataset.train_images) == 10 + 20 + 10 + 20 + 10
    images, labels = colour_arrays(20, 1)  # the second file
    np.testing.assert_array_equal(dataset.train_images[10:30], images)
    assert dataset.train_labels.read(np.arange(10, 30), "test").tolist() == labels.tolist()
    np.testing.assert_array_equal(dataset.test_images, colour_arrays(20, 5)[0])
    assert dataset.class_names[0::9] == ("airplane", "truck")


def test_cifar10_is_one_data_set_wherever_it_lies(tmp_path):
    folder = write_cifar10(tmp_path / "a" / cifar10.FOLDER)
    digest = data.load("cifar10", folder).digest
    assert data.load("cifar10", folder.parent).digest == digest
    archive = pack_cifar10(folder, tmp_path / cifar10.ARCHIVE)
    assert data.load("cifar10", archive).digest == digest
    assert data.load("cifar10", tmp_path).digest == digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", cifar10.ARCHIVE]


GOOD = cifar10_records(*colour_arrays(10, 0))
OTHER_LABEL = GOOD[: 3 * cifar10.RECORD] + b"\x0b" + GOOD[3 * cifar10.RECORD + 1 :]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "has no data_batch_3.bin; replace"),
        (b"", "data_batch_3.bin: 0 bytes, expected 1 to 10,000 records of 3,073 bytes"),
        (GOOD[:-1], "data_batch_3.bin: 30729 bytes, expected"),
        (GOOD + b"x", "data_batch_3.bin: 30731 bytes, expected"),
        (OTHER_LABEL, "data_batch_3.bin: label 11 in record 3, allowed are 0..9"),
        (bytes(10_001 * cifar10.RECORD), "data_batch_3.bin: more than 30,730,000 bytes"),
    ],
)
def test_damaged_cifar10_file(tmp_path, content, words, packed):
    folder = write_cifar10(tmp_path / "files")
    (folder / "data_batch_3.bin").unlink()
    if content is not None:
        (folder / "data_batch_3.bin").write_bytes(content)
    source = pack_cifar10(folder, tmp_path / "own.tar.gz") if packed else folder
    message = refusal("cifar10", source)
    assert words in message
    assert str(source) in message


@pytest.mark.parametrize("damage", ["cut short", "flipped", "foreign", "empty"])
def test_damaged_cifar10_archive(tmp_path, damage):
    archive = pack_cifar10(write_cifar10(tmp_path / "files"), tmp_path / "own.tar.gz")
    content = archive.read_bytes()
    middle = len(content) // 2
    damaged = {
        "cut short": content[:middle],
        "flipped": content[:middle] + bytes(200) + content[middle + 200 :],
        "foreign": b"<html>not found</html>",
        "empty": b"",
    }
    archive.write_bytes(damaged[damage])
    message = refusal("cifar10", archive)
    assert "not a tar archive, or damaged" in message
    assert "leave data_dir out to download" in message


def test_links_and_foreign_paths_of_an_archive_touch_nothing(tmp_path):
    folder = write_cifar10(tmp_path / "files")
    archive = tmp_path / "own.tar"
    with tarfile.open(archive, "w") as tar:
        for name in cifar10.FILES[:-1]:
            tar.add(folder / name, f"../../{name}")
        link = tarfile.TarInfo("test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, str(folder / "test_batch.bin")
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    before = sorted(tmp_path.rglob("*"))
    assert "has no test_batch.bin" in refusal("cifar10", archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_pickled_cifar10_is_told_from_the_binary_one(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"\x80\x02}")
    archive = tmp_path / "b" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    for source in (folder, tmp_path, archive, archive.parent):
        message = refusal("cifar10", source)
        assert "nothing here is ever unpickled" in message
        assert f"the binary version is needed ({cifar10.ARCHIVE})" in message


def test_no_cifar10_in_data_dir(tmp_path):
    assert "does not exist; dataset=cifar10 needs" in refusal("cifar10", tmp_path / "nowhere")
    assert "holds neither cifar-10-batches-bin nor data_batch_1.bin" in refusal("cifar10", tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    assert "but 1 folder with 1 .png file" in refusal("cifar10", tmp_path)


def test_cifar10_is_downloaded_once_and_told(home, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "served"
    archive = pack_cifar10(write_cifar10(tmp_path / "files"), tmp_path / cifar10.ARCHIVE)
    folder.mkdir()
    archive = archive.rename(folder / archive.name)
    monkeypatch.setattr(cifar10, "MD5", hashlib.md5(archive.read_bytes()).hexdigest())
    with served(folder) as address, progress.shown():
        monkeypatch.setattr(cifar10, "BASE_URL", address)
        digest = data.load("cifar10", None).digest
        progress.note("loaded")
    assert f"download {cifar10.ARCHIVE}" in capsys.readouterr().err
    assert data.load("cifar10", None).digest == digest
    assert data.load("cifar10", home / ".cache/ssgan/cifar10").digest == digest
    assert data.load("cifar10", tmp_path / "files").digest == digest


@pytest.mark.parametrize("module", [cifar10, svhn])
def test_offline_says_what_to_do(home, monkeypatch, module):
    monkeypatch.setattr(module, "BASE_URL", "http://127.0.0.1:1/")
    name = module.__name__.rpartition(".")[2]
    message = refusal(name, None)
    assert f"dataset={name}: cannot download" in message
    assert "(ConnectionError); put" in message
    assert f"data_dir={home}/.cache/ssgan/{name}" in message


# ---------------------------------------------------------------- SVHN


def test_svhn_images_and_labels_are_those_of_the_files(tmp_path):
    dataset = data.load("svhn", write_svhn(tmp_path / "files"))
    images, labels = colour_arrays(20, 0)
    np.testing.assert_array_equal(dataset.train_images, images)
    assert dataset.train_labels.read(np.arange(20), "test").tolist() == labels.tolist()
    np.testing.assert_array_equal(dataset.test_images, colour_arrays(20, 1)[0])


X, Y = np.zeros((32, 32, 3, 20), np.uint8), np.ones((20, 1), np.uint8)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"y": Y[:19]}, "X is uint8 (32, 32, 3, 20) and y uint8 (19, 1), expected"),
        ({"X": X[:28]}, "X is uint8 (28, 32, 3, 20)"),
        ({"X": X / 255}, "X is float64"),
        ({"y": Y * 0}, "y holds 0, expected 1..10"),
        ({"y": Y * 11}, "y holds 11, expected 1..10"),
        ({"y": Y * 2.5}, "y holds 2.5, expected 1..10"),
        ({"X": X[..., :0], "y": Y[:0]}, "train images are empty"),
        ({"y": np.array([["a"]] * 20)}, "y holds a, expected"),
    ],
)
def test_unsuitable_svhn(tmp_path, changes, words):
    folder = write_svhn(tmp_path / "files", **changes)
    message = refusal("svhn", folder)
    assert words in message
    assert str(folder) in message


def test_damaged_svhn(tmp_path):
    folder = write_svhn(tmp_path / "files")
    path = folder / svhn.FILES[0]
    content = path.read_bytes()
    middle = len(content) // 2
    hdf5 = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + content[128:]
    flipped = content[:middle] + bytes(100) + content[middle + 100 :]
    for damaged in (content[:middle], flipped, content[128:], b"", b"<html>", hdf5):
        path.write_bytes(damaged)
        assert "train_32x32.mat: not a readable MATLAB file" in refusal("svhn", folder)
    path.unlink()
    assert f"has no {svhn.FILES[0]}; dataset=svhn needs" in refusal("svhn", folder)
    assert "is not a folder; dataset=svhn needs" in refusal("svhn", folder / "nowhere")


def test_svhn_is_downloaded(home, tmp_path, monkeypatch):
    folder = write_svhn(tmp_path / "served")
    digests = [hashlib.md5((folder / name).read_bytes()).hexdigest() for name in svhn.FILES]
    monkeypatch.setattr(svhn, "MD5", digests)
    with served(folder) as address:
        monkeypatch.setattr(svhn, "BASE_URL", address)
        assert data.load("svhn", None).digest == data.load("svhn", folder).digest
