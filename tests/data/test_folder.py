"""A folder of pictures: layouts."""

import os
from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.errors import UserError
from tests.data.files import one_line
from tests.data.folders import finding, labels, load, refusal
from tests.data.pictures import content, put, write_classes


@pytest.mark.parametrize("unlabelled", ["unlabelled", "unlabeled", None])
@pytest.mark.parametrize("top", ["train", "labelled", "labeled", ""])
def test_folders_give_label_and_part(tmp_path, top, unlabelled):
    write_classes(tmp_path, (top, "test"), n=3)
    put(tmp_path, f"{top}/dog/deeper/9.jpg".lstrip("/"), content(9, "JPEG"))
    put(tmp_path, "test/.hidden/x.png", b"")
    put(tmp_path, ".DS_Store", b"")
    put(tmp_path, "__MACOSX/train/cat/._0.png", b"")
    put(tmp_path, "@eaDir/train/cat/0.png/SYNOPHOTO_THUMB_S.jpg", content(8, "JPEG"))
    put(tmp_path, f"{top}/cat/@eaDir/0.png/SYNOPHOTO_THUMB_S.jpg".lstrip("/"), content(8, "JPEG"))
    put(tmp_path, f"{top}/cat/Thumbs.db".lstrip("/"), b"")
    for i in range(2 if unlabelled else 0):
        put(tmp_path, f"{unlabelled}/a/{i}.png", content(50 + i))
    dataset = load(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    train, test = labels(dataset), labels(dataset, "test")
    assert list(train) == sorted(train)
    prefix = f"{top}/" if top else ""
    names = {f"{prefix}{name}/{i}.png": name for name in ("cat", "dog") for i in range(3)}
    names[f"{prefix}dog/deeper/9.jpg"] = "dog"
    names |= {f"{unlabelled}/a/{i}.png": "" for i in range(2 if unlabelled else 0)}
    assert train == names
    assert test == {f"test/{name}/{i}.png": name for name in ("cat", "dog") for i in range(3)}
    assert {found.name for found in dataset.findings} == {"small_test"}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("trainset", "TestSet"),
        ("Training", "test"),
        ("train", "Testing"),
        ("labelled", "testing"),
        ("", "Testing"),
    ],
)
def test_parts_have_other_names_too(tmp_path, train, test):
    write_classes(tmp_path, (train, test), n=3)
    put(tmp_path, "unlabelled/x.png", content(77))
    dataset = load(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert {name.split("/")[0] for name in dataset.test_files} == {test}
    assert len(dataset.test_files) == 6
    assert len(dataset.train_files) == 7


def test_a_class_may_be_called_training(tmp_path):
    write_classes(tmp_path, ("",), classes=("match", "Training", "testing"))
    put(tmp_path, "testing/deeper/x.png", content(78))
    assert load(tmp_path).class_names == ("match", "testing", "Training")


@pytest.mark.parametrize(
    "tops", [("images", "masks"), ("fold1", "fold2", "fold3"), ("Training", "images"), ("a", "Val")]
)
def test_parts_are_not_taken_for_classes(tmp_path, tops):
    write_classes(tmp_path, tops, n=2, classes=("cat", "dog"))
    said = refusal(tmp_path)
    if "Training" in tops:
        assert "holds images besides Training; beside Training there may be test" in said
    else:
        assert f"{tops[0]} and {tops[1]}" in said or f"{tops[1]} and {tops[0]}" in said
        assert "hold folders of the same names (cat, dog), so these look like parts" in said
        assert "name them train and test" in said


def test_training_and_validation_are_told_where_validation_comes_from(tmp_path):
    write_classes(tmp_path, ("Training", "Validation"), n=2)
    assert "holds Validation besides Training; move their pictures" in refusal(tmp_path)


def test_classes_with_folders_of_the_same_names_stand_in_train(tmp_path):
    write_classes(tmp_path, ("train/x", "train/y"), classes=("indoor", "outdoor"))
    assert load(tmp_path).class_names == ("x", "y")


def test_images_stand_in_the_order_of_their_files(tmp_path):
    write_classes(tmp_path, size=(32, 32))
    dataset = load(tmp_path)
    for part, images in (("train", dataset.train_images), ("test", dataset.test_images)):
        files = getattr(dataset, f"{part}_files")
        assert len(images) == len(files) == 10
        for file, image in zip(files, images, strict=True):
            np.testing.assert_array_equal(image, np.asarray(open_rgb(tmp_path / file)))
    assert isinstance(dataset.train_images, np.memmap)
    assert not dataset.train_images.flags.writeable


def open_rgb(path):
    from PIL import Image

    return Image.open(path).convert("RGB")


def test_classes_are_sorted_as_people_do(tmp_path):
    write_classes(tmp_path, ("",), n=2, classes=("10", "2", "b", "A1", "a10", "a2"))
    assert load(tmp_path).class_names == ("2", "10", "A1", "a2", "a10", "b")


def test_a_class_name_is_one_whatever_the_file_system_makes_of_it(tmp_path):
    write_classes(tmp_path, ("train",), n=2, classes=("Bär", "Cat"))
    write_classes(tmp_path, ("test",), n=2, classes=("Ba\u0308r", "Cat"))
    dataset = load(tmp_path)
    assert dataset.class_names == ("Bär", "Cat")
    assert "test/Bär/0.png" in dataset.test_files


def test_an_empty_class_folder_is_told(tmp_path):
    write_classes(tmp_path, ("train", "test"))
    (tmp_path / "train/emu").mkdir()
    put(tmp_path, "train/yak/0.png", b"")
    dataset = load(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    found = finding(dataset, "empty_classes")
    assert found.count == 2
    assert [row[0] for row in found.rows] == ["train/emu", "train/yak"]


def test_links_are_followed_and_loops_end(tmp_path):
    write_classes(tmp_path / "real", ("",), n=3)
    folder = tmp_path / "linked"
    (folder / "train").mkdir(parents=True)
    (folder / "train/cat").symlink_to(tmp_path / "real/cat")
    (folder / "train/dog").mkdir()
    (folder / "train/dog/a.png").symlink_to(tmp_path / "real/dog/0.png")
    (folder / "train/dog/loop").symlink_to(folder)
    (folder / "train/cats").symlink_to(tmp_path / "real/cat")
    for one, other in (("a", "b"), ("b", "a")):
        (folder / "unlabelled" / one).mkdir(parents=True, exist_ok=True)
        (folder / "unlabelled" / one / other).symlink_to(folder / "unlabelled" / other)
    (folder / "train/dog/self").symlink_to(folder / "train/dog/self")
    (folder / "train/dog/nowhere.png").symlink_to(tmp_path / "nowhere")
    put(folder, "test/cat/1.png", content(70))
    put(folder, "test/dog/1.png", content(71))
    dataset = load(folder)
    assert list(dataset.train_files) == [
        *(f"train/cat/{i}.png" for i in range(3)),
        "train/dog/a.png",
    ]
    reasons = dict(finding(dataset, "unreadable").rows)
    assert set(reasons) == {"train/dog/nowhere.png", "train/dog/self"}
    assert set(reasons.values()) == {"a link that leads nowhere"}
    assert finding(dataset, "empty_classes").rows == (("train/cats", "no usable picture"),)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "holds no pictures; dataset=folder needs a folder of pictures"),
        (["readme.txt"], r"holds no pictures but readme\.txt"),
        (["all.zip"], r"no pictures but all\.zip; unpack it there"),
        (["own.npz"], r"say dataset=npz"),
        (["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"], "IDX files; .*dataset=mnist"),
        (["1.png", "2.png"], "holds 2 files and no folders: needed are folders train/<class>"),
        (["cat/1.png"], "holds one class folder, cat; at least two"),
        (["train/cat/1.png"], "one class, cat; at least two"),
        (["train/1.png"], r"none of its 1 files .*train/1\.png: lies in no class folder"),
        (["unlabelled/1.png"], "holds unlabelled but no class folders"),
        (["test/cat/1.png", "test/dog/1.png"], "holds test, test/cat, test/dog but no class"),
        (["a/cat/1.png", "a/dog/1.png"], "holds one folder, a, .*say data_dir=.*/a"),
        (["a/train/cat/1.png"], "holds one folder, a, .*say data_dir=.*/a"),
        (["train/cat/1.png", "valid/cat/1.png"], r"holds valid besides train; .*valid_frac"),
        (["train/cat/1.png", "val/cat/1.png"], r"holds val besides train; .*valid_frac"),
        (["train/cat/1.png", "more/1.png"], "holds more besides train; .*test and unlabelled"),
        (["train/cat/1.png", "labelled/cat/1.png"], "holds both train and labelled"),
        (["train/a/1.png", "unlabeled/1.png", "unlabelled/1.png"], "holds unlabeled and unlab"),
        (["cat/1.png", "dog/1.png", "test/1.png"], r"test/1\.png lies in no folder test/<class>"),
        (["cat/1.png", "dog/1.png", "test/emu/1.png"], "is test a class or the test part"),
        (
            ["train/cat/1.png", "train/dog/1.png", "test/emu/1.png"],
            "the test part has pictures of emu, but training has none .*cat, dog",
        ),
        (
            ["cat/1.png", "dog/1.png", "test/cat/2.png", "val/cat/3.png", "val/dog/3.png"],
            r"val holds folders named as the classes beside it \(cat, dog\).*valid_frac",
        ),
        (
            ["left/1.png", "right/2.png", "both/left/3.png", "both/right/4.png"],
            "or name it test; if it is a class, put all class folders into a folder train",
        ),
        (
            ["bus/1.png", "car/2.png", "train/3.png"],
            "if train is a class, put all class folders into a new folder train",
        ),
        (["cat/1.png", "dog/1.png"], "no class has two labelled pictures"),
        (
            ["seg_train/cat/1.png", "seg_test/dog/1.png", "seg_pred/1.png"],
            "seg_test, seg_train look like parts.*put all class folders into a folder train",
        ),
        (["train2017/1.png", "val2017/1.png"], "train2017, val2017 look like parts"),
        (["train_images/1.png", "test_images/1.png"], "test_images, train_images look like parts"),
        (["cat/test/1.png", "dog/1.png"], r"cat/test lies in .* move them to test/cat, or rename"),
        (["train/cat/Testing/1.png", "train/dog/1.png"], "move them to Testing/cat"),
        (["cat/unlabeled/1.png", "dog/1.png"], "move them to unlabelled, or rename"),
        (["1.png", "Labels.csv"], r"Labels\.csv is not read; save it as labels\.csv"),
    ],
)
def test_a_folder_that_does_not_fit_is_told_what_would(tmp_path, files, words):
    folder = tmp_path / "mine"
    folder.mkdir()
    for seed, name in enumerate(files):
        put(folder, name, content(seed))
    with pytest.raises(UserError, match=words) as error:
        load(folder)
    assert str(folder) in one_line(error)


