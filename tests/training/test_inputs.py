"""Which images a step sees, and how fast it learns from them."""

import numpy as np
import pytest

from pipeline.config import layers as configuration
from pipeline.training.inputs import Order, rate_factors

# ---------------------------------------------------------------- order of the images


def order(batch, n, seed, steps):
    return Order(n, batch, (seed, 0)).batches(0, steps).ravel()


@pytest.mark.parametrize(("batch", "n"), [(32, 144), (7, 10), (5, 5), (32, 10), (3, 1), (64, 700)])
def test_each_pass_visits_every_image_once(batch, n):
    steps = -(-6 * n // batch)
    passes = order(batch, n, 0, steps)[: 6 * n].reshape(6, n)
    np.testing.assert_array_equal(np.sort(passes, axis=1), np.tile(np.arange(n), (6, 1)))


@pytest.mark.parametrize(("batch", "n"), [(32, 144), (7, 10), (32, 10)])
def test_the_order_is_the_same_however_it_is_asked_for(batch, n):
    one, other = Order(n, batch, (1, 2)), Order(n, batch, (1, 2))
    pieces = [one.batches(first, count) for first, count in ((0, 1), (1, 2), (3, 9), (12, 1))]
    np.testing.assert_array_equal(np.concatenate(pieces), other.batches(0, 13))
    np.testing.assert_array_equal(other.batches(5, 2), other.batches(0, 13)[5:7])


@pytest.mark.parametrize("n", [10, 144, 1437])
def test_passes_are_shuffled_afresh(n):
    passes = order(n, n, 3, 60).reshape(60, n)
    assert len(np.unique(passes, axis=0)) == 60
    # A shuffled pass leaves one image in its place on average, and one pair of neighbours.
    assert (passes == np.arange(n)).sum(axis=1).mean() < 2
    assert (np.diff(passes, axis=1) == 1).sum(axis=1).mean() < 2
    assert (passes[1:] == passes[:-1]).sum(axis=1).mean() < 2
    # Each image comes early and late: the mean place of each lies near the middle.
    places = np.argsort(passes, axis=1).mean(axis=0) / (n - 1)
    assert np.abs(places - 0.5).max() < 5 * np.sqrt(1 / 12 / 60)


def test_the_seed_decides_the_order():
    np.testing.assert_array_equal(order(32, 144, 5, 9), order(32, 144, 5, 9))
    assert (order(144, 144, 5, 4) == order(144, 144, 6, 4)).mean() < 0.05


# ---------------------------------------------------------------- schedule


def rate(step, **flags):
    config = configuration.load({k: str(v) for k, v in flags.items()})
    return float(rate_factors(np.float32(step), config.steps, config))


def test_the_rate_rises_and_falls_as_configured():
    cosine = {"steps": 1000, "warmup_steps": 50, "final_lr_fraction": 0.01, "decay": "cosine"}
    assert rate(1, **cosine) == pytest.approx(1 / 50, rel=1e-3)
    assert rate(50, **cosine) == pytest.approx(1, abs=0.01)
    assert rate(500, **cosine) == pytest.approx(0.505)
    assert rate(1000, **cosine) == pytest.approx(0.01, rel=1e-3)
    # Salimans et al. 2016: constant for two thirds, then straight to 0; no warm-up.
    linear = {"steps": 300, "warmup_steps": 0, "final_lr_fraction": 0, "decay": "linear"}
    assert rate(1, **linear, decay_from=0.6667) == 1
    assert rate(200, **linear, decay_from=0.6667) == 1
    assert rate(250, **linear, decay_from=0.6667) == pytest.approx(0.5, abs=1e-3)
    assert rate(300, **linear, decay_from=0.6667) == 0
    assert rate(300, **linear, decay_from=1) == 1
    assert rate(1, **cosine | {"steps": 1, "warmup_steps": 0}) == pytest.approx(0.01)
