"""Cuts of hierarchies, many at once: trees (P, m - 1, 4) of the merges of m rows each, as scipy gives them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


def cut(trees: np.ndarray, n_clusters: np.ndarray) -> np.ndarray:
    """Return which of at most so many clusters (P,) of its tree each row is in, (P, m).

    There are fewer where merges at one height join several at once. Clusters have the numbers, from 0, that scipy's
    ``fcluster`` gives them, less 1.
    """
    last = _last_merges(trees[..., 2], n_clusters)  # (P,)
    n_rows = trees.shape[1] + 1
    top = _tops(trees[..., :2].astype(np.int64), n_rows + last)
    numbers = np.empty_like(top)
    for tree, number, first in zip(trees, numbers, (last + 1).tolist(), strict=True):
        clusters = _clusters(tree[first:, :2].astype(np.int64).tolist(), n_rows + first)
        number[clusters] = np.arange(len(clusters))
    return numbers[np.arange(len(trees))[:, None], top[:, :n_rows]]


class LargeClusters(NamedTuple):
    """The largest clusters of trees."""

    labels: np.ndarray  # (P, m), which of the K largest clusters each row is in, largest first, -1 for none
    found: np.ndarray  # (P,), whether there are so many


def large_clusters(trees: np.ndarray, n_components: int) -> LargeClusters:
    """Return the K largest clusters of each tree, which is cut where it has K clusters of some size.

    Rows far from all others are clusters of their own high up in the tree, and would else cost components that merge
    what is apart.
    """
    average = (trees.shape[1] + 1) / n_components
    least = max(average / 20, min(3.0, average / 8))  # rows of a cluster; 3 are no outliers, unless all are small
    n_clusters = clusters_for(trees, n_components, least)
    labels = cut(trees, np.maximum(n_clusters, 1))
    size = max(int(labels.max()) + 1, n_components)
    tree = np.arange(len(trees))[:, None]
    counts = np.bincount((labels + size * tree).ravel(), minlength=size * len(trees)).reshape(-1, size)
    found = (n_clusters > 0) & ((counts >= least).sum(1) >= n_components)
    order = (-counts).argsort(1, kind="stable")[:, :n_components]
    ranks = np.full_like(counts, -1)
    ranks[tree, order] = np.arange(n_components)
    return LargeClusters(ranks[tree, labels], found)


def clusters_for(trees: np.ndarray, n_components: int, least: float) -> np.ndarray:
    """Return the smallest numbers of clusters of which K have at least so many rows, 0 where there is none, (P,)."""
    n_rows = trees.shape[1] + 1
    large = np.concatenate([np.ones((len(trees), n_rows)), trees[..., 3]], 1) >= least  # nodes: rows, then merges
    children = trees[..., :2].astype(np.int64).reshape(len(trees), -1)
    parts = large[np.arange(len(trees))[:, None], children].reshape(len(trees), -1, 2).sum(2) - large[:, n_rows:]
    # Large clusters that undoing one merge after another adds to the one that there is.
    added = np.concatenate([np.ones((len(trees), 1), int), parts[:, ::-1]], 1)
    enough = added.cumsum(1) >= n_components  # of 1, 2, ... clusters
    return np.where(enough.any(1), enough.argmax(1) + 1, 0)


def _last_merges(heights: np.ndarray, n_clusters: np.ndarray) -> np.ndarray:
    """Return the last merge that makes at most so many clusters, -1 for none, (P,): those as high are made too."""
    n_merges = heights.shape[1]
    wanted = n_merges - n_clusters  # merges are 0, 1, ...
    is_last = np.ones((len(heights), n_merges + 1), dtype=bool)  # of -1, 0, 1, ...
    is_last[:, 1:-1] = heights[:, 1:] > heights[:, :-1]
    is_last &= np.arange(-1, n_merges) >= wanted[:, None]
    return is_last.argmax(1) - 1


def _tops(children: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the highest node above each node (P, 2 m - 1) that is not higher than the last ones, (P,).

    Nodes above these are their own.
    """
    n_trees, n_merges = children.shape[:2]
    n_nodes = 2 * n_merges + 1
    first = n_nodes * np.arange(n_trees)[:, None]  # of each tree, in one sequence of the nodes of all
    parents = np.arange(n_merges + 1, n_nodes)
    children = children + first[..., None]
    within = np.where((parents <= last[:, None])[..., None], (parents + first)[..., None], children)
    top = np.arange(n_trees * n_nodes)
    top[children.ravel()] = within.ravel()
    while not np.array_equal(higher := top[top], top):
        top = higher
    return top.reshape(n_trees, n_nodes) - first


def _clusters(merges: list[list[int]], first: int) -> list[int]:
    """Return the nodes that the last merges join, of which the first makes a node of this number, in scipy's order.

    That is from the left to the right, but rows alone come after other clusters below the same merge.
    """
    n_rows = (first + len(merges) + 1) // 2
    if not merges:
        return [first - 1]
    found: list[int] = []
    waiting: list[tuple[int, bool]] = [(first + len(merges) - 1, False)]  # with whether only what comes after is left
    while waiting:
        node, is_seen = waiting.pop()
        if node < first:
            found.append(node)
            continue
        pair = merges[node - first]
        if is_seen:
            found += [child for child in pair if child < n_rows]
        else:
            waiting.append((node, True))
            waiting += [(child, False) for child in reversed(pair) if child >= n_rows]
    return found
