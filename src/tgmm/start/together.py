"""Starts of many problems at once: the centres that `tgmm.start` finds for each of them alone.

All problems draw by the same seed, so that what is drawn before anything depends on the rows is the same for all.

A start is a function of rows (P, m, d), their weights (P, m), which are 0 where rows only fill up, K and a seed, that
gives centres (P, K, d), NaN where it finds none for a problem. Registering it here makes `fit_many` quick with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tgmm.runtime.largest import mark_largest
from tgmm.start.cuts import large_clusters
from tgmm.start.kmeans import MAX_ITER, TOLERANCE
from tgmm.start.ward import hierarchy, number_drawn, ward_seeds

StartTogether = Callable[[Tensor, Tensor, int, int], Tensor]


def random_rows(rows: Tensor, weights: Tensor, n_components: int, seed: int) -> Tensor:
    """Return different rows at random, with probability in proportion to their weights."""
    keys = -_uniform(rows.shape[1], _generator(seed), rows.device).log() / weights  # infinite for rows that fill up
    return _taken(rows, keys.topk(n_components, largest=False).indices)


def kmeans_plusplus(rows: Tensor, weights: Tensor, n_components: int, seed: int) -> Tensor:
    """Return the seeds of greedy k-means++."""
    generator, n_trials = _generator(seed), 2 + int(math.log(n_components))
    last = _last(weights)
    chosen = [_drawn(weights, last, _uniform(1, generator, rows.device))[:, 0]]  # (P,) each
    nearest = _squared_distances(rows, _taken(rows, chosen[0][:, None]))[..., 0]  # (P, m)
    while len(chosen) < n_components:
        candidates = _drawn(nearest * weights, last, _uniform(n_trials, generator, rows.device))  # (P, trials)
        distances = torch.minimum(nearest[..., None], _squared_distances(rows, _taken(rows, candidates)))
        best = (weights[:, None] @ distances)[:, 0].argmin(1, keepdim=True)  # (P, 1)
        chosen.append(candidates.gather(1, best)[:, 0])
        nearest = distances.gather(2, best[:, None].expand(-1, rows.shape[1], 1))[..., 0]
    return _taken(rows, torch.stack(chosen, 1))


def farthest_first(rows: Tensor, weights: Tensor, n_components: int, seed: int) -> Tensor:
    """Return a random row and then, each time, the row farthest from those chosen."""
    chosen = [_drawn(weights, _last(weights), _uniform(1, _generator(seed), rows.device))[:, 0]]
    nearest = torch.where(weights > 0, torch.inf, -torch.inf)
    while len(chosen) < n_components:
        last = _taken(rows, chosen[-1][:, None])
        nearest = torch.minimum(nearest, _squared_distances(rows, last)[..., 0])
        chosen.append(nearest.argmax(1))
    return _taken(rows, torch.stack(chosen, 1))


def kmeans(rows: Tensor, weights: Tensor, n_components: int, seed: int) -> Tensor:
    """Return the centres of k-means from the means of Ward's clusters of some rows.

    Trees are made of one problem after another, and cut together.
    """
    seeds, counts = rows.new_full((rows.shape[0], n_components, rows.shape[2]), torch.nan), (weights > 0).sum(1)
    for count in counts.unique().tolist():
        if n_drawn := number_drawn(count, n_components):
            alike = counts == count
            drawn = random_rows(rows[alike, :count], weights[alike, :count], n_drawn, seed)
            seeds[alike] = _means_of_large_clusters(drawn, n_components)
    for place in torch.isnan(seeds).any(2).any(1).nonzero().flatten().tolist():  # clusters are small, or tied
        count = int(counts[place])
        found = ward_seeds(rows[place, :count], weights[place, :count], n_components, _generator(seed))
        if found is not None:
            seeds[place] = found
    return lloyd(rows, weights, seeds)


def lloyd(rows: Tensor, weights: Tensor, centres: Tensor) -> Tensor:
    """Return the centres after Lloyd's iterations, NaN where one loses its rows; they end as scikit-learn's do."""
    found, places = torch.full_like(centres, torch.nan), torch.arange(rows.shape[0], device=rows.device)
    tolerance, weigh_the_same = _tolerances(rows, weights), bool((weights == 1).all())
    for _ in range(MAX_ITER):
        masses = centres @ rows.mT - 0.5 * centres.square().sum(2, keepdim=True)  # (P, K, m), largest where nearest
        mark_largest(masses)
        if not weigh_the_same:
            masses.mul_(weights[:, None])
        moved = masses @ rows / masses.sum(2, keepdim=True)  # NaN where a centre has no rows
        going = (moved - centres).square().sum((1, 2)) > tolerance  # not where rows stay with their centres
        centres = moved
        if not going.all():
            found[places[~going]] = centres[~going]
            rows, weights, centres = rows[going], weights[going], centres[going]
            places, tolerance = places[going], tolerance[going]
            if not len(places):
                break
    found[places] = centres
    return found


TOGETHER: dict[str, StartTogether] = {
    "kmeans": kmeans,
    "kpp": kmeans_plusplus,
    "k-means++": kmeans_plusplus,
    "random": random_rows,
    "points": random_rows,
    "maxdist": farthest_first,
}


def _means_of_large_clusters(drawn: Tensor, n_components: int) -> Tensor:
    """Return the means (P, K, d) of the K largest of Ward's clusters of rows (P, m, d), NaN where there are fewer."""
    device, drawn = drawn.device, drawn.cpu()
    labels, found = large_clusters(np.stack([hierarchy(each) for each in drawn]), n_components)
    members = torch.from_numpy(labels[:, None] == np.arange(n_components)[:, None]).double()  # (P, K, m)
    means = members @ drawn / members.sum(2, keepdim=True)
    return torch.where(torch.from_numpy(found)[:, None, None], means, torch.nan).to(device)


def _tolerances(rows: Tensor, weights: Tensor) -> Tensor:
    """Return the summed squared shift of the centres at which k-means ends, (P,), by the variance of different rows."""
    real = (weights > 0).to(rows.dtype)
    mean = (real[:, None] @ rows) / real.sum(1)[:, None, None]
    variance = (real[:, None] @ (rows - mean).square())[:, 0].mean(1) / real.sum(1)
    return TOLERANCE * variance / variance.clamp(min=TOLERANCE)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def _uniform(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Return uniform numbers on a device, the same on all; the first of them are what fewer would be."""
    return torch.rand(count, generator=generator, dtype=torch.float64, device="cpu").to(device)


def _drawn(potential: Tensor, last: Tensor, uniform: Tensor) -> Tensor:
    """Return indices drawn in proportion to potentials (P, m) by uniform numbers (t,), (P, t)."""
    cumulative = potential.cumsum(1)
    return torch.minimum(torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True), last)


def _last(weights: Tensor) -> Tensor:
    """Return the indices of the last rows that do not only fill up, (P, 1)."""
    return (weights > 0).sum(1, keepdim=True) - 1


def _taken(rows: Tensor, index: Tensor) -> Tensor:
    """Return the rows of these indices (P, t), (P, t, d)."""
    return rows.gather(1, index[..., None].expand(-1, -1, rows.shape[2]))


def _squared_distances(rows: Tensor, centres: Tensor) -> Tensor:
    """Return squared Euclidean distances (P, m, c), by differences: exactly 0 for equal rows."""
    z = rows.mT.contiguous()  # along rows, sums over few features are quick
    return torch.stack([(z - centre[..., None]).square_().sum(1) for centre in centres.unbind(1)], 2)
