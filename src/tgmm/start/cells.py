"""Ward's cells, merged as Gaussians: clusters of any shape, whatever their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from tgmm.start.cuts import cut
from tgmm.start.ward import hierarchy

RIDGE = 1e-3  # of the rows' variance, added to what all cells have within
CACHED = 8  # trees whose merges are made at once: the pairs of more are not at hand to the processor

Merge = tuple[int, int, int]


class MergeTree:
    """Clusters that merge, each time the two whose union as one Gaussian costs least.

    The cost of a clustering is the sum over clusters of n log|S|, the classification likelihood of Gaussians that each
    have their own covariance (Banfield & Raftery 1993, Biometrics 49; Fraley 1998, SIAM J. Scientific Computing 20). It
    begins with the cells of Ward's hierarchy, which are small and round, and counts each covariance as if some rows
    more had the covariance that cells have within, so that few rows have one.

    Parameters
    ----------
    rows : Tensor of shape (m, d)
        In units in which distances mean something.
    n_cells : int
        With how many cells it begins.
    together : int
        While more clusters are left, all pairs that are each other's best merge at once.
    """

    def __init__(self, rows: Tensor, n_cells: int, together: int) -> None:
        self.cells = cut(hierarchy(rows)[None], np.array([n_cells]))[0]  # (m,)
        self.together = together
        self.clusters = Clusters(rows.numpy(), self.cells)
        self.merges: list[tuple[int, int]] = []  # as far as they were needed
        self._further: Iterator[Merge] | None = None

    def labels(self, n_clusters: int) -> Tensor:
        """Return which of so many clusters each row is in, (m,)."""
        n_cells = self.clusters.size
        cluster = np.arange(n_cells)  # of each cell
        n_merges = max(n_cells - n_clusters, 0)
        if len(self.merges) < n_merges:
            if self._further is None:
                self._further = islice(merges_of([self.clusters], self.together), len(self.merges), None)
            self.merges += ((kept, gone) for _, kept, gone in islice(self._further, n_merges - len(self.merges)))
        for kept, gone in self.merges[:n_merges]:
            cluster[cluster == gone] = kept
        return torch.from_numpy(np.unique(cluster, return_inverse=True)[1][self.cells])


def merge_side_by_side(trees: Sequence[MergeTree], n_clusters: int) -> None:
    """Make the merges of trees that have made none, down to so many clusters, as each would alone.

    They are to begin to merge one by one at the same number.
    """
    for first in range(0, len(trees), CACHED):
        some = trees[first : first + CACHED]
        for tree, kept, gone in merges_of([each.clusters for each in some], some[0].together, n_clusters):
            some[tree].merges.append((kept, gone))


def merges_of(several: Sequence[Clusters], together: int, least: int = 1) -> Iterator[Merge]:
    """Yield the merges of several trees until no more than so many clusters are left of each, those of each in turn.

    A merge is that of which tree, the cluster that stays and the one that becomes part of it.
    """
    size = max(each.size for each in several)
    clusters = Clusters.joined(several, size)
    alive = np.arange(size) < np.array([each.size for each in several])[:, None]  # (T, c)
    costs = np.full((clusters.size, size), np.inf)  # of each cluster of all, with those of its own tree
    i, j = np.nonzero(np.triu(alive[:, :, None] & alive[:, None], 1).reshape(-1, size))
    while True:
        other = j + i // size * size
        costs[i, j] = costs[other, i % size] = clusters.costs(i, other)
        n_left = alive.sum(1)
        most = np.where(n_left > least, np.maximum(n_left - together, 1), 0)
        kept, gone = _cheapest(costs, most)
        if not kept.size:
            break
        tree = kept // size
        yield from zip(tree.tolist(), (kept % size).tolist(), (gone % size).tolist(), strict=True)
        clusters.merge(kept, gone)
        alive.ravel()[gone] = False
        costs[gone], costs.reshape(-1, size, size)[tree, :, gone % size] = np.inf, np.inf
        number, j = np.nonzero(alive[tree])
        i = kept[number]
        i, j = i[i % size != j], j[i % size != j]


def _cheapest(costs: np.ndarray, most: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs that cost least, cheapest first: at most so many of each tree (T,), each the best of both."""
    places = np.arange(len(costs))
    best = costs.argmin(1)
    least = costs[places, best]
    best += places // costs.shape[1] * costs.shape[1]
    i = np.flatnonzero((best[best] == places) & (places < best) & (least < np.inf))
    tree = i // costs.shape[1]
    order = np.lexsort((least[i], tree))
    i, tree = i[order], tree[order]
    i = i[np.arange(i.size) - np.searchsorted(tree, tree) < most[tree]]
    return i, best[i]


class Clusters:
    """The sums of clusters of rows, and what merging two would cost; NumPy is quick where arrays are small."""

    def __init__(self, rows: np.ndarray, labels: np.ndarray) -> None:
        n_rows, n_features = rows.shape
        self.size = int(labels.max()) + 1
        members = np.eye(self.size)[labels].T  # (c, m)
        self.counts = members.sum(1)  # (c,)
        self.means = members @ rows / self.counts[:, None]
        gaps = rows - self.means[labels]
        products = (gaps[:, :, None] * gaps[:, None, :]).reshape(n_rows, -1)
        self.scatter = (members @ products).reshape(-1, n_features, n_features)
        within = self.scatter.sum(0) / n_rows
        self.strength = n_features + 1.0
        prior = self.strength * (within + RIDGE * rows.var(0).mean() * np.eye(n_features))
        self.half = np.broadcast_to(prior / 2, self.scatter.shape)  # of the prior, which each of a pair brings
        self.scatter += self.half
        self.own = self._criterion(self.counts, self.scatter + self.half)  # (c,)

    @classmethod
    def joined(cls, several: Sequence[Clusters], size: int) -> Clusters:
        """Return the clusters of several trees as those of one, each with so many places for its own."""
        whole = copy(several[0])
        whole.size = size * len(several)
        for name in ("counts", "means", "scatter", "half", "own"):
            shape = getattr(whole, name).shape[1:]
            places = np.zeros((len(several), size, *shape))
            for place, each in zip(places, several, strict=True):
                place[: each.size] = getattr(each, name)
            setattr(whole, name, places.reshape(-1, *shape))
        return whole

    def costs(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Return by how much merging pairs (p,) raises the sum of the criteria."""
        counts, scatter = self._union(i, j)
        return self._criterion(counts, scatter) - self.own[i] - self.own[j]

    def merge(self, kept: np.ndarray, gone: np.ndarray) -> None:
        """Make some clusters (p,) part of others."""
        counts, scatter = self._union(kept, gone)
        self.own[kept] = self._criterion(counts, scatter)
        self.scatter[kept] = scatter - self.half[kept]
        self.means[kept] += (self.counts[gone] / counts)[:, None] * (self.means[gone] - self.means[kept])
        self.counts[kept] = counts

    def _criterion(self, counts: np.ndarray, scatter: np.ndarray) -> np.ndarray:
        """Return n log|S| of clusters with the prior among their scatter."""
        total = counts + self.strength
        root = np.linalg.cholesky(scatter)
        log_det = 2 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
        return total * (log_det - scatter.shape[1] * np.log(total))

    def _union(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the counts of the unions of pairs (p,), and their scatter and the prior."""
        n, m = self.counts[i], self.counts[j]
        counts, gap = n + m, self.means[j] - self.means[i]
        scaled = (n * m / counts)[:, None] * gap
        scatter = scaled[:, :, None] * gap[:, None]
        scatter += self.scatter[i]
        scatter += self.scatter[j]
        return counts, scatter