@pytest.mark.parametrize("name", ["Labels.csv", "label.csv", "labels.csv.txt", "labels.xlsx"])
def test_a_table_of_another_name_beside_folders_is_refused(tmp_path, name):
    write_classes(tmp_path, ("",), classes=("2023", "2024"))
    put(tmp_path, name, b"path,label\n2023/0.png,cat\n")
    with pytest.raises(UserError, match=r"is not read; save it as labels\.csv") as error:
        load(tmp_path)
    assert name in one_line(error)


@pytest.mark.parametrize("name", ["2023/labels.csv", "annotations.json", "prices.tsv"])
def test_a_table_that_may_hold_the_labels_is_told_by_name(tmp_path, name):
    write_classes(tmp_path, ("",), classes=("2023", "2024"))
    put(tmp_path, name, b"path,label\n2023/0.png,cat\n")
    (told,) = [found for found in load(tmp_path).findings if found.name == "unread_tables"]
    assert told.sentence.startswith(f"no label is read from {name}: the classes are the folders 20")


def test_classes_may_begin_as_parts_do(tmp_path):
    write_classes(tmp_path, ("",), classes=("train_station", "test tube", "valley", "trainer"))
    assert len(load(tmp_path).class_names) == 4


@pytest.mark.parametrize("train", ["train/", ""])
def test_files_in_no_class_folder_are_told_apart_from_broken_ones(tmp_path, train):
    write_classes(tmp_path, (train.rstrip("/"), "test"))
    put(tmp_path, "test/list.xlsx", b"no picture")
    put(tmp_path, "loose.png", content(77))
    dataset = load(tmp_path)
    assert finding(dataset, "unreadable").count == 1
    found = finding(dataset, "misplaced")
    assert found.count == 1
    assert "1 file in no class folder, so not used (loose.png)" in found.sentence
    put(tmp_path, "test/list.xlsx", content(78))
    assert finding(load(tmp_path), "misplaced").count == 2
    with pytest.raises(UserError, match="2 files cannot be used"):
        data.load("folder", tmp_path, data.Options(strict=True))


def test_a_data_dir_that_is_no_folder(tmp_path, monkeypatch):
    assert "needs data_dir" in refusal(None)
    assert "nowhere does not exist; dataset=folder needs" in refusal(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)
    assert f"(looked for {tmp_path}/nowhere)" in refusal(Path("nowhere"))
    for name, words in (
        ("a.zip", "unpack it"),
        ("a.tar.gz", "unpack it"),
        ("a.npz", "say dataset=npz"),
        ("labels.csv", f"data_dir={tmp_path}"),
        ("a.png", "needs a folder of pictures"),
    ):
        assert words in refusal(put(tmp_path, name, content()))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told(tmp_path):
    write_classes(tmp_path)
    (tmp_path / "train/cat/0.png").chmod(0)
    put(tmp_path, "train/dog/closed/1.png", content()).parent.chmod(0)
    try:
        rows = dict(finding(load(tmp_path), "unreadable").rows)
        assert rows == {
            "train/cat/0.png": "permission denied",
            "train/dog/closed": "folder: permission denied",
        }
        tmp_path.chmod(0)
        assert "permission denied" in refusal(tmp_path)
    finally:
        tmp_path.chmod(0o700)
        (tmp_path / "train/dog/closed").chmod(0o700)
