"""The parameters of a mixture, and what follows from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance import Covariances, Spherical, Structure
from tgmm.covariance.moments import Sums
from tgmm.model.posterior import Posterior
from tgmm.model.statistics import Statistics
from tgmm.runtime.devices import fields_of, moved
from tgmm.runtime.frozen import kept, replace

ROUNDING = 1e-12  # of a sum of weights


@dataclass(frozen=True)
class Parameters:
    """Weights, means and covariances of a mixture of K Gaussians in d dimensions, in float64.

    They are in the frame of a fit (`tgmm.model.frame`), unless a fitted mixture holds them: those are in the user's
    units. Everything else is computed when it is first needed, and kept.

    With a posterior they are what it expects, of weights, means and precisions, and densities are the exponentials of
    expected log-densities.
    """

    weights: Tensor  # (..., K)
    means: Tensor  # (..., K, d)
    covariances: Covariances
    posterior: Posterior | None = None

    @property
    def n_components(self) -> int:
        """K."""
        return self.means.shape[-2]

    @property
    def n_features(self) -> int:
        """The number of features, d."""
        return self.means.shape[-1]

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: what follows from it is not."""
        return fields_of(self)

    def to(self, device: torch.device) -> Parameters:
        """Return the parameters on the device."""
        return self if self.means.device == device else moved(self, device)

    def apart(self) -> Parameters:
        """Return the same mixture, with a covariance for each component."""
        return replace(self, covariances=self.covariances.apart(self.n_components))

    def in_form_of(self, structure: Structure) -> Parameters:
        """Return the same mixture with covariances as a structure keeps them that comes to the same, of one feature."""
        if structure.keeps(self.covariances):
            return self
        packed = (self.covariances if structure.shared else self.covariances.apart(self.n_components)).packed
        covariances = structure.form.from_packed(packed, self.n_features, shared=structure.shared)
        return replace(self, covariances=covariances)

    def reordered(self, order: Tensor) -> Parameters:
        """Return the same mixture with its components in another order, (K,) of their present numbers.

        A posterior must be of a Dirichlet distribution.
        """
        posterior = None if self.posterior is None else self.posterior.exchanged(order)
        return Parameters(self.weights[order], self.means[order], self.covariances.take(order), posterior)

    @property
    def rest(self) -> Tensor:
        """What the weights leave, of 1, (...); nothing where rounding can explain it."""
        rest = 1 - self.weights.sum(-1)
        return torch.where(rest > ROUNDING, rest, 0.0)

    def of_some(self, index: Any) -> Parameters:
        """Return those of some of the mixtures of a batch, by an index of the first dimension."""
        posterior = None if self.posterior is None else self.posterior.of_some(index)
        return Parameters(self.weights[index], self.means[index], self.covariances.of_some(index), posterior)

    @kept
    def log_weights(self) -> Tensor:
        """Log weight, with a posterior the expected one and what it expects of a log-density besides, (..., K)."""
        return self.weights.log() if self.posterior is None else self.posterior.log_weights(self.covariances)

    @kept
    def log_constants(self) -> Tensor:
        """Log weight plus the log-density at the mean, (..., K)."""
        constant = self.covariances.factor.log_det + self.n_features * math.log(2 * math.pi)
        return torch.sub(self.log_weights, constant, alpha=0.5)

    @kept
    def natural(self) -> Tensor:
        """The natural parameters (..., K, 1 + d + q), or (..., K, 1 + d) where the components share their covariance.

        log(weight_k p_k(z)) = eta_k . (1, z, moment(z)), up to the quadratic part that all components have in common
        (Bishop, PRML, 2.4 and exercise 2.57).
        """
        factor = self.covariances.factor
        if not self.covariances.shared:
            return factor.natural(self.means, self.log_constants)
        linear = factor.times(self.means)  # (..., K, d)
        constant = torch.sub(self.log_constants, torch.linalg.vecdot(self.means, linear), alpha=0.5)  # (..., K)
        return torch.cat([constant[..., None], linear], -1)

    @kept
    def quadratic(self) -> Tensor:
        """The coefficients of moment(z) in the log-densities, (..., B, q)."""
        return -0.5 * self.covariances.factor.coefficients()

    def log_joint(self, deviations: Tensor) -> Tensor:
        """Return log(weight_k p_k) of rows with these deviations (..., K, c, d) from the means, (..., K, c)."""
        return self.log_constants[..., None] - 0.5 * self.covariances.factor.distances(deviations)

    @kept
    def smallest_variance(self) -> float:
        """The smallest variance of any feature in any component."""
        return self.covariances.extremes[0]

    @kept
    def amplification_about_origin(self) -> float:
        """The largest amplification over the components in sums about the origin."""
        return float(self.amplification().amax())

    @kept
    def amplified_at_most(self) -> float:
        """What the amplification about the origin does not exceed in any component, where that is less work."""
        second = torch.addcmul(self.covariances.variances, self.means, self.means)  # (K, d)
        return self.covariances.factor.amplified_at_most(second)

    def expected(self, statistics: Statistics, sums: Sums) -> Tensor:
        """Return the sum of the joint log-densities of rows with the components that statistics gave them to, (...)."""
        second = statistics.about(self.means, sums).second
        distances = (self.covariances.factor.coefficients() * second).sum((-2, -1))
        return (statistics.mass * self.log_constants).sum(-1) - 0.5 * distances

    def without(self, component: int) -> Parameters:
        """Return the parameters for an E-step that gives no rows to a component."""
        weights = self.weights.clone()
        weights[component] = 0
        posterior = None if self.posterior is None else self.posterior.without(component)
        return replace(self, weights=weights, posterior=posterior)

    def amplification(self, centre: Tensor | None = None) -> Tensor:
        """Return by how much rounding in sums about centre (K or 1, d), or 0, is amplified in the variances, (K,).

        Components of weight 0 take no part in any sum.
        """
        offset = self.means if centre is None else self.means - centre
        second = offset.square() + self.covariances.variances  # (K, d)
        return self.covariances.factor.amplification(second).masked_fill(self.weights <= 0, 0.0)


def nearest(centres: Tensor) -> Parameters:
    """Return parameters whose most probable component is the nearest of the centres (..., K, d)."""
    n_components, n_features = centres.shape[-2:]
    weights = torch.full_like(centres[..., 0], 1 / n_components)
    return Parameters(weights, centres, Spherical(torch.ones_like(weights[..., :1]), n_features, shared=True))
