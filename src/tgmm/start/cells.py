"""Ward's cells, merged as Gaussians: clusters of any shape, whatever their number."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from tgmm.start.cuts import cut
from tgmm.start.ward import hierarchy

RIDGE = 1e-3  # of the rows' variance, added to what all cells have within


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
        self.merges: list[tuple[int, int]] = []  # as far as they were needed
        self._further = merges_of(Clusters(rows.numpy(), self.cells), together)

    def labels(self, n_clusters: int) -> Tensor:
        """Return which of so many clusters each row is in, (m,)."""
        n_cells = int(self.cells.max()) + 1
        cluster = np.arange(n_cells)  # of each cell
        n_merges = max(n_cells - n_clusters, 0)
        self.merges += islice(self._further, max(n_merges - len(self.merges), 0))
        for kept, gone in self.merges[:n_merges]:
            cluster[cluster == gone] = kept
        return torch.from_numpy(np.unique(cluster, return_inverse=True)[1][self.cells])


def merges_of(clusters: Clusters, together: int) -> Iterator[tuple[int, int]]:
    """Yield the merges in turn, each as the cluster that stays and the one that becomes part of it."""
    alive = np.ones(clusters.size, dtype=bool)
    costs = np.full((clusters.size, clusters.size), np.inf)
    i, j = np.triu_indices(clusters.size, 1)
    costs[i, j] = costs[j, i] = clusters.costs(i, j)
    while (n_left := int(alive.sum())) > 1:
        kept, gone = _cheapest(costs, max(n_left - together, 1))
        yield from zip(kept.tolist(), gone.tolist(), strict=True)
        clusters.merge(kept, gone)
        alive[gone] = False
        costs[gone], costs[:, gone] = np.inf, np.inf
        others = np.flatnonzero(alive)
        i, j = np.repeat(kept, others.size), np.tile(others, kept.size)
        i, j = i[i != j], j[i != j]
        costs[i, j] = costs[j, i] = clusters.costs(i, j)


def _cheapest(costs: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs that cost least, cheapest first: at most so many, each of which is the other's best."""
    best = costs.argmin(1)
    least = costs[np.arange(best.size), best]
    if most == 1:
        i = np.array([least.argmin()])
    else:
        places = np.arange(best.size)
        i = np.flatnonzero((best[best] == places) & (places < best) & np.isfinite(least))
        i = i[least[i].argsort(kind="stable")[:most]]
    return np.minimum(i, best[i]), np.maximum(i, best[i])


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
        self.prior = self.strength * (within + RIDGE * rows.var(0).mean() * np.eye(n_features))
        self.own = self._criterion(self.counts, self.scatter)  # (c,)

    def costs(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Return by how much merging pairs (p,) raises the sum of the criteria."""
        counts, scatter, _ = self._union(i, j)
        return self._criterion(counts, scatter) - self.own[i] - self.own[j]

    def merge(self, kept: np.ndarray, gone: np.ndarray) -> None:
        """Make some clusters (p,) part of others."""
        self.counts[kept], self.scatter[kept], self.means[kept] = self._union(kept, gone)
        self.own[kept] = self._criterion(self.counts[kept], self.scatter[kept])

    def _criterion(self, counts: np.ndarray, scatter: np.ndarray) -> np.ndarray:
        """Return n log|S| of clusters."""
        total = counts + self.strength
        root = np.linalg.cholesky((scatter + self.prior) / total[:, None, None])
        return 2 * total * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)

    def _union(self, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the counts, the scatter and the means of the unions of pairs (p,)."""
        n, m = self.counts[i], self.counts[j]
        counts, gap = n + m, self.means[j] - self.means[i]
        scaled = (n * m / counts)[:, None] * gap
        scatter = self.scatter[i] + self.scatter[j] + scaled[:, :, None] * gap[:, None]
        return counts, scatter, self.means[i] + (m / counts)[:, None] * gap
