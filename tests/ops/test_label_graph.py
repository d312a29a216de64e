"""Labels spread over a neighbour graph."""

import numpy as np
import pytest
from sklearn.datasets import make_moons

from pipeline.ops import label_graph
from pipeline.ops.label_graph import LabelGraph, most_confident, principal_components

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
    probabilities = LabelGraph(np.float32(lifted), largest=400).spread(labels, HALVES)
    assert probabilities.shape == (400, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-4)
    assert (probabilities.argmax(axis=1) == truth).mean() > 0.95


@pytest.mark.parametrize("n", [3, 8])
def test_fewer_images_than_neighbours_and_islands_without_a_label(n):
    features = np.eye(n, 4, dtype=np.float32)
    labels = np.full(n, -1)
    labels[:2] = [0, 1]
    probabilities = LabelGraph(features, largest=n).spread(labels, HALVES)
    assert np.isfinite(probabilities).all()
    assert probabilities[:2].argmax(axis=1).tolist() == [0, 1]


def test_where_no_label_reaches_there_is_no_class():
    points = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    points += np.random.default_rng(0).normal(0, 0.01, points.shape).astype(np.float32)
    labels = np.full(60, -1)
    labels[[0, 20]] = [0, 1]
    order = np.argsort(labels < 0, kind="stable")
    probabilities = LabelGraph(points[order], largest=60, n_neighbors=5).spread(
        labels[order], HALVES
    )
    kept = np.empty(60, np.int32)
    kept[order] = most_confident(probabilities, 1.0)
    np.testing.assert_array_equal(kept, np.repeat([0, 1, -1], 20))


def test_the_error_of_spread_labels_is_known_from_the_labels_alone():
    points, truth = moons()
    lifted = np.float32(np.column_stack([points[:, :2], np.cos(3 * points), np.sin(3 * points)]))
    order = np.argsort(np.random.default_rng(0).random(len(truth)))
    labels = np.where(np.arange(len(truth)) < 40, truth[order], -1)
    clean = LabelGraph(lifted[order], largest=400)
    noise = np.random.default_rng(1).normal(0, 1, (400, 6)).astype(np.float32)
    blurred = LabelGraph(noise, largest=400)
    assert clean.left_out_error(labels, HALVES) < 0.1
    assert blurred.left_out_error(labels, HALVES) > 0.25
    for graph in (clean, blurred):
        true = np.mean(graph.spread(labels, HALVES)[40:].argmax(axis=1) != truth[order][40:])
        assert graph.left_out_error(labels, HALVES) == pytest.approx(true, abs=0.2)


def test_the_only_label_of_a_class_cannot_be_left_out():
    points, truth = moons(60)
    order = np.argsort(-truth, kind="stable")
    labels = np.full(60, -1)
    labels[0] = 1
    graph = LabelGraph(points[order], largest=60)
    assert graph.left_out_error(labels, HALVES) is None
    labels[1] = 1
    assert graph.left_out_error(labels, HALVES) == 0


@pytest.mark.parametrize("first", [0, 1])
def test_a_label_that_none_reaches_is_no_right_answer_of_whatever_class(first):
    """Twelve islands of ten images: three have both their labels, nine have one each."""
    features = np.repeat(np.eye(12, dtype=np.float32), 10, axis=0)
    features += np.random.default_rng(0).normal(0, 0.01, features.shape).astype(np.float32)
    labelled = np.array([*range(0, 120, 10), 1, 11, 21])
    order = np.concatenate([labelled, np.setdiff1d(np.arange(120), labelled)])
    known = np.where(np.arange(15) % 12 < 3, first, 1 - first)
    labels = np.append(known, np.full(105, -1))
    graph = LabelGraph(features[order], largest=120, n_neighbors=5)
    assert graph.left_out_error(labels, HALVES) >= 9 / 15


def test_rows_beyond_the_largest_graph_take_their_neighbours_class():
    points, truth = moons()
    lifted = np.float32(np.column_stack([points[:, :2], np.cos(3 * points), np.sin(3 * points)]))
    order = np.argsort(np.random.default_rng(0).random(len(truth)))
    first = [np.flatnonzero(truth[order] == number)[0] for number in (0, 1)]
    order = order[[*first, *np.delete(np.arange(len(order)), first)]]
    labels = np.full(len(truth), -1)
    labels[:2] = [0, 1]
    probabilities = LabelGraph(lifted[order], largest=300).spread(labels, HALVES)
    assert (probabilities.argmax(axis=1) == truth[order]).mean() > 0.95


def test_components_are_partly_whitened():
    random = np.random.default_rng(0)
    deviations = np.float32([16, 4, 1])
    features = random.normal(5, 1, (4000, 3)).astype(np.float32) * deviations
    components = principal_components(features[:2000])(features)
    assert components.dtype == np.float32
    # Variance v becomes v / v^(2 · 0.25) = the deviation.
    np.testing.assert_allclose(components.var(axis=0), deviations, rtol=0.15)
    assert principal_components(features[:2])(features).shape == (4000, 2)


def test_the_surest_share_of_each_class_is_kept():
    sureness = np.linspace(0.51, 0.99, 20)
    probabilities = np.column_stack([sureness, 1 - sureness])
    probabilities[::2] = probabilities[::2, ::-1]
    kept = most_confident(np.float32(probabilities), 0.3)
    assert np.flatnonzero(kept == 0).tolist() == [15, 17, 19]
    assert np.flatnonzero(kept == 1).tolist() == [14, 16, 18]
    assert (kept == -1).sum() == 14


def test_neighbours_are_looked_for_block_by_block(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    nearest, cosines = label_graph._neighbors(rows, rows, 4)
    monkeypatch.setattr(label_graph, "BLOCK", 7)
    by_blocks = label_graph._neighbors(rows, rows, 4)
    np.testing.assert_array_equal(by_blocks[0], nearest)
    np.testing.assert_allclose(by_blocks[1], cosines, rtol=1e-5)
    assert nearest.shape == (50, 4)
