"""Every start of the portfolio: clusters of rows, and those that are far apart are found.

A new start's test is its line in the registries.
"""

import numpy as np
import pytest
import torch
from batches import generator, tensor
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

from tgmm.start.portfolio import PARTITIONS, RANDOM_PARTITIONS, partitions, random_partitions
from tgmm.start.views import Views

every_partition = pytest.mark.parametrize("name", PARTITIONS)
every_random_partition = pytest.mark.parametrize("name", RANDOM_PARTITIONS)
OF_UNITS = ("ward", "k-means++")  # which depend on the units of the rows


def views_of(X, w=None, most=4):
    weights = torch.ones(len(X)).double() if w is None else tensor(w)
    return Views(tensor(X), weights, most, generator())


def overlapping(seed=0, n=300, d=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    X = 2.5 * rng.standard_normal((4, d))[labels] + rng.uniform(0.5, 1.5, (4, 1))[labels] * rng.standard_normal((n, d))
    return X, rng.uniform(0.2, 3, n)


def found_by(name, views, n_components):
    """The clusters that a start finds, for it does."""
    found = PARTITIONS[name](views, n_components)
    assert found is not None
    return found


def drawn_by(name, views, n_components, seed=0):
    return RANDOM_PARTITIONS[name](views, n_components, generator(seed))


@pytest.mark.parametrize("name", [name for name in PARTITIONS if name != "least kurtosis"])
def test_clusters_that_are_far_apart_are_found(name, far_blobs):
    X, labels, _ = far_blobs
    found = found_by(name, views_of(X), 4)
    assert found.dtype == torch.int64
    assert adjusted_rand_score(found, labels) == 1


def test_least_kurtosis_finds_clusters_that_are_far_apart_in_one_direction():
    """It sees that one alone: where every feature but the first is the same in all clusters."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 4
    X = rng.standard_normal((400, 3)) + 12 * np.outer(labels, [1, 0, 0])
    found = found_by("least kurtosis", views_of(X), 4)
    assert found.dtype == torch.int64
    assert adjusted_rand_score(found, labels) == 1


def test_long_clusters_side_by_side_are_found_by_starts_that_know_no_scale():
    """30 times as long as wide, 5 widths apart, in any direction."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(2), 250)
        angle = rng.uniform(0, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        X = (rng.standard_normal((500, 2)) * [1, 30] + 5 * np.outer(labels, [1, 0])) @ turn.T
        scores = {name: adjusted_rand_score(found, labels) for name, found in partitions(views_of(X), 2).items()}
        assert scores["ward"] < 0.1
        assert scores["least kurtosis"] > 0.9
        assert max(scores["merged cells"], scores["merged cells, sphered"]) > 0.9


@every_partition
@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_every_row_that_hierarchies_see_is_in_one_of_k_clusters(name, n_components):
    X, w = overlapping(n=700)
    views = views_of(X, w, most=5)
    found = found_by(name, views, n_components)
    assert found.shape == (700,)
    assert found[views.some].unique().tolist() == list(range(n_components))
    assert len(set(views.some.tolist())) == 512


@pytest.mark.parametrize("name", [name for name in PARTITIONS if name != "ward"])
def test_other_rows_are_in_no_cluster(name):
    views = views_of(*overlapping(n=700), most=5)
    assert (outside(views, found_by(name, views, 5)) == -1).all()


def test_other_rows_are_in_the_cluster_of_the_nearest_centre_of_k_means():
    X, w = overlapping(n=700)
    views = views_of(X, w, most=5)
    found = found_by("ward", views, 5)
    z = views.rows.numpy()
    centres = np.stack([np.average(z[found == k], axis=0, weights=w[found == k]) for k in range(5)])
    nearest = torch.tensor(cdist(z, centres).argmin(1))
    assert (outside(views, found) == outside(views, nearest)).double().mean() > 0.98


def outside(views, found):
    """What is found of the rows that hierarchies do not see."""
    others = torch.ones(len(found), dtype=torch.bool)
    others[views.some] = False
    return found[others]


def test_sphered_cells_are_those_of_so_many_clusters():
    views = views_of(*overlapping(), most=6)
    for n_components in (2, 6):
        found = found_by("merged cells, sphered", views, n_components)
        expected = views.merged_sphered(n_components).labels(n_components)
        assert torch.equal(found[views.some], expected)
        other = views.merged_sphered(8 - n_components).labels(n_components)
        assert not torch.equal(found[views.some], other)


@every_random_partition
@pytest.mark.parametrize("n_components", [1, 2, 5])
def test_every_row_is_in_one_of_k_random_clusters_which_the_generator_alone_decides(name, n_components):
    X, w = overlapping()
    views = views_of(X, w)
    found = drawn_by(name, views, n_components, seed=3)
    assert found.shape == (300,)
    assert found.dtype == torch.int64
    assert found.unique().tolist() == list(range(n_components))
    torch.manual_seed(5)
    assert torch.equal(drawn_by(name, views_of(X, w), n_components, seed=3), found)
    others = [drawn_by(name, views, n_components, seed) for seed in range(4)]
    assert any(not torch.equal(other, found) for other in others) == (n_components > 1)


@every_random_partition
def test_clusters_that_are_far_apart_are_found_by_some_draw(name, far_blobs):
    X, labels, _ = far_blobs
    views = views_of(X)
    scores = np.array([adjusted_rand_score(drawn_by(name, views, 4, seed), labels) for seed in range(20)])
    assert scores.max() == 1
    # seeds are drawn far from each other, rows anywhere
    assert ((scores == 1).mean() > 0.9) == (name != "random rows, whitened")


@every_random_partition
def test_rows_next_to_each_other_are_in_one_cluster(name):
    """Those of one feature, in the order of their values: K intervals."""
    X = np.sort(np.random.default_rng(1).standard_normal((200, 1)), axis=0)
    for seed in range(5):
        found = drawn_by(name, views_of(X), 4, seed)
        assert int((found.diff() != 0).sum()) == 3


@pytest.mark.parametrize("name", [name for name in (*PARTITIONS, *RANDOM_PARTITIONS) if name not in OF_UNITS])
def test_units_and_axes_do_not_matter(name):
    X, w = overlapping(2)
    mixed = X @ np.array([[1.0, 0.3, -2.0], [0.0, 40.0, 1.0], [0.2, 0.0, 0.01]]) + [5.0, 0.0, -70.0]
    found = [
        found_by(name, views_of(rows, w), 4) if name in PARTITIONS else drawn_by(name, views_of(rows, w), 4)
        for rows in (X, mixed)
    ]
    assert adjusted_rand_score(*found) == 1


@pytest.mark.parametrize("name", OF_UNITS)
def test_units_matter_for_starts_that_take_rows_as_they_are(name):
    """Two clusters that only one of the features tells apart, whose unit is large or small."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(2), 100)
    X = rng.standard_normal((200, 2)) * [1.0, 5.0] + 8 * np.outer(labels, [1, 0])
    scores = []
    for unit in (10.0, 0.1):
        views = views_of(X * [unit, 1.0])
        found = found_by(name, views, 2) if name in PARTITIONS else drawn_by(name, views, 2)
        scores.append(adjusted_rand_score(found, labels))
    assert scores[0] == 1
    assert scores[1] < 0.5


def test_random_clusters_are_drawn_by_weight():
    """Rows of no weight to speak of are no seeds: of two clusters far apart, one gets both."""
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(2), 100)
    X = rng.standard_normal((200, 2)) + 40 * np.outer(labels, [1, 0])
    views = views_of(X, np.where(labels == 0, 1.0, 1e-12))
    for name in RANDOM_PARTITIONS:
        for seed in range(5):
            found = drawn_by(name, views, 2, seed)[:100]
            assert len(found.unique()) == 2


def test_what_several_searches_ask_of_the_same_views_is_made_once(monkeypatch):
    views, calls = views_of(overlapping()[0]), []
    monkeypatch.setitem(PARTITIONS, "ward", lambda *_: calls.append("ward"))
    monkeypatch.setitem(RANDOM_PARTITIONS, "k-means++", lambda *_: calls.append("k-means++"))
    draws = [generator(), generator()]
    heats = [[partitions(views, 3) and random_partitions(views, 3, draw) for _ in range(2)] for draw in draws]
    assert calls == ["ward", "k-means++", "k-means++"]
    for one, other in zip(*heats, strict=True):
        assert all(one[name] is other[name] for name in RANDOM_PARTITIONS)
    name = "random rows, whitened"
    assert not torch.equal(heats[0][0][name], heats[0][1][name])
    assert torch.equal(draws[0].get_state(), draws[1].get_state())


def test_starts_that_find_no_k_clusters_are_left_out(monkeypatch):
    views = views_of(overlapping()[0])
    assert list(partitions(views, 3)) == list(PARTITIONS)
    assert list(random_partitions(views, 3, generator())) == list(RANDOM_PARTITIONS)
    for name, found in partitions(views, 3).items():
        assert torch.equal(found, found_by(name, views, 3))
    monkeypatch.setitem(PARTITIONS, "ward", lambda *_: None)
    views = views_of(overlapping()[0])
    assert list(partitions(views, 3)) == [name for name in PARTITIONS if name != "ward"]
