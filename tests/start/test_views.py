"""Views of rows: which rows they are of, and that neither their order nor how often they are given matters."""

import numpy as np
import pytest
import torch
from batches import generator, tensor
from sklearn.metrics import adjusted_rand_score

from tgmm.data.chunk import Chunk
from tgmm.model.frame import Frame
from tgmm.start import views as module
from tgmm.start.views import Views


def clusters(seed, n=900, d=3, n_components=3):
    """Rows on a grid of 1/256, of clusters that are apart, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_components, n)
    X = 9 * np.eye(n_components, d)[labels] + rng.standard_normal((n, d))
    return np.round(X * 256) / 256, labels


def views_of(X, w=None, size=2000, most=3, seed=0):
    """The views of a sample in a frame that is not the rows' own units."""
    d = X.shape[1]
    frame = Frame(torch.full((d,), 0.5).double(), torch.full((d,), 2.0).double())
    return Views.of(Chunk(tensor(X), None if w is None else tensor(w), 0), frame, size, most, generator(seed))


def assert_same_views(one, other, n_components=3):
    for part in ("rows", "weights", "some", "white", "directions"):
        assert torch.equal(getattr(one, part), getattr(other, part)), part
    np.testing.assert_array_equal(one.ward, other.ward)
    np.testing.assert_array_equal(one.ward_of_direction, other.ward_of_direction)
    for trees in ((one.merged, other.merged), (one.merged_sphered(n_components), other.merged_sphered(n_components))):
        assert torch.equal(trees[0].labels(n_components), trees[1].labels(n_components))


@pytest.mark.parametrize("size", [2000, 300])
def test_neither_the_order_of_rows_nor_how_often_they_are_given_matters(size):
    X, _ = clusters(0)
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 4, len(X))
    expected = views_of(X, counts, size)
    order = rng.permutation(len(X))
    assert_same_views(views_of(X[order], counts[order], size), expected)
    repeated = np.repeat(X, counts, axis=0)
    assert_same_views(views_of(repeated[rng.permutation(len(repeated))], None, size), expected)


def test_rows_are_in_the_frame_and_those_that_are_drawn_stand_for_all():
    X, _ = clusters(1)
    w = np.random.default_rng(1).uniform(0.5, 2, len(X))
    everything, some = views_of(X, w, 900), views_of(X, w, 200)
    assert everything.rows.dtype == everything.weights.dtype == torch.float64
    np.testing.assert_allclose(np.sort(everything.rows[:, 0]), np.sort((X[:, 0] - 0.5) / 2), atol=1e-12)
    assert some.rows.shape == (200, 3)
    for views in (everything, some):
        assert float(views.weights.sum()) == pytest.approx(w.sum() / w.max(), rel=1e-8)  # rounded, the largest 1
    given = {tuple(row) for row in everything.rows.tolist()}
    assert all(tuple(row) in given for row in some.rows.tolist())
    assert not torch.equal(views_of(X, w, 200, seed=1).rows, some.rows)


def test_a_sample_in_float32_is_seen_in_float64():
    X, _ = clusters(2)
    frame = Frame(torch.zeros(3).double(), torch.ones(3).double())
    views = Views.of(Chunk(torch.tensor(X, dtype=torch.float32), None, 0), frame, 2000, 3, generator())
    assert views.rows.dtype == views.weights.dtype == torch.float64
    assert torch.equal(views.weights, torch.ones(len(views.rows)).double())


@pytest.mark.parametrize(("n", "most", "expected"), [(400, 3, 400), (900, 3, 512), (900, 100, 600)])
def test_hierarchies_see_so_many_rows_at_most(n, most, expected):
    X, _ = clusters(3, n)
    views = views_of(X, most=most)
    assert len(views.some) == len(views.ward) + 1 == len(views.ward_of_direction) + 1 == expected
    assert len(views.merged.labels(3)) == expected
    assert views.some.unique().shape == views.some.shape


def test_rows_that_hierarchies_see_are_drawn_by_weight():
    X, labels = clusters(4)
    w = np.where(labels == 0, 1e-9, 1.0)
    views = views_of(X, w, most=2)
    light = views.weights < 1e-6
    assert light.sum() > 200
    n_heavy = int((~light).sum())
    assert int(light[views.some].sum()) == max(0, 512 - n_heavy) == 0


def test_trees_begin_with_so_many_cells(monkeypatch):
    monkeypatch.setattr(module, "CELLS", (20, 3))
    monkeypatch.setattr(module, "MANY_CELLS", (25, 10))
    X, _ = clusters(5)
    for most, expected in ((1, 20), (2, 20), (3, 25), (10, 30)):
        views = views_of(X, most=most)
        assert int(views.merged.cells.max()) + 1 == expected
        assert int(views.merged_sphered(3).cells.max()) + 1 == expected
    assert int(views_of(X[:9]).merged.cells.max()) + 1 == 9


def test_what_is_seen_is_made_once():
    views = views_of(clusters(6)[0])
    for part in ("white", "directions", "ward", "ward_of_direction", "merged"):
        assert getattr(views, part) is getattr(views, part)
    assert views.sphered(3) is views.sphered(3)
    assert views.merged_sphered(3) is views.merged_sphered(3)
    assert views.merged_sphered(2) is not views.merged_sphered(3)
    assert views.merged is not views.merged_sphered(3)


def scores_among_many_features(tree_of):
    """How well three clusters are found that 3 of 20 directions tell apart, for some seeds."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, 900)
        X = np.pad(9 * np.eye(3), ((0, 0), (0, 17)))[labels] + rng.standard_normal((900, 20))
        X = X @ np.linalg.qr(rng.standard_normal((20, 20)))[0].T
        views = Views(tensor((X - X.mean(0)) / X.std(0)), torch.ones(900).double(), 3, generator())
        assert views.directions.shape == (20, 8)
        yield adjusted_rand_score(tree_of(views).labels(3), labels[views.some])


def test_among_many_features_cells_merge_in_those_directions_that_tell_clusters_apart():
    assert min(scores_among_many_features(lambda views: views.merged)) > 0.85


def test_among_many_features_sphered_cells_merge_in_those_directions_too():
    assert np.mean(list(scores_among_many_features(lambda views: views.merged_sphered(3)))) > 0.6
