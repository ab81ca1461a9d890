"""The default start: k-means."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.runtime.devices import float32_products
from tgmm.start.seeding import kmeans_plusplus
from tgmm.start.ward import ward_seeds

MAX_ITER = 100
TOLERANCE = 1e-4  # of the summed squared shift of the centres, in units of the frame
FEW = 1 << 15  # distances at most that take less time than all that surrounds scikit-learn's iterations


def kmeans(rows: Tensor, weights: Tensor, n_components: int, generator: torch.Generator) -> Tensor:
    """Return the centres of k-means, (K, d), from the means of Ward's clusters of some rows.

    Where components are too many for that, or rows too much alike, it starts from greedy k-means++ seeding.
    """
    if rows.device.type == "cpu" and rows.shape[0] * n_components <= FEW and rows.dtype != torch.float64:
        # Rows half way between centres then go where they go in problems that are fitted together.
        return kmeans(rows.double(), weights.double(), n_components, generator).to(rows.dtype)
    seeds = ward_seeds(rows, weights, n_components, generator)
    if seeds is None:
        seeds = kmeans_plusplus(rows, weights, n_components, generator)
    return kmeans_from(rows, weights, seeds)


def kmeans_from(rows: Tensor, weights: Tensor, seeds: Tensor) -> Tensor:
    """Return the centres of k-means from seeds (K, d), (K, d): scikit-learn's on the CPU, where rows are many."""
    if rows.device.type != "cpu" or rows.shape[0] * seeds.shape[0] <= FEW:
        return lloyd(rows, weights, seeds)
    from sklearn.cluster import KMeans  # a good part of scikit-learn, which nothing else needs

    # scikit-learn's tolerance is in units of the rows' variance, whatever their weights; in the frame it is 1.
    tolerance = TOLERANCE / max(float(rows.var(0, correction=0).mean()), TOLERANCE)
    model = KMeans(seeds.shape[0], init=seeds.numpy(), n_init=1, max_iter=MAX_ITER, tol=tolerance)
    model.fit(rows.numpy(), sample_weight=weights.numpy())
    return torch.from_numpy(model.cluster_centers_).to(rows.dtype)


@float32_products()
def lloyd(rows: Tensor, weights: Tensor, centres: Tensor) -> Tensor:
    """Return the centres after Lloyd's iterations on the rows' device, (K, d).

    Source: Lloyd 1982, IEEE Transactions on Information Theory 28. A centre that loses its rows stays.
    """
    columns, places = rows.T.contiguous(), torch.arange(centres.shape[0], device=rows.device)[:, None]
    for _ in range(MAX_ITER):
        nearness = torch.addmm(-0.5 * centres.square().sum(1, keepdim=True), centres, columns)  # (K, m)
        shares = (nearness.max(0).indices == places) * weights
        mass = shares.sum(1, keepdim=True)  # (K, 1)
        moved = torch.where(mass > 0, shares @ rows / mass, centres)
        shift = float((moved - centres).square().sum())
        centres = moved
        if shift <= TOLERANCE:
            break
    return centres
