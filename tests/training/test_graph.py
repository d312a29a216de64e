"""Labels spread over a neighbour graph."""

import numpy as np
import pytest
from sklearn.datasets import make_moons

from pipeline.training.graph import most_confident, spread_labels

HALVES = np.float32([0.5, 0.5])


def moons(n=400):
    """Two half circles on the unit sphere's cap: cosines tell places apart."""
    points, truth = make_moons(n, noise=0.05, random_state=0)
    return np.column_stack([points, np.zeros(n)]).astype(np.float32), truth


def test_one_label_a_moon_labels_the_moon():
    points, truth = moons()
    labels = np.full(len(truth), -1)
    for number in (0, 1):
        labels[np.flatnonzero(truth == number)[0]] = number
    # By the cosine, moons about the origin lie apart: lift them to see them from afar.
    lifted = np.column_stack([points[:, :2], np.cos(3 * points[:, :2]), np.sin(3 * points[:, :2])])
    probabilities = spread_labels(np.float32(lifted), labels, HALVES, largest=400)
    assert probabilities.shape == (400, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-4)
    assert (probabilities.argmax(axis=1) == truth).mean() > 0.95


@pytest.mark.parametrize("n", [3, 8])
def test_fewer_images_than_neighbours_and_islands_without_a_label(n):
    features = np.eye(n, 4, dtype=np.float32)
    labels = np.full(n, -1)
    labels[:2] = [0, 1]
    probabilities = spread_labels(features, labels, HALVES, largest=n)
    assert np.isfinite(probabilities).all()
    assert probabilities[:2].argmax(axis=1).tolist() == [0, 1]


def test_the_surest_share_of_each_class_is_kept():
    sureness = np.linspace(0.51, 0.99, 20)
    probabilities = np.column_stack([sureness, 1 - sureness])
    probabilities[::2] = probabilities[::2, ::-1]
    kept = most_confident(np.float32(probabilities), 0.3)
    assert np.flatnonzero(kept == 0).tolist() == [15, 17, 19]
    assert np.flatnonzero(kept == 1).tolist() == [14, 16, 18]
    assert (kept == -1).sum() == 14
