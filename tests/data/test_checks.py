"""What is unusual in data: shared images, labels at odds, pixels in another range."""

import numpy as np
import pytest

from pipeline import data
from pipeline.data import _checks, _pixels
from tests.data.files import npz_arrays, write_npz

X = np.random.default_rng(0).integers(0, 256, (3000, 6, 7, 3), np.uint8)


def found(tmp_path, **changes):
    """Findings in data with these arrays, by name; the few test images are told below."""
    path = write_npz(tmp_path / "own.npz", **changes)
    findings = data.load("npz", path).findings
    return {finding.name: finding for finding in findings if finding.name != "small_test"}


def test_sound_data_give_no_finding(tmp_path):
    assert found(tmp_path) == {}
    assert data.load("digits", None).findings == ()


def test_classes_that_differ_in_capitals_only_are_told_of_arrays_too(tmp_path):
    names = np.array(["Cat", "cat", "dog"])
    told = found(tmp_path, class_names=names)["alike_classes"]
    assert told.count == 1
    assert "capitals only: Cat and cat;" in told.sentence


def test_test_images_that_are_training_images_too_are_counted(tmp_path):
    arrays = npz_arrays()
    arrays["x_test"][[1, 4]] = arrays["x_train"][[7, 7]]
    finding = found(tmp_path, **arrays)["shared_images"]
    assert finding.count == 2
    assert "2 of 6 test images equal a training image" in finding.sentence


def test_equal_images_with_other_labels_are_counted(tmp_path):
    arrays = npz_arrays()  # labels 0, 1, 2, unknown; …
    arrays["x_train"][[4, 5]] = arrays["x_train"][0]  # 0: the same class, 1: another
    arrays["x_train"][3] = arrays["x_train"][0]  # unknown
    arrays["x_train"][6] = arrays["x_train"][2]  # both 2
    finding = found(tmp_path, **arrays)["contradicting_labels"]
    assert finding.count == 3
    assert "3 training images have an equal one with another label" in finding.sentence


def labelled(labels, n_test=100, names="abc", tests=None, **options):
    """Findings on random images with these training labels, by name; all classes are tested."""
    labels = np.array(labels)
    tests = np.arange(n_test) % len(names) if tests is None else np.array(tests)
    images = X[: len(labels)] if "images" not in options else options.pop("images")
    found = _checks.findings(images, labels, X[-n_test:], tests, names, **options)
    return {finding.name: finding for finding in found}


def test_equal_images_have_rows_if_their_files_are_known():
    images = X[:8].copy()
    images[[3, 4, 6]] = images[0]
    files = [f"{i}.png" for i in range(8)]
    found = labelled([0, 1, 2, 0, 1, -1, -1, 0], images=images, train_files=files)
    assert list(found) == ["contradicting_labels", "equal_images", "single_image_classes"]
    assert found["contradicting_labels"].rows == (
        ("0.png", "is a, but 4.png, which equals it, is b"),
        ("3.png", "is a, but 4.png, which equals it, is b"),
        ("4.png", "is b, but 0.png, which equals it, is a"),
    )
    assert found["equal_images"].count == 3
    assert found["equal_images"].rows == tuple((f"{i}.png", "equals 0.png") for i in (3, 4, 6))


def test_test_images_that_are_training_images_have_rows_too():
    files = [f"train/{i}.png" for i in range(9)], [f"test/{i}.png" for i in range(40)]
    test = X[-40:].copy()
    test[[5, 7]] = X[[4, 2]]
    found = _checks.findings(X[:9], np.arange(9) % 3, test, np.arange(len(test)) % 3, "abc", *files)
    assert [finding.name for finding in found] == ["shared_images"]
    rows = (("test/5.png", "equals train/4.png"), ("test/7.png", "equals train/2.png"))
    assert found[0].rows == rows


def test_a_few_equal_training_images_without_files_are_not_told():
    images = X[:300].copy()
    images[1:4] = images[0]
    assert labelled([0, 1, 2] * 100, images=images).keys() == {"contradicting_labels"}
    images[4] = images[0]
    found = labelled([0] * 100 + [1, 2] * 100, images=images)
    assert list(found) == ["equal_images"]
    assert "4 of 300 training images equal an earlier one" in found["equal_images"].sentence
    assert found["equal_images"].rows == ()


# ---------------------------------------------------------------- classes and numbers


def test_classes_with_a_single_labelled_image_are_named():
    found = labelled([0, 0, 1, 2, -1, -1])
    assert list(found) == ["single_image_classes"]
    assert found["single_image_classes"].count == 2
    assert "2 of 3 classes have a single labelled training image (b, c)" in (
        found["single_image_classes"].sentence
    )
    assert labelled([0, 0, 1, 1, 2, 2]) == {}


def test_uneven_classes_are_told_beyond_ten_to_one():
    assert labelled([0] * 20 + [1] * 2 + [2] * 2 + [-1] * 500) == {}
    found = labelled([0] * 21 + [1] * 2 + [2] * 3)
    assert list(found) == ["imbalance"]
    assert found["imbalance"].count == 10
    assert "class a has 21 labelled training images, b 2" in found["imbalance"].sentence


def test_classes_without_a_test_image_are_named():
    found = labelled([0, 1, 2] * 5, tests=[0, 1] * 50)
    assert list(found) == ["untested_classes"]
    assert "1 of 3 classes have no test image (c)" in found["untested_classes"].sentence


