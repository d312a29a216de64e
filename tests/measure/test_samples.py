import logging
import random

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from pipeline.measure import samples, scorer
from pipeline.ops import runtime


@pytest.fixture(scope="module", autouse=True)
def _tensorflow():
    runtime.start(0, None, True)  # with the threads that later tests count on


@pytest.fixture(scope="module")
def digits():
    """Train images, test images, train labels, test labels."""
    data = load_digits()
    images = np.round(data.images * 255 / 16).astype(np.uint8)[..., None]
    return train_test_split(
        images, data.target.astype(np.int64), test_size=360, stratify=data.target, random_state=0
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def features(digits, cache):
    train, _, y_train, _ = digits
    return scorer.domain_scorer(train, y_train, "digits", cache)


def noise(shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def rows(images):
    return images.reshape(len(images), -1).astype(np.float32) / 255


def test_kid_of_two_halves_is_zero_within_chance_and_of_noise_is_not(digits):
    real = rows(digits[0])
    rng = np.random.default_rng(0)
    halves = [
        samples.kid(*np.array_split(rng.permutation(real)[:400], 2), 2, 200, rng)[0]
        for _ in range(20)
    ]
    assert min(halves) < 0 < max(halves)  # unbiased: a biased estimate is never negative
    assert abs(np.mean(halves)) < 3 * np.std(halves) / np.sqrt(len(halves))
    assert samples.kid(real, rows(noise(digits[0].shape)), 5, 200, rng)[0] > 20 * np.std(halves)


def test_kid_equals_the_formula_written_out():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 4, 3)).astype(np.float32)

    def kernel(a, b):
        return (a @ b / 3 + 1) ** 3

    pairs = [(i, j) for i in range(4) for j in range(4)]
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs if i != j) / 12
    between = sum(kernel(x[i], y[j]) for i, j in pairs) / 16
    mean, error = samples.kid(x, y, 3, 4, rng)  # every subset is the whole
    assert mean == pytest.approx(within - 2 * between, rel=1e-5)
    assert error == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="subset_size=5"):
        samples.kid(x, y, 3, 5, rng)


def test_density_and_coverage_of_the_same_of_noise_and_of_a_collapsed_generator(digits):
    real = rows(digits[0])
    assert samples.density_coverage(real, real) == pytest.approx((1, 1), abs=0.01)
    assert max(samples.density_coverage(real, rows(noise(digits[0].shape)))) < 0.02
    density, coverage = samples.density_coverage(real, np.repeat(real[:1], 500, axis=0))
    assert density > 0.5  # each copy lies among real images
    assert coverage < 0.02  # but nearly all real images are far from it


def test_cas_error_is_low_for_real_images_and_chance_for_shuffled_labels(digits):
    train, test, y_train, y_test = digits
    score = samples.classification_accuracy_score
    assert score(train, y_train, test, y_test, seed=0) < 0.02
    shuffled = np.random.default_rng(0).permutation(y_train)
    assert score(train, shuffled, test, y_test, seed=0) > 0.7
    one_class = np.full(20, 3)
    assert score(train[:20], one_class, test, y_test, seed=0) == (y_test != 3).mean()


def test_scorer_features_tell_the_classes_apart_and_come_back_from_the_cache(
    digits, features, cache, monkeypatch
):
    train, test, y_train, y_test = digits
    neighbours = KNeighborsClassifier(5).fit(features(train), y_train)
    assert neighbours.score(features(test), y_test) > 0.9
    assert features(test).dtype == np.float32

    monkeypatch.setattr(scorer, "_train", None)  # training again would fail
    again = scorer.domain_scorer(train, y_train, "digits", cache)
    np.testing.assert_array_equal(again(test), features(test))
    assert [path.name for path in cache.iterdir()] == [f"scorer-{scorer.VERSION}-digits.keras"]


def test_damaged_cache_is_trained_again_without_touching_global_seeds(
    digits, features, tmp_path, caplog
):
    train, test, y_train, _ = digits
    path = tmp_path / f"scorer-{scorer.VERSION}-digits.keras"
    path.write_bytes(b"PK\x03\x04 half a file")
    before = random.getstate(), np.random.get_state()[1].tobytes()
    again = scorer.domain_scorer(train, y_train, "digits", tmp_path)
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before
    assert "training it again" in caplog.text
    assert path.stat().st_size > 10_000
    # The same seed; sums over threads may differ in the last bits and grow during training.
    assert np.corrcoef(again(test).ravel(), features(test).ravel())[0, 1] > 0.99


def test_scorer_ignores_unlabelled_images_and_follows_the_image_shape(tmp_path, monkeypatch):
    monkeypatch.setattr(scorer, "STEPS", 2)
    images, labels = noise((40, 12, 20, 3)), np.arange(40) % 3 - 1
    features = scorer.domain_scorer(images, labels, "rgb", tmp_path)
    assert features(images[:5]).shape == (5, scorer.FEATURES)
    with pytest.raises(ValueError, match="two classes"):
        scorer.domain_scorer(images, np.full(40, -1), "none", tmp_path)


def test_many_scorers_in_a_process_are_not_traced_anew(digits, features, cache, caplog):
    """As in the evaluation of a search's winners; TensorFlow would warn of it."""
    train, _, y_train, _ = digits
    with caplog.at_level("WARNING", "tensorflow"):
        logging.getLogger("tensorflow").addHandler(caplog.handler)
        for n in range(6):
            scorer.domain_scorer(train, y_train, "digits", cache)(train[: 500 + n])
        logging.getLogger("tensorflow").removeHandler(caplog.handler)
    assert not caplog.records


def test_measure_ranks_real_images_before_noise(digits, features):
    train, test, y_train, y_test = digits
    real, bad = (
        samples.measure(test, fake, y_train, test, y_test, features, seed=0).metrics
        for fake in (train, noise(train.shape))
    )
    assert set(real) == {"kid", "kid_se", "density", "coverage", "cas_error", "n"}
    assert abs(real["kid"]) < 0.03 < bad["kid"]
    assert real["coverage"] > 0.9
    assert bad["coverage"] < 0.3
    assert real["cas_error"] < 0.02
    assert bad["cas_error"] > 0.5
    assert real["n"] == len(train)
