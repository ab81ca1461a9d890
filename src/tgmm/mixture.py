"""A mixture ready for use: parameters with their factored covariances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from tgmm.covariance import CovarianceStructure, Factor
from tgmm.parameters import Parameters
from tgmm.placement import moved


class Natural(NamedTuple):
    """Natural parameters: log(weight_k p_k(z)) = eta_k . (1, z, moment(z)) + shared . moment(z)."""

    eta: Tensor  # (K, 1 + d + q), or (K, 1 + d) where the quadratic part is shared
    shared: Tensor | None  # (q,)


@dataclass(frozen=True)
class Mixture:
    """Parameters, the structure they belong to, and the factor of their covariances."""

    parameters: Parameters
    structure: CovarianceStructure
    factor: Factor

    @classmethod
    def of(cls, parameters: Parameters, structure: CovarianceStructure) -> Mixture:
        """Factor the covariances, or raise CovarianceCollapse."""
        return cls(parameters, structure, structure.factor(parameters.covariances, parameters.means.shape[1]))

    def to(self, device: torch.device) -> Mixture:
        """Return the mixture with its tensors on the device."""
        if self.parameters.means.device == device:
            return self
        return Mixture(moved(self.parameters, device), self.structure, moved(self.factor, device))

    @cached_property
    def log_constants(self) -> Tensor:
        """Log weight plus the log-density at the mean, (K,)."""
        weights, n_features = self.parameters.weights, self.parameters.means.shape[1]
        return weights.log() - 0.5 * (n_features * math.log(2 * math.pi) + self.factor.log_det)

    @cached_property
    def smallest_variance(self) -> float:
        """The smallest variance of any feature in any component."""
        return float(self.structure.variances(self.parameters.covariances, self.parameters.means.shape[1]).amin())

    @cached_property
    def natural(self) -> Natural:
        """Return the natural parameters (Bishop, PRML, 2.4 and exercise 2.57)."""
        means = self.parameters.means
        linear = self.factor.times(means)  # (K, d)
        constant = self.log_constants - 0.5 * (means * linear).sum(-1)  # (K,)
        quadratic = -0.5 * self.factor.coefficients()  # (B, q)
        if self.structure.pooled:
            return Natural(torch.cat([constant[:, None], linear], 1), quadratic[0])
        return Natural(torch.cat([constant[:, None], linear, quadratic], 1), None)

    def log_joint(self, deviations: Tensor) -> Tensor:
        """Return log(weight_k p_k) of rows with these deviations (K, c, d) from the means, (K, c)."""
        return self.log_constants[:, None] - 0.5 * self.factor.whiten(deviations).square().sum(-1)

    @cached_property
    def amplification_about_origin(self) -> float:
        """The largest amplification over the components in sums about the origin."""
        return float(self.amplification(torch.zeros_like(self.parameters.means[:1])).amax())

    def amplification(self, centre: Tensor) -> Tensor:
        """Return by how much rounding in sums about centre is amplified in the variances, (K,).

        Components of weight 0 take no part in any sum.
        """
        means, n_features = self.parameters.means, self.parameters.means.shape[1]
        variances = self.structure.variances(self.parameters.covariances, n_features)
        second = (means - centre).square() + variances  # (K, d)
        return torch.where(self.parameters.weights > 0, self.factor.amplification(second), 0.0)
