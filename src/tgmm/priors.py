"""Conjugate priors: a Dirichlet on the weights, a normal-inverse-Wishart on means and covariances.

Sources: Fraley & Raftery 2007 (J. Classification 24, corrected Technical Report 486); Gelman et al., Bayesian
Data Analysis, 3rd edition, 3.6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tgmm.covariance import CovarianceStructure
from tgmm.data.frame import Frame
from tgmm.mixture import Mixture


@dataclass(frozen=True)
class Priors:
    """The priors that were given, each None where it was not.

    ``scatter`` is Psi, packed as the structure packs covariances.
    """

    concentration: Tensor | None = None  # (K,) alpha of the Dirichlet
    mean: Tensor | None = None  # (K, d) m
    mean_precision: Tensor | None = None  # (K,) kappa
    scatter: Tensor | None = None  # (B, q) Psi
    degrees_of_freedom: Tensor | None = None  # (B,) nu

    def in_frame(self, frame: Frame, structure: CovarianceStructure) -> Priors:
        """Map the priors from the user's units into the frame."""
        mean, scatter = self.mean, self.scatter
        if mean is not None:
            mean = (mean - frame.shift) / frame.scale
        if scatter is not None:
            covariances = structure.unpack(scatter, frame.scale.shape[0])
            scatter = structure.pack(structure.rescale(covariances, 1 / frame.scale))
        return replace(self, mean=mean, scatter=scatter)

    @property
    def proper(self) -> bool:
        """Whether a component without data has a proper mode: a mean and a covariance prior."""
        return self.mean is not None and self.scatter is not None

    def weight_mass(self, mass: Tensor) -> Tensor:
        """Return what the weights are proportional to, max(N_k + alpha_k - 1, 0), (K,)."""
        return mass if self.concentration is None else (mass + self.concentration - 1).clamp(min=0)

    def log_density(self, mixture: Mixture, log_volume: Tensor) -> Tensor:
        """Return the log prior density in the user's units, up to terms free of the parameters, ().

        The density of a weight that is exactly 0 is left out: the component is no longer part of the model.
        """
        weights, means = mixture.parameters.weights, mixture.parameters.means
        n_components, n_features = means.shape
        log_det = mixture.factor.log_det + 2 * log_volume  # (B,)
        total = torch.zeros_like(log_volume)
        if self.concentration is not None:
            total = total + (self.concentration - 1) @ torch.where(weights > 0, weights, 1.0).log()
        if self.mean is not None and self.mean_precision is not None:
            gap = means - self.mean  # (K, d)
            distance = (gap * mixture.factor.times(gap)).sum(-1)  # (K,)
            total = total - 0.5 * (log_det.expand(n_components) + self.mean_precision * distance).sum()
        if self.scatter is not None and self.degrees_of_freedom is not None:
            structure = mixture.structure
            power = (self.degrees_of_freedom + structure.prior_constant(n_features)) / structure.exponent(n_features)
            trace = (self.scatter * mixture.factor.coefficients()).sum(-1)  # (B,)
            total = total - 0.5 * (power * log_det + trace).sum()
        return total
