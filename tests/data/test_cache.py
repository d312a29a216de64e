"""Decoded pictures are kept: found again, made again where damaged, never half-written."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.data import Options, _cache, _entry, _reading
from pipeline.errors import UserError
from tests.data.files import one_line
from tests.data.pictures import content, put, write_classes

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home; its cache."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home/.cache/ssgan/pictures"


@pytest.fixture
def steps(monkeypatch):
    """What was done to the files: "look", "decode"."""
    done = []
    for name in ("look", "decode"):
        step = getattr(_reading, name)
        monkeypatch.setattr(
            _reading, name, lambda *a, step=step, name=name: (done.append(name), step(*a))[1]
        )
    return done


def load(folder, **options):
    return data.load("folder", folder, Options(**options))


def entries(home):
    return sorted(path for path in home.iterdir() if path.name != "listings")


def same(one, other):
    """Whether two data sets are equal in all that they hold."""
    for part in ("train", "test"):
        images = f"{part}_images"
        np.testing.assert_array_equal(getattr(one, images), getattr(other, images))
        doors = getattr(one, f"{part}_labels"), getattr(other, f"{part}_labels")
        read = [door.read(np.arange(len(door)), "test").tolist() for door in doors]
        assert read[0] == read[1]
    for name in ("class_names", "digest", "findings", "pixel_range", "train_files", "test_files"):
        assert getattr(one, name) == getattr(other, name)
    return True


def test_an_unchanged_folder_is_not_opened_again(tmp_path, home, steps):
    folder = write_classes(tmp_path / "mine", ("train",))
    put(folder, "train/cat/broken.png", b"x")
    put(folder, "train/cat/wrong.jpg", content(99))
    first = load(folder)
    assert steps == ["look", "decode"]
    assert same(load(folder), first)
    assert steps == ["look", "decode"]
    assert {found.name for found in first.findings} >= {"unreadable", "wrong_suffix", "drawn_test"}
    (entry,) = entries(home)
    assert sorted(path.name for path in entry.iterdir()) == [
        "about.json",
        "images.npy",
        "table.npz",
    ]


def test_a_touched_or_copied_folder_is_not_decoded_again(tmp_path, home, steps):
    folder = write_classes(tmp_path / "mine")
    first = load(folder)
    os.utime(folder / "train/cat/0.png")
    assert same(load(folder), first)
    shutil.copytree(folder, tmp_path / "copy")
    assert same(load(tmp_path / "copy"), first)
    assert steps == ["look", "decode", "look", "look"]
    assert len(entries(home)) == 1


@pytest.mark.parametrize("change", ["pixels", "name", "label", "more", "size", "fit", "test_frac"])
def test_what_decides_the_result_is_read_anew(tmp_path, home, change):
    folder = write_classes(tmp_path / "mine", ("",), size=(40, 33))
    first = load(folder)
    path, options = folder / "cat/0.png", {}
    if change == "pixels":
        time_before = path.stat().st_mtime_ns
        path.write_bytes(content(77, size=(40, 33)))
        os.utime(path, ns=(time_before, time_before))
    elif change == "name":
        path.rename(folder / "cat/00.png")
    elif change == "label":
        path.rename(folder / "dog/00.png")
    elif change == "more":
        put(folder, "dog/9.png", content(88))
    else:
        options = {"size": {"image_size": 20}, "fit": {"fit": "pad"}}.get(
            change, {"test_frac": 0.5}
        )
    again = load(folder, **options)
    assert len(entries(home)) == 2
    digests = first.digest, again.digest
    assert (digests[0] == digests[1]) == (change == "name")
    if change == "name":
        assert again.train_files + again.test_files != first.train_files + first.test_files


def test_the_digest_tells_class_names_apart(tmp_path, home):
    digests = set()
    for number, classes in enumerate((("cat", "dog"), ("cat", "emu"))):
        folder = write_classes(tmp_path / str(number), classes=classes)
        digests.add(load(folder).digest)
    assert len(digests) == 2


DAMAGES = {
    "short images": lambda entry: os.truncate(entry / "images.npy", 300),
    "no images": lambda entry: (entry / "images.npy").unlink(),
    "short table": lambda entry: os.truncate(entry / "table.npz", 100),
    "other table": lambda entry: flip(entry / "table.npz"),
    "empty about": lambda entry: (entry / "about.json").write_text(""),
    "other about": lambda entry: (entry / "about.json").write_text("[1, 2]"),
    "less about": lambda entry: forget(entry / "about.json"),
    "no about": lambda entry: (entry / "about.json").unlink(),
    "a file": lambda entry: (shutil.rmtree(entry), entry.write_text("x")),
}


def flip(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(b ^ 255 for b in content[middle : middle + 200])
    path.write_bytes(bytes(content))


def forget(path):
    about = json.loads(path.read_text())
    del about["bytes"]
    path.write_text(json.dumps(about))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_anew(tmp_path, home, steps, damage):
    folder = write_classes(tmp_path / "mine")
    first = load(folder)
    expected = np.array(first.train_images)
    (entry,) = entries(home)
    del first
    DAMAGES[damage](entry)
    np.testing.assert_array_equal(load(folder).train_images, expected)
    assert entries(home) == [entry]
    load(folder)
    assert steps == ["look", "decode"] * 2


@pytest.mark.parametrize("content", ["", "nonsense", "é"])
def test_a_damaged_note_of_the_listing_is_only_slower(tmp_path, home, steps, content):
    folder = write_classes(tmp_path / "mine")
    first = load(folder)
    (note,) = (home / "listings").iterdir()
    note.write_text(content, encoding="latin-1")
    assert same(load(folder), first)
    assert steps == ["look", "decode", "look"]


def test_a_cache_that_cannot_be_written_is_told(tmp_path, home):
    home.parent.mkdir(parents=True)
    home.write_text("a file where the cache should be")
    with pytest.raises(UserError, match=r"cannot be kept in .*pictures .*set HOME") as error:
        load(write_classes(tmp_path / "mine"))
    assert "MB are needed" in one_line(error)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_and_nothing_stays(tmp_path, home, monkeypatch):
    def on_a_full_disk(path, *_):
        with Path("/dev/full").open("wb") as file:
            file.write(b"x")

    monkeypatch.setattr(_cache, "write_images", on_a_full_disk)
    with pytest.raises(UserError, match=r"No space left on device.*free space"):
        load(write_classes(tmp_path / "mine"))
    assert entries(home) == []


def test_an_interrupted_reading_leaves_nothing(tmp_path, home, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    folder = write_classes(tmp_path / "mine")
    with monkeypatch.context() as patch:
        patch.setattr(_entry, "build", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(folder)
    assert entries(home) == []
    assert len(load(folder).train_images) == 10


@pytest.mark.parametrize("change", ["vanishes", "is written", "is added"])
def test_a_folder_that_changes_while_it_is_read(tmp_path, home, monkeypatch, change):
    folder = write_classes(tmp_path / "mine")
    path = folder / "train/cat/1.png"

    def meanwhile(*arguments):
        if change == "vanishes":
            path.unlink()
        elif change == "is written":
            path.write_bytes(content(500))
        else:
            put(folder, "train/cat/new.png", content(500))
        return decode(*arguments)

    decode = _reading.decode
    with monkeypatch.context() as patch:
        patch.setattr(_reading, "decode", meanwhile)
        if change == "is added":
            assert len(load(folder).train_files) == 10
        else:
            with pytest.raises(
                UserError, match=r"1 of its files changed .*train/cat/1\.png.*run again"
            ):
                load(folder)
            assert entries(home) == []
    assert (
        len(load(folder).train_files) == {"vanishes": 9, "is written": 10, "is added": 11}[change]
    )


def test_two_processes_at_once_make_one_entry(tmp_path, home):
    folder = write_classes(tmp_path / "mine", n=30)
    script = (
        "import sys; from pathlib import Path; from pipeline import data\n"
        "print(data.load('folder', Path(sys.argv[1])).digest)"
    )
    command = [sys.executable, "-c", script, str(folder)]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert told == [f"{load(folder).digest}\n"] * 2
    assert len(entries(home)) == 1


def test_the_last_ones_used_are_kept(tmp_path, home, monkeypatch):
    monkeypatch.setattr(_cache, "ENTRIES", 2)
    folders = [write_classes(tmp_path / str(n), classes=("a", f"b{n}")) for n in range(3)]
    left_behind = home / f"{_cache.UNFINISHED}old"
    made = []
    for folder in folders[:2]:
        load(folder)
        made += [entry for entry in entries(home) if entry not in made]
    left_behind.mkdir()
    for path, age in ((made[0] / "about.json", 50), (made[1] / "about.json", 90)):
        os.utime(path, (time.time() - age,) * 2)
    os.utime(left_behind, (0, 0))
    load(folders[2])
    assert made[0] in entries(home)
    assert made[1] not in entries(home)
    assert not left_behind.exists()
    assert len(list((home / "listings").iterdir())) == 2
    monkeypatch.setattr(_cache, "BYTES", 0)
    load(folders[1])
    assert len(entries(home)) == 1, "the new one stays however large it is"
