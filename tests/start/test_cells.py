"""Cells that merge as Gaussians: greedy merging by its definition, and clusters that Ward's hierarchy does not find."""

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster
from sklearn.metrics import adjusted_rand_score

from tgmm.start.cells import CACHED, Clusters, MergeTree, merge_side_by_side
from tgmm.start.ward import hierarchy

RIDGE = 1e-3  # of the variance, as documented


def elongated(seed, n=60, d=2):
    """Three long clusters, each in a direction of its own."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(3), n))
    axes = np.linalg.qr(rng.standard_normal((3, d, d)))[0]
    scales = np.r_[6.0, np.full(d - 1, 0.4)]
    X = np.einsum("kij,nj->nki", axes * scales, rng.standard_normal((3 * n, d)))[np.arange(3 * n), labels]
    return X + 5 * rng.standard_normal((3, d))[labels], labels


def cost_of(X, labels, within):
    """The sum over clusters of n log|S|, with d + 1 more rows of the covariance that the cells have within."""
    total, strength = 0.0, X.shape[1] + 1
    for k in np.unique(labels):
        rows = X[labels == k] - X[labels == k].mean(axis=0)
        count = len(rows) + strength
        total += count * np.linalg.slogdet((rows.T @ rows + strength * within) / count)[1]
    return total


def within_cells(X, cells):
    """Their pooled covariance, and a ridge."""
    rows = np.concatenate([X[cells == k] - X[cells == k].mean(axis=0) for k in np.unique(cells)])
    return rows.T @ rows / len(X) + RIDGE * X.var(axis=0).mean() * np.eye(X.shape[1])


def merged_greedily(X, labels, within):
    """Labels after each of the merges that cost least, by trying every pair of clusters each time."""
    while len(names := np.unique(labels)) > 1:
        pairs = [(i, j) for i in names for j in names if i < j]
        trials = [np.where(labels == j, i, labels) for i, j in pairs]
        labels = min(trials, key=lambda trial: cost_of(X, trial, within))
        yield labels


def assert_same_clusters(found, expected):
    assert adjusted_rand_score(found, expected) == 1


@pytest.mark.parametrize(("d", "n_cells"), [(1, 8), (2, 12), (3, 10)])
def test_each_time_the_two_clusters_merge_whose_union_costs_least(d, n_cells):
    X, _ = elongated(d, d=d)
    tree = MergeTree(torch.tensor(X), n_cells, together=1000)
    cells = fcluster(hierarchy(torch.tensor(X)), n_cells, "maxclust")
    assert_same_clusters(tree.labels(n_cells), cells)
    steps = list(merged_greedily(X, cells, within_cells(X, cells)))
    for n_clusters, expected in zip(range(n_cells - 1, 0, -1), steps, strict=True):
        found = tree.labels(n_clusters)
        assert found.unique().tolist() == list(range(n_clusters))
        assert_same_clusters(found, expected)


def test_pairs_merge_at_once_until_few_are_left_and_then_one_by_one():
    X, _ = elongated(4)
    n_cells, together = 24, 7
    tree = MergeTree(torch.tensor(X), n_cells, together)
    cells = fcluster(hierarchy(torch.tensor(X)), n_cells, "maxclust")
    before = tree.labels(n_cells)
    for n_clusters in range(n_cells - 1, 0, -1):
        found = tree.labels(n_clusters)
        assert found.unique().tolist() == list(range(n_clusters))
        assert len(set(zip(before.tolist(), found.tolist(), strict=True))) == n_clusters + 1  # one merge
        before = found
    steps = merged_greedily(X, tree.labels(together).numpy(), within_cells(X, cells))
    for n_clusters, expected in zip(range(together - 1, 0, -1), steps, strict=True):
        assert_same_clusters(tree.labels(n_clusters), expected)


def on_a_line(*centres):
    """Tight groups of 20 rows at some places, and which group each is of."""
    labels = np.repeat(np.arange(len(centres)), 20)
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(labels))
    return torch.tensor((np.array(centres)[labels] + noise)[:, None]), labels


def test_pairs_that_are_each_others_best_merge_at_once():
    """One by one, the third of the groups that are near each other would merge before the two far apart do."""
    rows, labels = on_a_line(0.0, 1.0, 2.1, 50.0, 55.0)
    for together, expected in ((2, [0, 0, 1, 2, 2]), (9, [0, 0, 0, 1, 2])):
        assert_same_clusters(MergeTree(rows, 5, together).labels(3), np.array(expected)[labels])


def test_of_pairs_that_merge_at_once_the_cheapest_comes_first():
    rows, labels = on_a_line(0.0, 2.0, 20.0, 21.0, 50.0, 52.5, 90.0, 91.5)
    tree, pairs = MergeTree(rows, 8, together=2), labels // 2
    for n_clusters, merged in ((7, [1]), (6, [1, 3]), (5, [1, 3, 0]), (4, [1, 3, 0, 2])):
        expected = np.where(np.isin(pairs, merged), 10 + pairs, labels)
        assert_same_clusters(tree.labels(n_clusters), expected)


def test_what_a_merge_costs_is_what_the_criterion_rises_by():
    X, _ = elongated(5)
    labels = np.random.default_rng(5).integers(0, 6, len(X))
    clusters, within = Clusters(X, labels), within_cells(X, labels)
    i, j = torch.triu_indices(6, 6, 1)
    now = cost_of(X, labels, within)
    expected = [cost_of(X, np.where(labels == b, a, labels), within) - now for a, b in zip(i, j, strict=True)]
    np.testing.assert_allclose(clusters.costs(i, j), expected, rtol=1e-9, atol=1e-9)
    clusters.merge(torch.tensor([0, 1]), torch.tensor([5, 3]))
    labels[labels == 5], labels[labels == 3] = 0, 1
    i, j = torch.tensor([0, 0, 1]), torch.tensor([1, 2, 4])
    now = cost_of(X, labels, within)
    expected = [cost_of(X, np.where(labels == b, a, labels), within) - now for a, b in zip(i, j, strict=True)]
    np.testing.assert_allclose(clusters.costs(i, j), expected, rtol=1e-9, atol=1e-9)


def test_trees_whose_cells_merge_side_by_side_are_those_alone():
    """Of several numbers of cells, and more trees than merge at once; what was not made then is made later."""
    trees, alone = ([tree_of(seed) for seed in range(CACHED + 3)] for _ in range(2))
    merge_side_by_side(trees, 4)
    for tree, one in zip(trees, alone, strict=True):
        for n_clusters in (6, 4, 2):
            assert torch.equal(tree.labels(n_clusters), one.labels(n_clusters))
        assert tree.merges == one.merges
    merge_side_by_side([], 4)


def tree_of(seed):
    return MergeTree(torch.tensor(elongated(seed, n=3 + 5 * seed)[0]), 30, 7)


@pytest.mark.parametrize("seed", range(4))
def test_long_clusters_are_found(seed):
    """Side by side: Ward's hierarchy cuts across them."""
    labels = np.repeat(np.arange(3), 150)
    X = np.random.default_rng(seed).standard_normal((450, 2)) * [6.0, 0.5] + 4 * np.outer(labels, [0, 1])
    assert adjusted_rand_score(MergeTree(torch.tensor(X), 60, 8).labels(3), labels) > 0.75
    assert adjusted_rand_score(fcluster(hierarchy(torch.tensor(X)), 3, "maxclust"), labels) < 0.4


def test_there_are_no_more_clusters_than_cells_and_no_more_cells_than_different_rows():
    rows = torch.tensor([[0.0, 0.0], [1.0, 5.0], [8.0, 2.0]]).double().repeat(7, 1)
    tree = MergeTree(rows, 10, 4)
    for n_clusters in (3, 4, 10):
        assert tree.labels(n_clusters).unique().tolist() == [0, 1, 2]
    assert_same_clusters(tree.labels(3), np.arange(21) % 3)
    assert tree.labels(1).unique().tolist() == [0]
