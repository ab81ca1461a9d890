"""Components that lost all their rows, and where they start again."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tgmm.data.batches import chunks
from tgmm.em.expectation import Expectation
from tgmm.kernels.assignment import soft
from tgmm.kernels.centred import Centred
from tgmm.mixture import Mixture
from tgmm.parameters import Parameters
from tgmm.priors import Priors
from tgmm.statistics import Statistics


def lost_components(statistics: Statistics, priors: Priors) -> Tensor:
    """Return which components have no mass to estimate anything from, (K,).

    Not lost are components that the Dirichlet prior's mode sets to 0, and those whose priors alone have a mode.
    """
    negligible = 16 * torch.finfo(torch.float64).eps * statistics.weight
    lost = statistics.mass <= negligible
    if priors.proper:
        return torch.zeros_like(lost)
    if priors.concentration is not None:
        return lost & (priors.weight_mass(statistics.mass) > 0)
    return lost


def reseed(parameters: Parameters, lost: Tensor, mixture: Mixture, expectation: Expectation) -> Parameters:
    """Put lost components on the rows that the mixture explains worst.

    Each gets the weight 1/K and the weighted mean of the other components' covariances.
    """
    n_components = lost.shape[0]
    n_lost = int(lost.sum())
    means = parameters.means.clone()
    means[lost] = worst_explained(mixture, expectation, n_lost)
    others = replace(parameters, weights=torch.where(lost, 0.0, parameters.weights))
    covariances = parameters.covariances
    if covariances.shape[0] == n_components:
        covariances = covariances.clone()
        covariances[lost] = average(others)
    weights = others.weights / others.weights.sum() * (1 - n_lost / n_components)
    return Parameters(torch.where(lost, 1 / n_components, weights), means, covariances)


def worst_explained(mixture: Mixture, expectation: Expectation, count: int) -> Tensor:
    """Return the count rows of lowest log-density, in the frame, (count, d)."""
    batches, fast = expectation.batches, expectation.kernel
    kernel = Centred(mixture.structure, fast.frame, fast.n_components, torch.float64, fast.device)

    def lowest_of_own() -> Tensor:
        """Return the rows of lowest log-density in this process, with it as their last column, (m, d + 1)."""
        lowest = torch.empty(0, batches.n_features + 1, dtype=torch.float64)
        for chunk in chunks(batches, kernel.rows):
            density, _ = soft(kernel.log_joint(chunk.rows, mixture)[0], chunk.first)  # (c,)
            found = density.topk(min(count, density.shape[0]), largest=False)
            rows = chunk.rows[found.indices.to(chunk.rows.device)]
            scored = torch.cat([rows.cpu().double(), found.values.cpu()[:, None]], 1)
            lowest = _lowest(torch.cat([lowest, scored]), count)
        return lowest

    lowest = torch.cat(batches.processes.exchange(batches.processes.guard(lowest_of_own)))
    worst = _lowest(lowest, count)[:, :-1].to(kernel.frame.shift.device)
    return (worst - kernel.frame.shift) / kernel.frame.scale


def _lowest(rows: Tensor, count: int) -> Tensor:
    """Return at most count of the rows, those whose last column is lowest."""
    return rows[rows[:, -1].topk(min(count, rows.shape[0]), largest=False).indices]


def keep_previous(parameters: Parameters, gone: Tensor, previous: Parameters) -> Parameters:
    """Return parameters with the means and covariances that components without weight had before.

    Where they had no covariance of this structure before, they get the mean of the others'.
    """
    if not gone.any():
        return parameters
    means = torch.where(gone[:, None], previous.means, parameters.means)
    covariances = parameters.covariances
    if covariances.shape[0] == gone.shape[0]:
        known = previous.covariances.shape == covariances.shape
        covariances = covariances.clone()
        covariances[gone] = previous.covariances[gone] if known else average(parameters)
    return replace(parameters, means=means, covariances=covariances)


def average(parameters: Parameters) -> Tensor:
    """Return the weighted mean of the covariances, (...)."""
    covariances = parameters.covariances
    shares = (parameters.weights / parameters.weights.sum()).reshape(-1, *[1] * (covariances.ndim - 1))
    return torch.where(shares > 0, shares * covariances, 0.0).sum(0)
