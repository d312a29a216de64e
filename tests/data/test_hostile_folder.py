"""A folder of pictures: what is told of files that cannot be used and of odd names."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.data.folders import finding, load, refusal
from tests.data.pictures import broken, content, odd, put, write_classes


def hostile(folder):
    """Sound pictures, odd ones and broken ones."""
    write_classes(folder, n=8)
    for name, what in odd().items():
        put(folder, f"train/cat/{name}", what)
    for name, (what, _) in broken().items():
        put(folder, f"train/dog/{name}", what)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "train/dog/pipe.png")
    put(folder, "train/dog/notes.txt", b"")
    put(folder, "train/dog/annotations.json", b"{}")
    return folder


def test_broken_files_are_named_and_change_nothing(tmp_path):
    whole = write_classes(tmp_path / "whole", n=8)
    for name, what in odd().items():
        put(whole, f"train/cat/{name}", what)
    expected = load(whole)
    assert finding(expected, "unreadable") is None
    dataset = load(hostile(tmp_path / "hostile"))
    np.testing.assert_array_equal(dataset.train_images, expected.train_images)
    np.testing.assert_array_equal(dataset.test_images, expected.test_images)
    assert dataset.train_files == expected.train_files
    assert dataset.digest == expected.digest
    found = finding(dataset, "unreadable")
    reasons = dict(found.rows)
    wanted = {f"train/dog/{name}": words for name, (_, words) in broken().items()}
    wanted["train/dog/pipe.png"] = "not a regular file"
    assert set(reasons) == set(wanted)
    assert found.count == len(found.rows) == len(wanted)
    for name, words in wanted.items():
        assert words in reasons[name], name
        assert reasons[name]
        assert "0x" not in reasons[name]
    assert finding(dataset, "companion_files").count == 2


def test_names_can_be_printed_and_stored(tmp_path):
    dataset = load(hostile(tmp_path))
    for name in dataset.train_files:
        assert name.encode("utf-8").decode() == name
        assert "\n" not in name
    assert "train/cat/latin-\\xe9.png" in dataset.train_files
    assert "train/cat/line\\nbreak.png" in dataset.train_files


def test_a_wrong_suffix_is_read_and_told(tmp_path):
    dataset = load(hostile(tmp_path))
    assert finding(dataset, "wrong_suffix").rows == (
        ("train/cat/really_a_jpeg.png", "is JPEG"),
        ("train/cat/really_a_png.jpg", "is PNG"),
    )


def test_strict_refuses_what_would_be_skipped(tmp_path):
    write_classes(tmp_path)
    sound = load(tmp_path, strict=True)
    for i in range(5):
        put(tmp_path, f"train/cat/broken{i}.png", b"")
    message = refusal(tmp_path, strict=True)
    assert "5 files cannot be used (train/cat/broken0.png: empty file" in message
    assert "and 2 more" in message
    assert load(tmp_path).digest == sound.digest
    assert refusal(tmp_path, strict=True) == message, "from the cache too"


def test_nothing_usable_is_refused(tmp_path):
    for name in ("cat", "dog"):
        put(tmp_path, f"train/{name}/0.png", b"")
    assert "none of its 2 files can be used (train/cat/0.png: empty file)" in refusal(tmp_path)
    put(tmp_path, "train/cat/1.png", content())
    assert "one class, cat; at least two classes" in refusal(tmp_path)
    put(tmp_path, "train/dog/1.png", content(1))
    put(tmp_path, "test/dog/1.png", b"")
    assert "none of the pictures of the test part can be used" in refusal(tmp_path)


def test_a_class_that_is_named_as_a_part_is_told(tmp_path):
    for seed in range(6):
        put(tmp_path, f"{('cat', 'valid')[seed % 2]}/{seed}.png", content(seed))
    dataset = load(tmp_path)
    assert dataset.class_names == ("cat", "valid")
    assert "the folder valid is read as a class" in finding(dataset, "class_named_as_part").sentence


@pytest.mark.parametrize("top", ["", "train/"])
@pytest.mark.parametrize("name", ["unknown", "no_label", "Unlabelled_images", "un-labelled", "NA"])
def test_a_class_that_is_named_as_if_nobody_knew_it_is_told(tmp_path, top, name):
    for seed in range(6):
        put(tmp_path, f"{top}{('cat', 'dog', name)[seed % 3]}/{seed}.png", content(seed))
    sentence = finding(load(tmp_path), "class_named_as_unknown").sentence
    assert sentence.startswith(f"read as a class: {top}{name}; if nobody knows")


def test_copies_of_drawn_test_pictures_are_not_trained_on(tmp_path):
    for seed in range(20):
        put(tmp_path, f"unlabelled/{seed}.png", content(seed))
        if seed < 8:
            put(tmp_path, f"labelled/{('cat', 'dog')[seed % 2]}/{seed}.png", content(seed))
    dataset = load(tmp_path)
    tested = {Path(file).name for file in dataset.test_files}
    assert tested
    assert not tested & {Path(file).name for file in dataset.train_files}
    assert len(dataset.train_files) + 2 * len(tested) == 28
    assert finding(dataset, "shared_images") is None
    told = finding(dataset, "test_copies")
    assert told.count == len(tested)
    assert {file for file, _ in told.rows} == {f"unlabelled/{name}" for name in tested}


@pytest.mark.parametrize("image_size", [None, 16])
def test_copies_in_other_files_stay_on_one_side(tmp_path, image_size):
    for seed in range(16):
        name = f"labelled/{('cat', 'dog')[seed % 2]}/{seed}"
        put(tmp_path, f"{name}.png", content(seed))
        put(tmp_path, f"{name} (1).bmp", content(seed, "BMP"))
        put(tmp_path, f"unlabelled/{seed}.tif", content(seed, "TIFF"))
    dataset = load(tmp_path, image_size=image_size)
    assert finding(dataset, "shared_images") is None
    shown = {Path(file).stem.split()[0] for file in dataset.test_files}
    assert len(dataset.test_files) == 2 * len(shown)
    assert not shown & {Path(file).stem.split()[0] for file in dataset.train_files}
    assert finding(dataset, "test_copies").count == len(shown)


def test_classes_that_differ_in_capitals_only_are_told(tmp_path):
    for seed, name in enumerate(("Cat/1.png", "Cat/2.png", "cat/3.png", "cat/4.png", "dog/5.png")):
        put(tmp_path, f"train/{name}", content(seed))
        put(tmp_path, f"test/{name}", content(seed + 10))
    dataset = load(tmp_path)
    assert dataset.class_names == ("Cat", "cat", "dog")
    assert "Cat and cat" in finding(dataset, "alike_classes").sentence
    put(tmp_path / "other", "a/1.png", content(0))
    assert "alike_classes" not in {one.name for one in load(write_classes(tmp_path / "x")).findings}


@pytest.mark.parametrize("folder", [" ", "train/ ", "test/\u00a0"])
def test_a_class_folder_with_a_blank_name_is_refused(tmp_path, folder):
    write_classes(tmp_path, (folder.rpartition("/")[0] and "train", "test"))
    put(tmp_path, f"{folder}/1.png", content(99))
    assert "holds a class folder whose name is blank" in refusal(tmp_path)
