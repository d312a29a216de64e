"""labels.csv: what it may say, and one line with its number for what it may not."""

from pathlib import Path

import numpy as np
import pytest

from pipeline import data
from pipeline.errors import UserError
from tests.data.files import one_line
from tests.data.pictures import content, put

PICTURES = ("a/1.png", "a/2.png", "b/3.png", "b/4.png", "5.png", "ä.png", "a/.hidden.png")
TESTS = "test/6.png"
SOUND = "path,label\na/1.png,cat\na/2.png,cat\nb/3.png,dog\nb/4.png,dog\n"


def folder_with(folder, table):
    for seed, name in enumerate(PICTURES):
        put(folder, name, content(seed))
    put(folder, "labels.csv", table if isinstance(table, bytes) else table.encode())
    return folder


def parts(folder):
    """File → class name, "" if it has none, of both parts."""
    dataset = data.load("folder", folder)
    names = (*dataset.class_names, "")
    doors = (dataset.train_labels, dataset.test_labels)
    return tuple(
        {f: names[k] for f, k in zip(files, door.read(np.arange(len(door)), "test"), strict=True)}
        for files, door in zip((dataset.train_files, dataset.test_files), doors, strict=True)
    )


FULL = (
    "path,label,part\na/1.png,cat,train\na/2.png,cat,TEST\nb/3.png,dog,\n./b//4.png,dog, test \n"
    "\nä.png,2,valid\n5.png,,unlabelled\n"
)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_usual_spelling_is_read(tmp_path, delimiter, start, end):
    table = start + FULL.replace(",", delimiter).replace("\n", end)
    train, test = parts(folder_with(tmp_path, table))
    assert train == {"5.png": "", "a/1.png": "cat", "b/3.png": "dog", "ä.png": "2"}
    assert test == {"a/2.png": "cat", "b/4.png": "dog"}


def test_columns_stand_in_any_order_and_others_are_passed_over(tmp_path):
    table = (
        'note,Label,PATH\n"x, ""y""\nz",cat,"a/1.png"\n,cat,a\\2.png\n,dog,b/3.png\n,dog,b/4.png'
    )
    train, test = parts(folder_with(tmp_path, table))
    assert {**train, **test} == {
        "a/1.png": "cat",
        "a/2.png": "cat",
        "b/3.png": "dog",
        "b/4.png": "dog",
        "5.png": "",
        "ä.png": "",
    }
    assert len(test) == 2, "one of each class"


def told(folder):
    return {found.name: found for found in data.load("folder", folder).findings}


@pytest.mark.parametrize("spelling", ["unlabelled", "Unlabeled"])
def test_the_label_of_an_unlabelled_part_is_not_read(tmp_path, spelling):
    table = f"path,label,part\na/1.png,cat,{spelling}\n5.png,cat,train\nb/3.png,dog,labelled\n"
    train, _ = parts(folder_with(tmp_path, table + "a/2.png,cat,test\n"))
    assert train == {"a/1.png": "", "5.png": "cat", "b/3.png": "dog", "b/4.png": "", "ä.png": ""}
    assert told(tmp_path)["hidden_labels"].count == 1
    assert "not read" in told(tmp_path)["hidden_labels"].sentence


def test_pictures_of_part_valid_are_told(tmp_path):
    folder_with(tmp_path, FULL)
    assert told(tmp_path)["valid_rows"].count == 1
    assert "valid_frac" in told(tmp_path)["valid_rows"].sentence
    put(tmp_path, "labels.csv", SOUND.encode())
    assert not {"valid_rows", "hidden_labels"} & told(tmp_path).keys()


@pytest.mark.parametrize(
    "word",
    [
        "-1",
        "NaN",
        " unknown ",
        "?",
        "None",
        "unlabelled",
        "-1.0",
        "<NA>",
        "#N/A",
        "not labelled",
        "-",
    ],
)
@pytest.mark.parametrize("part", ["", "train", "valid", "test"])
def test_a_word_for_unknown_is_no_class(tmp_path, word, part):
    table = f"path,label,part\na/1.png,cat,\nb/3.png,dog,\nb/4.png,dog,test\n5.png,{word},{part}\n"
    folder_with(tmp_path, table)
    with pytest.raises(UserError, match=r"line 5: the label .* looks like 'unknown'; leave it"):
        data.load("folder", tmp_path)
    put(tmp_path, "labels.csv", table.replace(f"{word},{part}", f"{word},labelled").encode())
    assert word.strip() in data.load("folder", tmp_path).class_names


@pytest.mark.parametrize("part", ["", "train", "valid", "test"])
def test_a_class_may_be_called_so_if_a_labelled_row_is(tmp_path, part):
    table = f"path,label,part\na/1.png,none,labelled\nb/3.png,dog,\n5.png,none,{part}\n"
    folder_with(tmp_path, table + "b/4.png,dog,test\n")
    assert data.load("folder", tmp_path).class_names == ("dog", "none")


