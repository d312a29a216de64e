"""KID, density, coverage and signs of copies: known values, and errors that are what they say."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline.measure import distances


@pytest.fixture(scope="module")
def digits():
    """Real images as rows [1797, 64] in [0, 1], and their labels."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return (images[order] / 16).astype(np.float32), labels[order]


def noise(n):
    return np.random.default_rng(0).random((n, 64), np.float32)


def drawn(random, n, by_class, moved=0.0):
    """Rows [n, 8] of ten classes and the classes [n]: their shares by chance, or equal."""
    labels = np.repeat(np.arange(10), n // 10) if by_class else random.integers(0, 10, n)
    centres = 1.5 * np.random.default_rng(5).normal(size=(10, 8))
    return (centres[labels] + moved + random.normal(size=(n, 8))).astype(np.float32), labels


def test_kid_equals_the_formula_written_out():
    x, y = np.random.default_rng(1).normal(size=(2, 6, 3)).astype(np.float32)
    y = y[:5]

    def kernel(a, b):
        return (a @ b / 3 + 1) ** 3

    def within(rows):
        n = len(rows)
        return sum(kernel(rows[i], rows[j]) for i in range(n) for j in range(n) if i != j) / (
            n * (n - 1)
        )

    between = np.mean([[kernel(a, b) for b in y] for a in x])
    assert distances.kid(x, y)[0] == pytest.approx(within(x) + within(y) - 2 * between, rel=1e-5)
    with pytest.raises(ValueError, match="4 rows"):
        distances.kid(x, y[:3])


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("moved", [0.0, 0.1])
def test_kid_has_no_bias_and_its_error_is_what_other_draws_show(by_class, moved):
    random, truth = np.random.default_rng(0), 0.0
    if moved:
        large = drawn(random, 40_000, True)[0], drawn(random, 40_000, True, moved)[0]
        truth = distances.kid(*large)[0]
    values, errors = [], []
    for _ in range(100):
        (real, a), (fake, b) = (drawn(random, 300, by_class, by) for by in (0.0, moved))
        value, error = distances.kid(real, fake, (a, b) if by_class else None)
        values.append(value)
        errors.append(error)
    spread = np.std(values)
    assert abs(np.mean(values) - truth) < 4 * spread / 10
    assert 0.8 < np.mean(errors) / spread < 2.2


def test_classes_of_one_image_make_kid_neither_lower_nor_higher():
    random, values = np.random.default_rng(0), []
    labels = np.concatenate([np.repeat(np.arange(20), 10), np.arange(20, 120)])  # a third is single
    centres = 1.5 * random.normal(size=(120, 8))
    for _ in range(60):
        real, *sets = (
            (centres[labels] + random.normal(size=(300, 8))).astype(np.float32) for _ in range(4)
        )
        kid, _ = distances.kid(real, np.concatenate(sets), (labels, np.tile(labels, 3)))
        values.append(kid)
    assert abs(np.mean(values)) < 0.02


def test_where_most_images_are_the_only_one_of_their_class_there_is_no_kid():
    random = np.random.default_rng(0)
    real, fake = (random.normal(size=(100, 8)).astype(np.float32) for _ in "rf")
    classes = np.arange(100), np.arange(100)
    assert np.isnan(distances.kid(real, fake, classes)[0])


def test_sets_of_equal_shares_look_too_alike_if_kid_is_not_told():
    random = np.random.default_rng(0)
    values = [distances.kid(*(drawn(random, 300, True)[0] for _ in "rf"))[0] for _ in range(30)]
    assert np.mean(values) < -5 * np.std(values) / np.sqrt(30)


def test_kid_of_noise_is_far_from_chance(digits):
    halves = np.array_split(digits[0], 2)
    value, error = distances.kid(*halves)
    assert abs(value) < 4 * error
    assert distances.kid(digits[0], noise(500))[0] > 20 * error


def test_density_and_coverage_of_the_same_of_noise_and_of_a_collapsed_generator(digits):
    real = digits[0]
    radii = distances.radii(real)

    def both(fake):
        found = distances.density_coverage(real, radii, [fake])
        return found["density"], found["coverage"]

    assert both(real) == pytest.approx((1, 1), abs=0.01)
    assert max(both(noise(len(real)))) < 0.02
    density, coverage = both(np.repeat(real[:1], 500, axis=0))
    assert density > 0.5  # each copy lies among real images
    assert coverage < 0.02  # but nearly all real images are far from it
    with pytest.raises(ValueError, match="k=5"):
        distances.radii(real[:5])
    with pytest.raises(ValueError, match="at least one"):
        distances.density_coverage(real, radii, [real[:0]])


def test_rows_in_balls_are_those_that_distances_say(digits):
    # Their pixels have 17 values, so that many distances are equal; these have none of that.
    rows = digits[0] + 0.01 * np.random.default_rng(0).random(digits[0].shape, np.float32)
    real, fake = rows[:900], rows[900:]
    radii = distances.radii(real)
    apart = np.linalg.norm(real[:, None].astype(np.float64) - fake, axis=2)
    np.testing.assert_array_equal(
        distances.rows_in_balls(real, radii, fake), (apart < radii[:, None]).sum(axis=1)
    )


def test_coverage_of_one_source_is_what_the_paper_says_and_its_error_what_draws_show():
    random, found = np.random.default_rng(0), []
    for _ in range(40):
        real = drawn(random, 300, False)[0]
        sets = [drawn(random, 300, False)[0] for _ in range(5)]
        found.append(distances.density_coverage(real, distances.radii(real), sets))
    values = np.array([[each["coverage"], each["density"]] for each in found])
    assert values.mean(axis=0) == pytest.approx((1 - 0.5**5, 1), abs=0.02)
    for name, column in zip(("coverage", "density"), values.T, strict=True):
        errors = [each[f"{name}_se"] for each in found]
        assert 0.5 < np.mean(errors) / np.std(column) < 2.5


def test_copies_lie_nearer_than_other_real_images(digits):
    training, test, others = np.array_split(digits[0], 3)
    to_training = distances.nearest(test, training)[1]
    places, apart = distances.nearest(training[40:90] + 1e-3, training)
    np.testing.assert_array_equal(places, np.arange(40, 90))
    assert distances.nearer(apart, to_training) == 1
    assert 0.45 < distances.nearer(distances.nearest(others, training)[1], to_training) < 0.55
    assert distances.nearer(distances.nearest(noise(50), training)[1], to_training) == 0
    assert distances.nearer(np.ones(3), np.ones(4)) == 0.5
