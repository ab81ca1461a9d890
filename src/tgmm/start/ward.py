"""Ward's hierarchical clustering, by scipy."""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from tgmm.start.seeding import draw

# How many rows are clustered as seeds of k-means; memory and time grow with their square.
ROWS_LEAST, ROWS, ROWS_MOST = 512, 1024, 2048
ROWS_PER_COMPONENT, ROWS_PER_COMPONENT_LEAST = 64, 16
HALVED = 8  # rows a component from which on every other one is enough


def hierarchy(rows: Tensor) -> np.ndarray:
    """Return the tree in which rows (m, d) merge, each time the two clusters whose union adds least to the variance.

    Source: Ward 1963, Journal of the American Statistical Association 58.
    """
    return linkage(rows.cpu().numpy(), "ward")


def cluster_means(rows: Tensor, tree: np.ndarray, n_components: int) -> Tensor | None:
    """Return the means (K, d) of K clusters of the tree of rows, or None where it has no cut into so many."""
    means, _ = _cut(rows, tree, n_components)
    return means if means.shape[0] == n_components else None  # ties join several clusters at once


def ward_seeds(rows: Tensor, weights: Tensor, n_components: int, generator: torch.Generator) -> Tensor | None:
    """Return the means (K, d) of Ward's clusters of some rows, or None where K is too large or rows are too much alike.

    Clusters that are apart are found far more often than by seeding row by row. The rows are drawn with probability
    in proportion to their weights, and are at most half of all, so that starts differ from each other.

    The tree is cut where it has K clusters of some size, and the largest K are taken: rows far from all others are
    clusters of their own high up in the tree, and would else cost components that merge what is apart.
    """
    n_drawn = max(ROWS_LEAST, min(ROWS_PER_COMPONENT * n_components, ROWS), ROWS_PER_COMPONENT_LEAST * n_components)
    if n_drawn > ROWS_MOST:
        return None
    n_drawn = min(n_drawn, max(rows.shape[0] // 2, min(rows.shape[0], HALVED * n_components)))
    drawn = rows[draw(weights, n_drawn, generator, replacement=False)]
    tree = hierarchy(drawn)
    average = n_drawn / n_components
    least = max(average / 20, min(3.0, average / 8))  # rows of a cluster; 3 are no outliers, unless all are small
    n_clusters = _clusters_for(tree, n_components, least)
    if n_clusters is not None:
        means, counts = _cut(drawn, tree, n_clusters)
        if int((counts >= least).sum()) >= n_components:
            return means[counts.topk(n_components).indices]
    return cluster_means(drawn, tree, n_components)


def _clusters_for(tree: np.ndarray, n_components: int, least: float) -> int | None:
    """Return the smallest number of clusters of which K have at least so many rows, or None."""
    n_rows = tree.shape[0] + 1
    large = np.concatenate([np.ones(n_rows), tree[:, 3]]) >= least  # nodes: rows, then merges
    parts = large[tree[:, :2].astype(np.int64)].sum(1) - large[n_rows:]  # large clusters that undoing a merge adds
    n_large = 1 + np.concatenate([[0], parts[::-1].cumsum()])  # of 1, 2, ... clusters
    found = np.flatnonzero(n_large >= n_components)
    return int(found[0]) + 1 if found.size else None


def _cut(rows: Tensor, tree: np.ndarray, n_clusters: int) -> tuple[Tensor, Tensor]:
    """Return the means (c, d) of at most so many clusters of the tree of rows, and their numbers of rows (c,)."""
    labels = torch.from_numpy(fcluster(tree, n_clusters, "maxclust").astype(np.int64) - 1).to(rows.device)  # (m,)
    counts = torch.bincount(labels)
    sums = rows.new_zeros(counts.shape[0], rows.shape[1]).index_add_(0, labels, rows)
    return sums / counts[:, None], counts