@pytest.mark.parametrize("numbers", [("7", "12", "15", "40"), ("1001", "2002", "3003", "9999")])
def test_numbers_of_categories_are_no_sign_of_unknown(tmp_path, numbers):
    files = ("a/1.png", "a/2.png", "b/3.png", "b/4.png")
    rows = [f"{file},{number}" for file, number in zip(files, numbers, strict=True)]
    rows += [f"{file},{number}" for file, number in zip(("5.png", "ä.png"), numbers, strict=False)]
    folder = folder_with(tmp_path, "\n".join(["path,label", *rows]))
    assert set(data.load("folder", folder).class_names) == set(numbers)


@pytest.mark.parametrize("spelled", ["absolute", "through", "linked"])
def test_absolute_paths_are_found_however_the_folder_is_spelled(tmp_path, monkeypatch, spelled):
    folder = folder_with(tmp_path / "mine", "")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    written = tmp_path / "link" if spelled == "linked" else folder
    table = SOUND.replace("\na/", f"\n{written}/a/").replace("\nb/", f"\n{written}/b/")
    put(folder, "labels.csv", table.encode())
    given = {"absolute": folder, "through": Path("../mine"), "linked": tmp_path / "link"}[spelled]
    train, test = parts(given)
    assert {**train, **test}["a/1.png"] == "cat"


def test_labels_are_text(tmp_path):
    table = "path,label\na/1.png,10\na/2.png,2\nb/3.png,02\nb/4.png,2\n5.png,10\nä.png,02\n"
    dataset = data.load("folder", folder_with(tmp_path, table))
    assert dataset.class_names == ("02", "2", "10")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("", r"labels\.csv: is empty; write a first line path,label"),
        ("\n\n", "is empty"),
        ("name,label\na/1.png,cat\n", r"line 1: no column path among 'name', 'label'"),
        ("path\na/1.png\n", "line 1: no column label"),
        ("a/1.png,cat\n", "line 1: no column path and no column label"),
        ("path,label,path\n", "line 1: the column path stands there twice"),
        (SOUND + "c/9.png,cat\n", r"line 6: c/9\.png does not exist in .*correct the path"),
        (SOUND + "a,cat\n", "line 6: a is not among its pictures"),
        (SOUND + "a/.hidden.png,cat\n", r"line 6: a/\.hidden\.png is not among its pictures"),
        (SOUND + ",cat\n", "line 6: the path is empty"),
        (SOUND + "../x.png,cat\n", r"line 6: \.\./x\.png leaves"),
        (SOUND + "a/../../x.png,cat\n", "line 6: .*leaves"),
        (SOUND + "/etc/passwd,cat\n", "line 6: /etc/passwd leaves"),
        (SOUND + "C:\\x.png,cat\n", "line 6: .*leaves"),
        (SOUND + "a/1.png,dog\n", r"line 6: a/1\.png is labelled dog, train, but .*on line 2"),
        (SOUND + "a/1.png,\n", r"line 6: a/1\.png is unlabelled, train, but labelled cat"),
        ("path,label,part\na/1.png,cat,tset\n", "line 2: part 'tset' is not known; allowed are"),
        ("path,label,part\na/1.png,,test\n", "line 2: a test picture without a label"),
        (SOUND.encode() + "é.png,cat\n".encode("latin-1"), "line 6: not UTF-8"),
        (SOUND.encode("utf-16"), "line 1: not UTF-8"),
        (SOUND + 'a/1.png,"cat\n', "line 6: not a table"),
        (SOUND + 'a/1.png,"cat\na/2.png,cat\n', "line 6: not a table"),
        (
            SOUND + '"c.png,cat\n' + "b/3.png,dog\n" * 40 + '",cat\n',
            r"line 6 \(a quote there ends on line 47\): c\.png,cat.{60,100}… does not exist in",
        ),
        (SOUND + "a\0b,cat\n", "line 6"),
        (
            SOUND + "5.png,Paris, France\n",
            r"line 6: more cells than the first line has \('France'\); put quotes around a label",
        ),
        (FULL + "a/.hidden.png,cat,train,,x\n", "line 9: more cells than the first line has"),
        ("path,label\na/1.png,cat\n", "one class, cat"),
        (
            SOUND + "test/6.png,cat\n",
            r"line 6: test/6\.png has a label and lies in a folder of test pictures, .*column part",
        ),
        (FULL + "test/6.png,cat,\n", r"line 9: test/6\.png has a label"),
        ("path,label\n", "no labelled pictures to train on"),
        (
            "path,label\na/1.png,0\na/2.png,1\nb/3.png,2\nb/4.png,255\n",
            "line 5: the label '255' looks like 'unknown'",
        ),
        (SOUND + "b/3,cat\n", r"line 6: b/3 does not exist in .* \(is b/3\.png meant\?\)"),
        (SOUND + "3.png,cat\n", r"line 6: 3\.png does not exist in .* \(is b/3\.png meant\?\)"),
        (SOUND + "x/A/1.PNG,cat\n", r"line 6: x/A/1\.PNG does not exist .* \(is a/1\.png meant"),
        ("filename,label\na/1.png,cat\n", "line 1: the column filename is not read; call it path"),
        ("path,class\na/1.png,cat\n", "line 1: the column class is not read; call it label"),
        ("文件,标签\na/1.png,cat\n", "no column label among '文件', '标签'"),
        ("path,label,split\na/1.png,cat,test\n", "the column split is not read; call it part"),
    ],
)
def test_a_faulty_table_is_told_by_its_line(tmp_path, table, words):
    put(tmp_path, TESTS, content(9))
    folder_with(tmp_path, table)
    with pytest.raises(UserError, match=words) as error:
        data.load("folder", tmp_path)
    assert str(tmp_path) in one_line(error)


