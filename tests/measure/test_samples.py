"""Real images, copies and noise as samples of digits, measured as a run's are."""

import logging
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from pipeline.errors import RunFailure
from pipeline.measure import reference, samples, scorer
from pipeline.measure.cas import cas_error
from pipeline.measure.samples import Generated
from pipeline.ops import runtime
from tests.conftest import ROOT

NAMES = [f"digit {k}" for k in range(10)]


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


def referred(digits, cache, generated=(8, 8)):
    train, test, y_train, y_test = digits
    return reference.reference(train, y_train, test, y_test, generated, "digits", cache)


@pytest.fixture(scope="module")
def real(digits, cache):
    return referred(digits, cache)


def noise(shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def copies(digits, real, sets=3):
    """Training images of the classes of the test images."""
    train, _, y_train, _ = digits
    drawing = np.random.default_rng(1)
    for _ in range(sets):
        wanted = np.sort(real.real.labels)
        places = [drawing.choice(np.flatnonzero(y_train == label)) for label in wanted]
        yield Generated(train[places], wanted)


# ---------------------------------------------------------------- what samples get


def test_copies_of_training_images_score_well_and_are_seen_as_copies(digits, real):
    found = samples.measure(real, copies(digits, real), NAMES, seed=0)
    got = found.metrics
    assert got["n"] == 360
    assert got["sets"] == 3
    assert abs(got["kid"]) < 0.02
    assert got["coverage"] > 0.9
    assert got["read_as_wanted"] > 0.95
    assert got["cas_error"] < 0.1
    assert got["nearer_to_training"] > 0.95
    assert min(got[f"{name}_se"] for name in ("kid", "coverage", "density")) > 0
    # The nearest pairs are the same image twice.
    np.testing.assert_array_equal(found.pairs.samples[0], found.pairs.training[0])
    assert found.pairs.samples.shape == (2, samples.SHOWN, 8, 8, 1)


def test_copies_of_withheld_images_are_copies(digits, real):
    train, _, y_train, y_test = digits
    drawing = np.random.default_rng(reference.SEED)
    labels = y_test[drawing.permutation(len(y_test))]
    withheld = reference._withheld(y_train, labels, drawing)
    got = samples.measure(real, [Generated(train[withheld], y_train[withheld])], NAMES, 0).metrics
    assert got["nearer_to_training"] > 0.9
    assert got["coverage"] == pytest.approx(got["coverage_real"])  # they are the floor's own images


def test_other_real_images_stand_beside_every_measure(digits, real):
    got = samples.measure(real, copies(digits, real, 1), NAMES, seed=0).metrics
    measured = {name for name in got if not name.endswith(("_se", "_real"))} - {"n", "sets"}
    assert {f"{name}_real" for name in measured} == {name for name in got if name[-5:] == "_real"}
    assert abs(got["kid_real"]) < 0.02
    assert 0.9 < got["coverage_real"] <= 1
    assert 0.8 < got["density_real"] < 1.2
    assert 0.4 < got["nearer_to_training_real"] < 0.6
    assert got["read_as_wanted_real"] > 0.9


def test_noise_scores_badly(real):
    wanted = np.sort(real.real.labels)
    sets = [Generated(noise((360, 8, 8, 1)), wanted)] * 2
    got = samples.measure(real, sets, NAMES, seed=0).metrics
    assert got["kid"] > 10 * got["kid_se"] > 0
    assert got["coverage"] < 0.3
    assert got["cas_error"] > 0.5
    assert got["read_as_wanted"] < 0.4


def test_each_class_is_told_how_it_is_read(digits, real):
    (good,) = copies(digits, real, 1)
    images = good.images.copy()
    images[good.wanted == 3] = images[good.wanted == 8][0]  # eights for threes
    table = samples.measure(real, [Generated(images, good.wanted)], NAMES, 0).per_class
    assert table["n"].sum() == 360
    threes = table.set_index("class").loc["digit 3"]
    assert threes["read_as_wanted"] == 0
    assert (threes["most_frequent_other"], threes["other_share"]) == ("digit 8", 1)
    others = table[table["class"] != "digit 3"]
    assert others["read_as_wanted"].min() > 0.8


def test_a_generator_that_knows_no_class_is_not_asked_for_one(digits, real):
    found = samples.measure(real, [Generated(digits[0][:360], None)] * 2, NAMES, 0)
    assert not [name for name in found.metrics if name.startswith(("read_as", "cas"))]
    assert found.per_class is None


def test_the_share_of_classes_is_that_of_the_test_images(digits, tmp_path, cache):
    """A perfect generator of unbalanced data is one; equal shares are another distribution."""
    train, test, y_train, y_test = digits
    kept = np.flatnonzero((y_test < 2) | (np.arange(360) % 12 == 0))
    for kind in ("scorer", "real"):
        for path in cache.glob(f"{kind}*keras"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    real = reference.reference(train, y_train, test[kept], y_test[kept], (8, 8), "digits", tmp_path)
    got = samples.measure(real, copies(digits, real), NAMES, 0).metrics
    equal = np.arange(len(kept)) % 10
    places = [np.flatnonzero(y_train == label)[i] for i, label in enumerate(equal)]
    wrong = samples.measure(real, [Generated(train[places], np.sort(equal))], NAMES, 0).metrics
    assert abs(got["kid"]) < 0.05
    assert wrong["kid"] > 0.2


def test_cas_error_is_low_for_real_images_and_chance_for_shuffled_labels(digits):
    train, test, y_train, y_test = digits
    assert cas_error(train, y_train, test, y_test, seed=0) < 0.02
    shuffled = np.random.default_rng(0).permutation(y_train)
    assert cas_error(train, shuffled, test, y_test, seed=0) > 0.7
    one_class = np.full(20, 3)
    assert cas_error(train[:20], one_class, test, y_test, seed=0) == (y_test != 3).mean()


# ---------------------------------------------------------------- the real images


def test_images_are_reduced_by_areas():
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(1, 4, 6, 3)
    small = reference.reduced(image, (2, 3))
    np.testing.assert_allclose(small[0, 0, 0], image[0, :2, :2].mean(axis=(0, 1)), atol=0.5)
    np.testing.assert_array_equal(reference.reduced(image, (4, 6)), image)
    grey = np.full((3, 48, 48, 1), 7, np.uint8)
    assert (reference.reduced(grey, (32, 32), np.array([2, 0])) == 7).all()
    assert reference.measured_size((64, 48)) == (32, 24)
    assert reference.measured_size((28, 28)) == (28, 28)


def test_smaller_generated_images_are_measured_at_their_size(digits, tmp_path):
    train, test, y_train, y_test = digits
    large = [np.repeat(np.repeat(images, 5, axis=1), 5, axis=2) for images in (train, test)]
    real = reference.reference(large[0], y_train, large[1], y_test, (8, 8), "large", tmp_path)
    assert real.test_images.shape == (360, 8, 8, 1)
    np.testing.assert_array_equal(real.test_images, test[real.real.test])
    got = samples.measure(real, copies(digits, real, 1), NAMES, 0).metrics
    assert got["read_as_wanted"] > 0.95


def test_images_of_the_floor_are_withheld_from_the_classifier(digits, real, tmp_path, monkeypatch):
    _, _, y_train, y_test = digits
    withheld = reference._withheld(y_train, y_test, np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(y_train[withheld]), np.bincount(y_test))
    learned = []

    def trained(images, labels, path):
        learned.extend((images, labels))
        return real.scorer.model

    monkeypatch.setattr(scorer, "_train", trained)
    referred(digits, tmp_path)
    left = np.bincount(y_train) - np.bincount(y_test)
    np.testing.assert_array_equal(np.bincount(learned[1]), left)
    assert len(real.real.training) == len(y_train)  # a copy may be of any of them
    some_known = np.where(np.arange(len(y_train)) % 8 == 0, y_train, -1)
    few = reference._withheld(some_known, y_test, np.random.default_rng(0))
    assert not len(few)  # half of the known ones would be too few to compare


def test_real_images_of_another_mix_of_classes_are_no_floor(digits, tmp_path):
    """Without one class in ten real images would get a KID as bad as noise."""
    train, test, y_train, y_test = digits
    eights = np.flatnonzero(y_train == 8)
    assert (y_test == 8).sum() == 35  # of 360: without them more than nine tenths are left
    known = y_train.copy()
    known[eights[1:]] = -1
    real = reference.reference(train, known, test, y_test, (8, 8), "short", tmp_path)
    got = samples.measure(real, copies(digits, real, 1), NAMES, 0).metrics
    assert [name for name in got if name.endswith("_real")] == ["read_as_wanted_real"]
    known[eights[1:66]] = 8  # half of these are two fewer than needed
    assert len(reference._withheld(known, y_test, np.random.default_rng(0)))


def test_what_real_images_get_is_left_out_where_it_is_not_a_number(digits, tmp_path):
    """Half of the test images are the only one of their class; of the withheld ones, more."""
    train, test, _, _ = digits
    y_test = np.concatenate([np.repeat(np.arange(50), 2), np.arange(50, 150)])
    y_train = np.concatenate([y_test, y_test])[1:]  # one class lacks a second one to withhold
    real = reference.reference(
        train[: len(y_train)], y_train, test[: len(y_test)], y_test, (8, 8), "rare", tmp_path
    )
    assert np.isnan(real.real.floor["kid"])
    sets = [Generated(train[: len(y_test)], np.sort(real.real.labels))]
    got = samples.measure(real, sets, [str(k) for k in range(150)], 0).metrics
    assert np.isfinite(list(got.values())).all()
    assert "kid_real" not in got
    assert {"kid", "coverage_real"} < set(got)


def test_what_is_known_of_real_images_is_kept(digits, real, cache, monkeypatch):
    monkeypatch.setattr(scorer, "_train", None)  # training or looking again would fail
    monkeypatch.setattr(reference.distances, "radii", None)
    again = referred(digits, cache)
    assert again.real.floor == real.real.floor
    np.testing.assert_array_equal(again.real.features, real.real.features)
    names = {f"scorer-{scorer.VERSION}-digits-8x8.keras", f"real-{scorer.VERSION}-digits-8x8.npz"}
    assert {path.name for path in cache.iterdir()} == names


def test_features_by_another_classifier_are_not_used(digits, real, cache, tmp_path, caplog):
    """The classifier's file was lost, and another version of TensorFlow has trained it anew."""
    for path in cache.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (judge,) = tmp_path.glob("*.keras")
    other = scorer._load(judge, (8, 8, 1))
    other.set_weights([1.1 * weights for weights in other.get_weights()])
    other.save(judge)
    again = referred(digits, tmp_path)
    assert "another domain classifier" in caplog.text
    np.testing.assert_array_equal(again.real.features, again.scorer.features(again.test_images))
    assert (again.real.features != real.real.features).any()
    caplog.clear()
    referred(digits, tmp_path)
    assert not caplog.text  # now they belong together


# ---------------------------------------------------------------- the domain classifier


@pytest.mark.slow
def test_the_classifier_is_the_same_whatever_the_run_has_set(digits, real, tmp_path):
    """Trained from a process with other threads and no determinism: the same to the last bit."""
    train, test, y_train, y_test = digits
    np.savez(tmp_path / "digits.npz", a=train, b=y_train, c=test, d=y_test)
    script = (
        "import numpy as np, pathlib, keras\n"
        "from pipeline.ops import runtime; runtime.start(5, 3, False)\n"
        "keras.config.set_dtype_policy('mixed_bfloat16')\n"
        "from pipeline.measure.reference import reference\n"
        "f = np.load('digits.npz')\n"
        "r = reference(f['a'], f['b'], f['c'], f['d'], (8, 8), 'x', pathlib.Path('cache'))\n"
        "np.savez('weights.npz', *r.scorer.model.get_weights())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "3"}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    with np.load(tmp_path / "weights.npz") as other:
        for a, b in zip(real.scorer.model.get_weights(), other.values(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_features_tell_the_classes_apart(digits, real):
    train, test, y_train, y_test = digits
    features = real.scorer.features
    neighbours = KNeighborsClassifier(5).fit(features(train), y_train)
    assert neighbours.score(features(test), y_test) > 0.9
    assert features(test).dtype == np.float32
    assert (real.scorer.read(features(test)) == y_test).mean() > 0.95


def test_damaged_files_are_made_again_without_touching_global_seeds(digits, real, tmp_path, caplog):
    for kind, ending in (("scorer", "keras"), ("real", "npz")):
        path = tmp_path / f"{kind}-{scorer.VERSION}-digits-8x8.{ending}"
        path.write_bytes(b"PK\x03\x04 half a file")
    before = random.getstate(), np.random.get_state()[1].tobytes()
    again = referred(digits, tmp_path)
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before
    assert caplog.text.count("cannot be used") == 2
    assert again.real.floor == pytest.approx(real.real.floor)


def test_a_classifier_that_cannot_be_trained_is_told(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="two classes"):
        scorer.domain_scorer(
            lambda: (noise((9, 8, 8, 1)), np.zeros(9, np.int64)), (8, 8, 1), "none", tmp_path
        )
    monkeypatch.setattr(scorer, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunFailure, match="No module named"):
        scorer.domain_scorer(
            lambda: (noise((9, 8, 8, 1)), np.arange(9) % 2), (8, 8, 1), "none", tmp_path
        )
    assert not list(tmp_path.iterdir())


def test_many_classifiers_in_a_process_are_not_traced_anew(digits, real, cache, caplog):
    """As in the evaluation of a search's winners; TensorFlow would warn of it."""
    with caplog.at_level("WARNING", "tensorflow"):
        logging.getLogger("tensorflow").addHandler(caplog.handler)
        for n in range(6):
            referred(digits, cache).scorer.features(digits[0][: 500 + n])
        logging.getLogger("tensorflow").removeHandler(caplog.handler)
    assert not caplog.records
