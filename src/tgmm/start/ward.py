"""Ward's hierarchical clustering, by scipy."""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.hierarchy import linkage
from torch import Tensor

from tgmm.start import cuts
from tgmm.start.seeding import draw

# How many rows are clustered as seeds of k-means; memory and time grow with their square.
ROWS_LEAST, ROWS, ROWS_MOST = 256, 1024, 2048
ROWS_PER_COMPONENT, ROWS_PER_COMPONENT_LEAST = 64, 16
HALVED = 8  # rows a component from which on every other one is enough


def hierarchy(rows: Tensor) -> np.ndarray:
    """Return the tree in which rows (m, d) merge, each time the two clusters whose union adds least to the variance.

    Source: Ward 1963, Journal of the American Statistical Association 58.
    """
    return linkage(rows.cpu().numpy(), "ward")


def cluster_means(rows: Tensor, tree: np.ndarray, n_components: int) -> Tensor | None:
    """Return the means (K, d) of K clusters of the tree of rows, or None where it has no cut into so many."""
    labels = _cut(tree, n_components)
    if int(labels.max()) + 1 != n_components:  # ties join several clusters at once
        return None
    return means_of(rows, labels)


def ward_seeds(rows: Tensor, weights: Tensor, n_components: int, generator: torch.Generator) -> Tensor | None:
    """Return the means (K, d) of Ward's clusters of some rows, or None where K is too large or rows are too much alike.

    Clusters that are apart are found far more often than by seeding row by row. The rows are drawn with probability
    in proportion to their weights, and are at most half of all, so that starts differ from each other.
    """
    n_drawn = number_drawn(rows.shape[0], n_components)
    if not n_drawn:
        return None
    drawn = rows[draw(weights, n_drawn, generator, replacement=False)]
    tree = hierarchy(drawn)
    labels = large_clusters(tree, n_components)
    return cluster_means(drawn, tree, n_components) if labels is None else means_of(drawn, labels)


def number_drawn(n_rows: int, n_components: int) -> int:
    """Return how many of so many rows are clustered as seeds of k-means, 0 where K is too large."""
    n_drawn = max(ROWS_LEAST, min(ROWS_PER_COMPONENT * n_components, ROWS), ROWS_PER_COMPONENT_LEAST * n_components)
    if n_drawn > ROWS_MOST:
        return 0
    return min(n_drawn, max(n_rows // 2, min(n_rows, HALVED * n_components)))


def partition(rows: Tensor, tree: np.ndarray, n_components: int) -> Tensor | None:
    """Return which of K clusters of the tree each row is in or next to, (m,), or None where there are not so many."""
    labels = large_clusters(tree, n_components)
    if labels is None:
        labels = _cut(tree, n_components)
        return labels if int(labels.max()) + 1 == n_components else None
    small = labels < 0
    if small.any():
        labels[small] = torch.cdist(rows[small], means_of(rows, labels)).argmin(1)
    return labels


def large_clusters(tree: np.ndarray, n_components: int) -> Tensor | None:
    """Return which of the K largest clusters each row is in, (m,), -1 for none; None where there are not so many.

    See `tgmm.start.cuts.large_clusters`.
    """
    labels, found = cuts.large_clusters(tree[None], n_components)
    return torch.from_numpy(labels[0]) if found[0] else None


def _cut(tree: np.ndarray, n_clusters: int) -> Tensor:
    """Return which of at most so many clusters of the tree each row is in, (m,)."""
    return torch.from_numpy(cuts.cut(tree[None], np.array([n_clusters]))[0])


def means_of(rows: Tensor, labels: Tensor) -> Tensor:
    """Return the means of clusters, (c, d), without the rows in none, of label -1."""
    labels = labels.to(rows.device)
    if not (is_in_one := labels >= 0).all():
        rows, labels = rows[is_in_one], labels[is_in_one]
    counts = torch.bincount(labels)
    return rows.new_zeros(counts.shape[0], rows.shape[1]).index_add_(0, labels, rows) / counts[:, None]