@pytest.mark.parametrize("place", ["images/test", "images/Testing/cat", "test/deeper"])
def test_a_labelled_picture_of_a_test_folder_anywhere_needs_a_part(tmp_path, place):
    put(tmp_path, f"{place}/6.png", content(9))
    folder_with(tmp_path, f"{SOUND}{place}/6.png,cat\n")
    with pytest.raises(UserError, match=r"line 6: .*6\.png has a label and lies in a folder of"):
        data.load("folder", tmp_path)
    folder_with(tmp_path, SOUND)
    told = {one.name: one for one in data.load("folder", tmp_path).findings}
    folder = place.removesuffix("/cat").removesuffix("/deeper")
    assert f"1 picture in the folder {folder};" in told["unlabelled_test_folder"].sentence


def test_empty_cells_beyond_the_first_line_say_nothing_and_quotes_hold_a_comma(tmp_path):
    table = 'path,label\na/1.png,"Paris, France",, \na/2.png,"Paris, Texas"\nb/3.png,dog,\n'
    dataset = data.load("folder", folder_with(tmp_path, table + "b/4.png,dog\n"))
    assert dataset.class_names == ("dog", "Paris, France", "Paris, Texas")


def test_parts_have_other_names_and_paths_may_be_absolute(tmp_path):
    table = f"sep=,\npath,label,part\n{tmp_path}/a/1.png,cat,testing\na/2.png,cat,val\n"
    train, test = parts(folder_with(tmp_path, table + "b/3.png,dog,Training\nb/4.png,dog,test\n"))
    assert test == {"a/1.png": "cat", "b/4.png": "dog"}
    assert train["a/2.png"] == "cat"


def test_folders_of_classes_that_the_table_does_not_name_are_told(tmp_path):
    for seed, name in enumerate(("labelled/bird/7.png", "cat/8.png", "cat/9.png", "more/1.png")):
        put(tmp_path, name, content(20 + seed))
    folder_with(tmp_path, SOUND)
    found = [one for one in data.load("folder", tmp_path).findings if "class_folder" in one.name]
    assert {one.count for one in found} == {1, 2}
    assert "no label of 2 pictures in the folder cat; so they are unlabelled" in found[0].sentence


def test_labels_of_the_same_number_are_told(tmp_path):
    table = "path,label\na/1.png,1\na/2.png,1.0\nb/3.png,2\nb/4.png,2\n5.png,1\nä.png,1.0\n"
    folder_with(tmp_path, table)
    assert "1 and 1.0" in told(tmp_path)["alike_classes"].sentence


def test_the_same_line_twice_is_one(tmp_path):
    train, test = parts(folder_with(tmp_path, SOUND + "./a/1.png,cat\n"))
    assert len(train) + len(test) == 6


def test_pictures_in_a_test_folder_that_the_table_does_not_name_are_told(tmp_path):
    put(tmp_path, TESTS, content(9))
    dataset = data.load("folder", folder_with(tmp_path, SOUND))
    told = {finding.name: finding for finding in dataset.findings}
    assert told["unlabelled_test_folder"].count == 1
    assert "Write test into the column part of labels.csv" in told["drawn_test"].sentence
    put(tmp_path / "other", TESTS, content(9))
    train, test = parts(folder_with(tmp_path / "other", FULL + "test/6.png,cat,test\n"))
    assert TESTS in test
    assert TESTS not in train


def test_labels_of_pictures_that_cannot_be_read_are_told_first(tmp_path):
    folder = folder_with(tmp_path, SOUND + "z.png,cat\n")
    for name in ("aaa.png", "z.png"):
        put(folder, name, b"no picture")
    (found,) = [f for f in data.load("folder", folder).findings if f.name == "unreadable"]
    assert "2 of 8 files cannot be used and were skipped, 1 of them labelled (z.png: " in (
        found.sentence
    )
