"""A user's own arrays: what is accepted, and one line for what is not."""

import numpy as np
import pytest

from pipeline import data
from pipeline.errors import UserError
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
        ({"x_train": npz_arrays()["x_train"] / 255}, "train images are float64"),
        ({"x_train": np.zeros((12, 5), np.uint8)}, r"train images have shape \(12, 5\)"),
        ({"x_train": np.zeros((12, 3, 5, 6), np.uint8)}, "channels last"),
        ({"x_test": np.zeros((6, 5, 7, 3), np.uint8)}, "bring both to one shape"),
        ({"x_test": np.zeros((0, 5, 6, 3), np.uint8)}, "test images are empty"),
        ({"y_train": np.arange(12) % 3 / 1.0}, "train labels are float64"),
        ({"y_train": np.array([None] * 12)}, r"Object arrays cannot be loaded"),
        ({"y_train": np.arange(11) % 3}, "but there are 12 images"),
        ({"y_train": np.eye(12, dtype=int)}, r"train labels have shape \(12, 12\)"),
        ({"y_train": np.arange(12) % 3 - 2}, "train labels hold -2; allowed are -1 .unknown."),
        ({"y_train": np.full(12, 2**64 - 1, np.uint64)}, "train labels hold 18446744073709551615"),
        ({"y_train": np.arange(12) % 3 * 2}, "class 1 has no label"),
        ({"y_train": np.arange(12) % 3 + 1}, "class 0 has no label"),
        ({"y_train": np.arange(12) % 2}, "class 2 has no label"),
        ({"y_train": np.full(12, -1)}, "class 0 has no label"),
        ({"y_train": np.zeros(12, int), "y_test": np.zeros(6, int)}, "at least two classes"),
        ({"y_test": np.arange(6) % 3 - 1}, "test labels hold -1; allowed are 0..K-1"),
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


@pytest.mark.parametrize("files", [[], ["a.npz", "b.npz"]])
def test_npz_folder_must_hold_exactly_one(tmp_path, files):
    for file in files:
        write_npz(tmp_path / file)
    with pytest.raises(UserError, match=f"holds {len(files)} .npz files"):
        data.load("npz", tmp_path)


def test_npz_needs_a_data_dir(tmp_path):
    with pytest.raises(UserError, match="needs data_dir"):
        data.load("npz", None)
    with pytest.raises(UserError, match="does not exist"):
        data.load("npz", tmp_path / "nowhere.npz")
