"""Conjugate priors: a Dirichlet on the weights, a normal-inverse-Wishart on means and covariances.

Sources: Fraley & Raftery 2007 (J. Classification 24, corrected Technical Report 486); Gelman et al., Bayesian
Data Analysis, 3rd edition, 3.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance import Covariances
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.runtime.frozen import replace


@dataclass(frozen=True)
class Priors:
    """The priors that were given, each None where it was not; in the user's units, or with all else in the frame."""

    concentration: Tensor | None = None  # (K,) alpha of the Dirichlet
    mean: Tensor | None = None  # (K, d) m
    mean_precision: Tensor | None = None  # (K,) kappa
    covariance: Covariances | None = None  # Psi
    degrees_of_freedom: Tensor | None = None  # (B,) nu of the density of each covariance

    def in_frame(self, frame: Frame) -> Priors:
        """Map the priors from the user's units into the frame."""
        mean = None if self.mean is None else frame.rows_in(self.mean)
        covariance = None if self.covariance is None else self.covariance.rescale(1 / frame.scale)
        return replace(self, mean=mean, covariance=covariance)

    def of_some(self, index: Any) -> Priors:
        """Return those of some of many problems, in whose frames they are."""
        mean = None if self.mean is None else self.mean[index]
        return replace(self, mean=mean, covariance=None if self.covariance is None else self.covariance.of_some(index))

    def about(self, origin: Tensor) -> Priors:
        """Return the priors of rows minus an origin (d,)."""
        return self if self.mean is None else replace(self, mean=self.mean - origin)

    @property
    def proper(self) -> bool:
        """Whether a component without data has a proper mode: a mean and a covariance prior that are worth rows."""
        if self.mean is None or self.covariance is None:
            return False
        return bool((torch.as_tensor(self.counts()) > -1).all())

    def weight_mass(self, mass: Tensor) -> Tensor:
        """Return what the weights are proportional to, max(N_k + alpha_k - 1, 0), (..., K)."""
        return mass if self.concentration is None else (mass + self.concentration - 1).clamp(min=0)

    def counts(self) -> Tensor | float:
        """Return by how many rows' powers of its determinant the inverse-Wishart prior adds to a density, (B,)."""
        psi = self.covariance
        if psi is None or self.degrees_of_freedom is None:
            return 0.0
        return (self.degrees_of_freedom + psi.prior_constant(psi.n_features)) / psi.exponent(psi.n_features)

    def log_density(self, parameters: Parameters) -> Tensor | float:
        """Return the log prior density of parameters up to terms that are free of them, (...); 0 without priors.

        The density of a weight that is exactly 0 is left out: the component is no longer part of the model.
        """
        weights, means, factor = parameters.weights, parameters.means, parameters.covariances.factor
        total: Tensor | float = 0.0
        if self.concentration is not None:
            total = total + ((self.concentration - 1) * torch.where(weights > 0, weights, 1.0).log()).sum(-1)
        if self.mean is not None and self.mean_precision is not None:
            gap = means - self.mean  # (K, d)
            distance = (gap * factor.times(gap)).sum(-1)  # (..., K)
            total = total - 0.5 * (factor.log_det.expand(weights.shape) + self.mean_precision * distance).sum(-1)
        if self.covariance is not None:
            trace = (self.covariance.packed * factor.coefficients()).sum(-1)  # (..., B)
            total = total - 0.5 * (self.counts() * factor.log_det + trace).sum(-1)
        return total

    def n_volumes(self, n_components: int) -> float:
        """Return how often the log-volume of the frame enters its log density, as it enters each row's once."""
        of_means = 0.0 if self.mean is None else float(n_components)
        return of_means + float(torch.as_tensor(self.counts()).sum())
