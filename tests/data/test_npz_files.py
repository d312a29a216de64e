"""Files that are no arrays, arrays under other names, and headers that lie."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline import data, memory
from pipeline.errors import UserError
from tests.data.arrays import X, refusal
from tests.data.files import npz_arrays, one_line, write_idx, write_npz


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
