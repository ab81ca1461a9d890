"""The M-step: the exact mode of the posterior given statistics, for every structure and prior."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.covariance import CovarianceStructure
from tgmm.parameters import Parameters
from tgmm.priors import Priors
from tgmm.statistics import Statistics


def maximise(statistics: Statistics, structure: CovarianceStructure, priors: Priors) -> Parameters:
    """Return the parameters that maximise the expected log-posterior.

    With N the mass of a component, xbar and S its mean and scatter, D = xbar - m: the weights are proportional
    to max(N + alpha - 1, 0), the mean is (N xbar + kappa m) / (N + kappa), the scatter gains
    N kappa / (N + kappa) D D', and the covariance is (Psi + scatter) over the exponents of its density:
    N for the rows, 1 for the mean's prior, nu + c for its own (Fraley & Raftery 2007, TR 486; Gelman et al., BDA3,
    3.6). One variance for all d features counts the first two d times; pooled structures sum over components.

    Parameters
    ----------
    statistics : Statistics
        A component without mass has a mode where the priors are proper; elsewhere its mean and covariance
        are not to be used.
    structure : CovarianceStructure
    priors : Priors

    Raises
    ------
    ValueError
        If the Dirichlet prior sets every weight to 0.
    """
    mass = statistics.mass  # (K,)
    weight_mass = priors.weight_mass(mass)
    if not weight_mass.sum() > 0:
        raise ValueError("weight_concentration_prior sets every weight to 0: raise it, or fit fewer components.")
    step = statistics.first / torch.where(mass > 0, mass, 1.0)[:, None]  # (K, d)
    means = statistics.centre + step
    scatter = _summed(statistics.second, structure) - _summed(mass[:, None] * structure.moment.of(step), structure)
    if priors.mean is not None and priors.mean_precision is not None:
        gap = means - priors.mean  # (K, d)
        shrinkage = priors.mean_precision / (mass + priors.mean_precision)  # (K,)
        means = means - shrinkage[:, None] * gap
        scatter = scatter + _summed((mass * shrinkage)[:, None] * structure.moment.of(gap), structure)
    if priors.scatter is not None:
        scatter = scatter + priors.scatter
    covariances = structure.unpack(scatter / _exponents(mass, structure, priors, means.shape[1]), means.shape[1])
    return Parameters(weight_mass / weight_mass.sum(), means, covariances)


def _summed(packed: Tensor, structure: CovarianceStructure) -> Tensor:
    """Return packed moments (K or 1, q), summed over the components where they share a covariance."""
    return packed.sum(0, keepdim=True) if structure.pooled else packed


def _exponents(mass: Tensor, structure: CovarianceStructure, priors: Priors, n_features: int) -> Tensor:
    """Return the denominators of the covariances' mode, (B, 1)."""
    count = mass if priors.mean is None else mass + 1  # (K,)
    exponents = structure.exponent(n_features) * _summed(count[:, None], structure)  # (B, 1)
    if priors.degrees_of_freedom is not None:
        exponents = exponents + priors.degrees_of_freedom[:, None] + structure.prior_constant(n_features)
    return torch.where(exponents > 0, exponents, 1.0)
