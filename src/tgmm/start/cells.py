"""Ward's cells, merged as Gaussians: clusters of any shape, whatever their number."""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster
from torch import Tensor

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
        labels = fcluster(hierarchy(rows), n_cells, "maxclust").astype(np.int64) - 1
        self.cells = torch.from_numpy(labels)  # (m,)
        self.merges = merges_of(Clusters(rows, self.cells), together)

    def labels(self, n_clusters: int) -> Tensor:
        """Return which of so many clusters each row is in, (m,)."""
        n_cells = int(self.cells.max()) + 1
        cluster = np.arange(n_cells)  # of each cell
        for kept, gone in self.merges[: max(n_cells - n_clusters, 0)]:
            cluster[cluster == gone] = kept
        return torch.from_numpy(np.unique(cluster, return_inverse=True)[1])[self.cells]


def merges_of(clusters: Clusters, together: int) -> list[tuple[int, int]]:
    """Return the merges in turn, each as the cluster that stays and the one that becomes part of it."""
    merges: list[tuple[int, int]] = []
    alive = torch.ones(clusters.size, dtype=torch.bool)
    costs = torch.full((clusters.size, clusters.size), torch.inf, dtype=torch.float64)
    i, j = torch.triu_indices(clusters.size, clusters.size, 1)
    costs[i, j] = costs[j, i] = clusters.costs(i, j)
    while (n_left := clusters.size - len(merges)) > 1:
        kept, gone = _cheapest(costs, max(n_left - together, 1))
        clusters.merge(kept, gone)
        merges += zip(kept.tolist(), gone.tolist(), strict=True)
        alive[gone] = False
        costs[gone], costs[:, gone] = torch.inf, torch.inf
        others = alive.nonzero().flatten()
        i, j = (part.flatten() for part in torch.meshgrid(kept, others, indexing="ij"))
        i, j = i[i != j], j[i != j]
        costs[i, j] = costs[j, i] = clusters.costs(i, j)
    return merges


def _cheapest(costs: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return the pairs that cost least, cheapest first: at most so many, each of which is the other's best."""
    least, best = costs.min(1)
    if most == 1:
        i = least.argmin()[None]
    else:
        places = torch.arange(costs.shape[0])
        i = ((best[best] == places) & (places < best) & torch.isfinite(least)).nonzero().flatten()
        i = i[least[i].argsort(stable=True)[:most]]
    return torch.minimum(i, best[i]), torch.maximum(i, best[i])


class Clusters:
    """The sums of clusters of rows, and what merging two would cost."""

    def __init__(self, rows: Tensor, labels: Tensor) -> None:
        n_rows, n_features = rows.shape
        self.size = int(labels.max()) + 1
        self.counts = torch.bincount(labels, minlength=self.size).to(rows)  # (c,)
        self.means = rows.new_zeros(self.size, n_features).index_add_(0, labels, rows) / self.counts[:, None]
        gaps = rows - self.means[labels]
        products = gaps[:, :, None] * gaps[:, None, :]
        self.scatter = rows.new_zeros(self.size, n_features, n_features).index_add_(0, labels, products)
        within = self.scatter.sum(0) / n_rows
        ridge = RIDGE * rows.var(0, correction=0).mean()
        self.strength = n_features + 1.0
        self.prior = self.strength * (within + ridge * torch.eye(n_features, dtype=rows.dtype))
        self.own = self._criterion(self.counts, self.scatter)  # (c,)

    def costs(self, i: Tensor, j: Tensor) -> Tensor:
        """Return by how much merging pairs (p,) raises the sum of the criteria."""
        counts, scatter, _ = self._union(i, j)
        return self._criterion(counts, scatter) - self.own[i] - self.own[j]

    def merge(self, kept: Tensor, gone: Tensor) -> None:
        """Make some clusters (p,) part of others."""
        self.counts[kept], self.scatter[kept], self.means[kept] = self._union(kept, gone)
        self.own[kept] = self._criterion(self.counts[kept], self.scatter[kept])

    def _criterion(self, counts: Tensor, scatter: Tensor) -> Tensor:
        """Return n log|S| of clusters."""
        total = counts + self.strength
        root = torch.linalg.cholesky_ex((scatter + self.prior) / total[:, None, None])[0]
        return 2 * total * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def _union(self, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the counts, the scatter and the means of the unions of pairs (p,)."""
        n, m = self.counts[i], self.counts[j]
        counts, gap = n + m, self.means[j] - self.means[i]
        scatter = self.scatter[i] + self.scatter[j] + (n * m / counts)[:, None, None] * gap[:, :, None] * gap[:, None]
        return counts, scatter, self.means[i] + (m / counts)[:, None] * gap
