"""Cuts of many trees at once: each is the one that scipy makes of that tree alone."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import cut_tree, fcluster, linkage

from tgmm.start.cuts import clusters_for, cut, large_clusters

N_TREES = 40


def trees(n_rows, n_digits, seed=0):
    """Return Ward's trees of rows with far ones among them; few digits make many merges at one height."""
    rows = np.random.default_rng(seed).standard_t(2, size=(N_TREES, n_rows, 2)).round(n_digits)
    return np.stack([linkage(each, "ward") for each in rows])


@pytest.mark.parametrize("n_digits", [0, 1, 9])
def test_clusters_are_those_of_scipy_and_have_its_numbers(n_digits):
    found = trees(30, n_digits)
    n_clusters = np.random.default_rng(1).integers(1, 20, size=N_TREES)
    for tree, count, labels in zip(found, n_clusters, cut(found, n_clusters), strict=True):
        np.testing.assert_array_equal(labels, fcluster(tree, count, "maxclust") - 1)


@pytest.mark.parametrize("least", [1, 2, 3, 7.5])
@pytest.mark.parametrize("n_components", [1, 2, 5, 12])
def test_trees_are_cut_where_enough_clusters_are_large_enough(least, n_components):
    found = trees(60, 9)[:4]
    for tree, count in zip(found, clusters_for(found, n_components, least), strict=True):
        large = [(np.bincount(cut_tree(tree, k)[:, 0]) >= least).sum() >= n_components for k in range(1, 61)]
        assert count == (large.index(True) + 1 if any(large) else 0)


def test_the_largest_clusters_come_first_and_far_rows_are_in_none():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(30, 2)), 20 + rng.normal(size=(50, 2)), [[500.0, 0.0]]])
    pairs = np.repeat([0.0, 1.0, 2.0, 3.0], 20)[:, None] + np.zeros((80, 1))
    found = [large_clusters(linkage(each, "ward")[None], 2) for each in (rows, np.concatenate([pairs, [[3.0]]]))]
    np.testing.assert_array_equal(found[0].labels[0], np.repeat([1, 0, -1], [30, 50, 1]))
    assert found[0].found[0] and found[1].found[0]
    assert not large_clusters(linkage(np.repeat(rows[:2], 5, axis=0), "ward")[None], 7).found[0]
