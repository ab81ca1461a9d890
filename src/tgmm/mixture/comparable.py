"""Densities of rows that lack values, comparable with those of complete rows.

The density of what a row has is of fewer dimensions, so it depends on the units of the values that are missing, and far
fewer or far more of such rows would lie below a threshold for complete rows. The distance of a row from a component
tells how far out it is: its square has a chi-square distribution with as many degrees of freedom as the row has values
(Little & Rubin 2019, Statistical Analysis with Missing Data, 3rd edition; Mahalanobis 1936). A row that lacks values
stands for a complete one as far out, at the distance from each component that as many of its rows exceed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.mixture.base import BaseMixture
from tgmm.mixture.chi import equal_tails
from tgmm.mixture.densities import Predictor
from tgmm.model.observed import Observed, blocks_of
from tgmm.runtime.devices import widen


def comparable_log_density(predictor: Predictor, rows: Tensor) -> Tensor:
    """Return the log-densities of rows, (n,), of those that lack values as of complete rows that are as far out.

    This keeps the share of a component's rows below any threshold the same whatever they lack: exactly with one
    component, and with several where what a row has tells which one it is of.
    """
    density = predictor.log_density(rows)
    lacks = torch.isnan(rows).any(1).nonzero().flatten()
    if lacks.numel():
        found = _as_of_complete(predictor.mixture, widen(rows[lacks]))
        density[lacks.to(density.device)] = found.to(density)
    return density


def _as_of_complete(mixture: BaseMixture, rows: Tensor) -> Tensor:
    """Return the log-densities of complete rows that are as far out as these (c, d), which lack values, (c,)."""
    parameters = mixture.parameters
    rows = rows.to(parameters.means.device)
    density = torch.empty_like(rows[:, 0])
    everything = torch.arange(rows.shape[0], device=rows.device)
    for block in blocks_of(~torch.isnan(rows), everything, parameters.n_components):
        given = Observed(parameters, block.observed)
        squares = given.distances(given.deviations(rows[block.index]))  # (P, K, n)
        for pattern, own, index in zip(block.observed, squares, block.index, strict=True):
            whole = equal_tails(own.cpu().numpy(), int(pattern.sum()), rows.shape[1])
            joint = parameters.log_constants[:, None] - 0.5 * torch.from_numpy(whole).to(own)  # (K, n)
            density[index] = joint.logsumexp(0)
    if mixture.noise is None:
        return density
    return torch.logaddexp(density, parameters.rest.log() - mixture.noise.log_volume)