def test_few_test_images_are_told_with_the_interval_they_allow():
    labels = [0, 1, 2] * 5
    assert labelled(labels, n_test=30) == {}
    found = labelled(labels, n_test=29)
    assert list(found) == ["small_test"]
    assert found["small_test"].count == 29
    assert "about 9% to 38% for an error of 20%" in found["small_test"].sentence
    many = [str(i) for i in range(200)]  # 5 a class, but the error is known well
    assert labelled([*range(200)] * 2, n_test=1000, names=many) == {}


def test_an_images_key_is_its_bytes():
    keys = _checks.image_keys(X)
    assert len(set(keys.tolist())) == len(X)
    np.testing.assert_array_equal(_checks.image_keys(X[::-1].copy())[::-1], keys)
    one_pixel = X.copy()
    one_pixel[:, 5, 6, 2] ^= 1
    assert not np.isin(_checks.image_keys(one_pixel), keys).any()


# ---------------------------------------------------------------- the range of the pixels


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 16), (0, 64), (100, 132), (60, 200)])
def test_a_narrow_range_is_found_and_stretched_without_loss(low, high):
    images = (low + X.astype(int) * (high - low) // 255).astype(np.uint8)
    assert _pixels.pixel_range(images) == (low, high)
    stretched = _pixels.stretching(low, high)[images]
    assert (stretched.min(), stretched.max()) == (0, 255)
    assert len(np.unique(stretched)) == len(np.unique(images))
    np.testing.assert_array_equal(_pixels.shrinking(low, high)[stretched], images)


@pytest.mark.parametrize("images", [X, X // 5 * 4 + 20, np.minimum(X, 210)])
def test_pixels_that_nearly_fill_their_range_stay_as_they_are(images):
    assert _pixels.pixel_range(images.astype(np.uint8)) == _pixels.FULL


def test_a_faulty_pixel_does_not_hide_a_narrow_range():
    images = 40 + X // 8
    images[7, 2, 3, 0], images[8, 0, 0, 1] = 255, 0
    assert _pixels.pixel_range(images) == (40, 71)
    images[:, 0, 0, 0] = 255  # in every image: it belongs to them
    images[:, 0, 0, 1] = 0
    assert _pixels.pixel_range(images) == _pixels.FULL


@pytest.mark.parametrize("dark", [1, 11])
def test_one_image_of_few_is_no_fault(dark):
    images = X[: dark + 1] // 3
    images[-1] = 80 + X[0] // 3 * 2
    assert _pixels.pixel_range(images) == _pixels.FULL


@pytest.mark.parametrize("ends", [(0, 16), (0, 1), (100, 150), _pixels.FULL])
def test_images_far_beyond_a_range_are_counted(ends):
    assert _pixels.from_text(_pixels.as_text(*ends)) == ends
    low, high = ends
    within = (low + X[:50].astype(int) * (high - low) // 255).astype(np.uint8)
    assert _pixels.far_beyond(within, *ends) == 0
    images = np.concatenate([within, X[:7]])
    assert _pixels.far_beyond(images, *ends) == (0 if ends == _pixels.FULL else 7)


@pytest.mark.parametrize("text", ["", "x", "9..3", "3..3", "0..256", "-1..16", "1..2..3"])
def test_another_text_is_no_range(text):
    assert _pixels.from_text(text) == _pixels.FULL


def test_of_many_images_a_thousandth_is_passed_over():
    images = X[:100] // 3
    images[0] = 255
    assert _pixels.pixel_range(images) == (0, 85)


@pytest.mark.parametrize("images", [X[:1] // 16, X[:2] // 16, np.eye(4, dtype=np.uint8)[:, None]])
def test_few_images_have_a_range_too(images):
    low, high = _pixels.pixel_range(images)
    assert 0 <= low < high <= 15


def test_a_narrow_range_is_told_with_the_smallest_and_largest_value(tmp_path):
    arrays = npz_arrays()
    arrays = {**arrays, "x_train": arrays["x_train"] // 16, "x_test": arrays["x_test"] // 16}
    finding = found(tmp_path, **arrays)["pixel_span"]
    assert finding.count == 15
    assert "lie in 0..15, not in 0..255" in finding.sentence
    arrays["x_train"][0, 0, 0, 0] = 200
    sentence = found(tmp_path, **arrays)["pixel_span"].sentence
    assert "lie in 0..200, nearly all of them in 0..15, not in 0..255" in sentence


def test_parts_on_two_scales_are_told(tmp_path):
    arrays = npz_arrays()
    findings = found(tmp_path, x_test=arrays["x_test"] // 255)
    assert list(findings) == ["test_pixel_span"]
    assert "test images lie in 0..1, those of the training images in 0..255" in (
        findings["test_pixel_span"].sentence
    )


def test_images_are_stretched_by_the_training_images_range(tmp_path):
    arrays = npz_arrays()
    x_train, x_test = arrays["x_train"] // 16 + 100, arrays["x_test"]
    dataset = data.load("npz", write_npz(tmp_path / "own.npz", x_train=x_train, x_test=x_test))
    assert dataset.pixel_range == (100, 115)
    np.testing.assert_array_equal(
        dataset.stretched(dataset.train_images), (x_train - np.uint8(100)) * 17
    )
    beyond = dataset.stretched(dataset.test_images)
    assert set(beyond[x_test <= 100]) == {0}
    assert set(beyond[x_test >= 115]) == {255}
    whole = data.load("digits", None)
    assert whole.stretched(whole.train_images) is whole.train_images
