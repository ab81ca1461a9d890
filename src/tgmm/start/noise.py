"""Which rows are likely to be noise, for starts, which look at the others."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tgmm.data.chunk import Chunk
from tgmm.model.frame import Frame
from tgmm.model.parameters import ROUNDING
from tgmm.runtime.devices import widen
from tgmm.start.sample import drawn_in

NEIGHBOURS = 10  # the distance to that many tells how dense rows are
AMONG = 2048  # rows at most, among which they are looked for
STEPS = 50  # of EM on two densities
LEAST, MOST = 0.001, 0.9  # shares of the rows that can be noise


class Cleaned(NamedTuple):
    """Which rows of a sample are likely to be of a component, and the share of the others."""

    is_near: Tensor  # (m,) bool
    share: float


def cleaned(sample: Chunk, different: Tensor, frame: Frame, share: float) -> list[Cleaned]:
    """Return a sample without the rows that are far from their neighbours: a share of them, and as many as seem noise.

    Rows of a cluster have their neighbours nearer than noise has. Neighbours are looked for among the different rows,
    in the frame, in an order of their own.
    """
    from sklearn.neighbors import NearestNeighbors

    rows = drawn_in(frame.rows_in(widen(sample.rows))).cpu().numpy()
    step = max(1, different.shape[0] // AMONG)
    others = drawn_in(different[::step].cpu().double()).numpy()
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(others))).fit(others)
    distances, weights = torch.from_numpy(search.kneighbors(rows)[0][:, -1]), sample.own_weights().cpu()
    weights = weights / weights.sum()
    is_near = [distances <= _quantile(distances, weights, 1 - share), ~_sparse(distances, weights, rows.shape[1])]
    shares = [float(weights[~near].sum()) for near in is_near]
    found = [Cleaned(near, own) for near, own in zip(is_near, shares, strict=True) if LEAST < own < MOST]
    return found or [Cleaned(torch.ones_like(is_near[0]), share)]


def _quantile(values: Tensor, weights: Tensor, share: float) -> float:
    """Return the least of values (m,) that is not below such a share of weights (m,), which sum to 1."""
    order = values.argsort()
    place = int(torch.searchsorted(weights[order].cumsum(0), share * (1 - ROUNDING)))
    return float(values[order[min(place, len(order) - 1)]])


def _sparse(distances: Tensor, weights: Tensor, n_features: int) -> Tensor:
    """Return which rows are of the sparser of two Poisson processes, by distances to the k-th neighbour, (m,) bool.

    Byers & Raftery 1998 (J. American Statistical Association 93): the d-th powers of the distances have gamma laws of
    shape k, whose rates are the densities.
    """
    logs = n_features * (distances / max(_quantile(distances, weights, 0.5), 1e-300)).clamp(min=1e-300).log()
    volumes = logs.clamp(-300, 300).exp()  # of the balls, up to a factor
    is_sparse = (logs > 0).double()
    for _ in range(STEPS):
        shares = torch.stack([1 - is_sparse, is_sparse]) * weights  # (2, m)
        mass = shares.sum(1)
        rates = NEIGHBOURS * mass / (shares @ volumes)
        scores = (mass / mass.sum()).log() + NEIGHBOURS * rates.log()
        joint = scores[:, None] - rates[:, None] * volumes
        is_sparse = joint.softmax(0)[1].nan_to_num(nan=0.0)
        if not 0 < float(is_sparse.mean()) < 1:
            break
    return is_sparse > 0.5
