"""Near-equal images: what is found of photographs saved anew, and what is not of digits."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from pipeline.data._near_equal import near_equal


def jpeg(image, quality=60):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def scaled(image):
    size = image.shape[1], image.shape[0]
    small = Image.fromarray(image).resize((round(0.9 * size[0]), round(0.9 * size[1])), 2)
    return np.asarray(small.resize(size, 2))


def brightened(image):
    return np.clip(image.astype(int) + 10, 0, 255).astype(np.uint8)


def shifted(image):
    return np.concatenate([image[:, :1], image[:, :-1]], axis=1)


@pytest.fixture(scope="module")
def photographs():
    """Parts of two photographs that come with scikit-learn, uint8 [n, 32, 32, 3], none blank."""
    parts = [
        np.asarray(Image.fromarray(whole[y : y + 48, x : x + 48]).resize((32, 32)))
        for whole in load_sample_images().images
        for y in range(0, 376, 48)
        for x in range(0, 576, 48)
    ]
    return np.stack([part for part in parts if part.std(axis=(0, 1)).min() > 20])


def found(train, test, labels=None, **files):
    labels = np.full(len(train), -1) if labels is None else np.array(labels)
    return {finding.name: finding for finding in near_equal(train, labels, test, **files)}


def test_different_photographs_are_not_nearly_equal(photographs):
    assert len(photographs) > 80
    assert found(photographs[::2], photographs[1::2]) == {}


@pytest.mark.parametrize(
    ("change", "least"), [(jpeg, 0.9), (scaled, 0.98), (brightened, 1.0), (shifted, 0.9)]
)
def test_photographs_changed_a_little_are_found(photographs, change, least):
    changed = np.stack([change(image) for image in photographs])
    finding = found(photographs, changed)["near_equal_leaks"]
    assert finding.count >= least * len(photographs)
    assert f"{finding.count} of {len(photographs)} test images" in finding.sentence
    for name, text in finding.rows:
        assert text == f"nearly equal to {name.replace('test', 'training')}"


def test_large_images_and_grey_ones_are_compared_too(photographs):
    large = photographs.repeat(5, axis=1).repeat(5, axis=2)[:60]
    for images in (large, large.mean(axis=3, keepdims=True).astype(np.uint8)):
        squeeze = images.shape[3] == 1
        changed = [jpeg(image[..., 0] if squeeze else image) for image in images]
        test = np.stack(changed).reshape(images.shape)
        assert found(images, test)["near_equal_leaks"].count >= 55


def test_handwritten_digits_give_few_false_alarms():
    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    findings = found(images[:1437], images[1437:], digits.target[:1437])
    assert sum(finding.count for finding in findings.values()) <= 3
    # All the same, a digit that was saved anew is found.
    assert (
        found(images[:200], np.stack([brightened(image) for image in images[:200]]))[
            "near_equal_leaks"
        ].count
        >= 190
    )


def test_training_images_are_told_once_with_labels_at_odds(photographs):
    a, b, c, d = photographs[[0, 20, 40, 60]]
    train = np.stack([a, b, c, jpeg(a), d, brightened(b), scaled(a), jpeg(c)])
    findings = found(train, photographs[70:], [0, 0, 1, 1, 1, 0, -1, 1])
    assert list(findings) == ["near_equal_train", "near_equal_contradictions"]
    assert [name for name, _ in findings["near_equal_train"].rows] == [
        f"training image {i}" for i in (3, 5, 6, 7)
    ]
    assert findings["near_equal_contradictions"].rows == (
        ("training image 3", "nearly equal to training image 0"),
    )


def test_files_name_the_images(photographs):
    train, test = photographs[:3], brightened(photographs[1:2])
    findings = found(train, test, train_files=["x/a", "x/b", "x/c"], test_files=["y/d"])
    assert findings["near_equal_leaks"].rows == (("y/d", "nearly equal to x/b"),)


def test_equal_images_are_another_finding(photographs):
    train = np.concatenate([photographs, photographs[:20]])
    assert found(train, photographs[30:50]) == {}
    # One of equal training images stands for them, with a label if one of them has one.
    train = np.stack([photographs[0], photographs[0], jpeg(photographs[0])])
    findings = found(train, photographs[50:], [-1, 0, 1])
    assert findings["near_equal_contradictions"].rows == (
        ("training image 2", "nearly equal to training image 1"),
    )


def test_blank_images_and_other_tints_are_not_nearly_equal(photographs):
    rng = np.random.default_rng(0)
    blank = np.stack([np.full((32, 32, 3), level) for level in (0, 128, 255)]).repeat(9, axis=0)
    blank = np.clip(blank + rng.integers(-1, 2, blank.shape), 0, 255).astype(np.uint8)
    assert found(blank[::2], blank[1::2]) == {}
    darker = (photographs.astype(int) * [1.0, 0.6, 0.3]).astype(np.uint8)
    assert found(photographs, darker) == {}


def test_images_in_a_narrow_range_are_stretched_first(photographs):
    train = photographs // 16
    test = np.stack([shifted(image) for image in train])
    assert found(train, test)["near_equal_leaks"].count >= 0.85 * len(train)
    assert found(train[::2], train[1::2]) == {}


def test_a_thousand_pictures_of_one_scene_end_soon(photographs):
    rng = np.random.default_rng(0)
    noise = rng.integers(-3, 4, (1000, 32, 32, 3))
    scene = np.clip(photographs[7] + noise, 0, 255).astype(np.uint8)
    findings = found(scene[:800], scene[800:])
    assert findings["near_equal_train"].count == 799
    assert findings["near_equal_leaks"].count == 200


def test_worker_processes_find_the_same_in_a_mapped_file(photographs, tmp_path):
    rng = np.random.default_rng(0)
    n = 2100
    images = rng.integers(0, 256, (n, 16, 16, 3), np.uint8)
    images[2050] = images[3] // 8 * 8
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    findings = found(mapped, images[:1] // 8 * 8)
    assert findings["near_equal_train"].rows == (
        ("training image 2050", "nearly equal to training image 3"),
    )
    assert findings["near_equal_leaks"].count == 1
    few = found(images[[3, 2050]], images[:1])
    assert few["near_equal_train"].count == 1


def test_the_libraries_are_loaded_only_when_they_are_needed():
    script = (
        "import sys, pipeline.data; print(*{'faiss', 'imagehash', 'joblib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
