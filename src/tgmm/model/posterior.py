"""What a variational posterior of a mixture's parameters knows besides what it expects of them.

Sources: Bishop 2006 (Pattern Recognition and Machine Learning, 10.2); Blei & Jordan 2006 (Bayesian Analysis 1) for the
sticks; Gelman et al., Bayesian Data Analysis, 3rd edition, 3.6 for the normal-inverse-Wishart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance import Covariances
from tgmm.runtime.frozen import replace

NOTHING = 1e-30  # of a stick: the logarithm is -1e30, which every float type has


@dataclass(frozen=True)
class Posterior:
    """How sure a posterior is: of weights by sticks, of means and covariances by their normal-inverse-Wishart.

    A stick is a beta variable: the share that a component has of what those before it leave of the weight. Those of a
    Dirichlet posterior are the tails of its concentration, and those of a Dirichlet process break what is left forever
    (Ishwaran & James 2001, J. American Statistical Association 96). The expected precision is the inverse of the
    covariances that these belong to, Psi / nu.

    Parameters
    ----------
    sticks : Tensor of shape (..., 2, K)
        Both parameters of each beta; where the second is 0, the component has all that is left.
    mean_precision : Tensor of shape (..., K)
        kappa: a mean has the covariance Sigma / kappa.
    degrees_of_freedom : Tensor of shape (..., B)
        nu.
    """

    sticks: Tensor
    mean_precision: Tensor
    degrees_of_freedom: Tensor

    def of_some(self, index: Any) -> Posterior:
        """Return those of some mixtures of a batch."""
        return Posterior(self.sticks[index], self.mean_precision[index], self.degrees_of_freedom[index])

    def clone(self) -> Posterior:
        """Return a copy."""
        return Posterior(self.sticks.clone(), self.mean_precision.clone(), self.degrees_of_freedom.clone())

    def without(self, component: int) -> Posterior:
        """Return the posterior with next to nothing on the stick of a component."""
        sticks = self.sticks.clone()
        sticks[0, component] = NOTHING
        return replace(self, sticks=sticks)

    def exchanged(self, order: Tensor) -> Posterior:
        """Return the posterior with components in another order, (K,), of their numbers; it is to be of a Dirichlet."""
        concentration, freedom = self.sticks[0][order], self.degrees_of_freedom
        return Posterior(
            sticks=torch.stack([concentration, after(concentration)]),
            mean_precision=self.mean_precision[order],
            degrees_of_freedom=freedom if freedom.shape[0] == 1 else freedom[order],
        )

    def log_weights(self, covariances: Covariances) -> Tensor:
        """Return what makes the log-density at the expected parameters the expected one, with weights, (..., K).

        It is E[log weight] + (E[log |precision|] - log |E[precision]|) / 2 - d / (2 kappa) (Bishop, PRML, 10.64 to
        10.66).
        """
        surplus = log_determinant_surplus(covariances, self.degrees_of_freedom)  # (..., B)
        spread = covariances.exponent(covariances.n_features) * surplus + covariances.n_features / self.mean_precision
        return expected_log_weights(self.sticks) - 0.5 * spread


def expected_weights(sticks: Tensor) -> Tensor:
    """Return the expected weights (..., K) by sticks (..., 2, K), as shares of what these components have together."""
    first, second = sticks.unbind(-2)
    whole = (first + second).log()
    left = torch.where(second > 0, second, 1.0).log() - whole
    weights = (first.log() - whole + _before(left)).exp()
    return weights / weights.sum(-1, keepdim=True)


def expected_log_weights(sticks: Tensor) -> Tensor:
    """Return the expected logarithms of the weights (..., K) by sticks (..., 2, K)."""
    first, second = sticks.unbind(-2)
    whole = torch.digamma(first + second)
    left = torch.digamma(torch.where(second > 0, second, 1.0)) - whole
    return torch.digamma(first) - whole + _before(left)


def after(mass: Tensor) -> Tensor:
    """Return the mass of the components after each, (..., K)."""
    onwards = mass.flip(-1).cumsum(-1).flip(-1)
    return torch.cat([onwards[..., 1:], torch.zeros_like(mass[..., :1])], -1)


def _before(left: Tensor) -> Tensor:
    """Return the sum over the components before each, (..., K)."""
    return torch.cat([torch.zeros_like(left[..., :1]), left[..., :-1].cumsum(-1)], -1)


def log_determinant_surplus(covariances: Covariances, degrees_of_freedom: Tensor) -> Tensor:
    """Return E[log |Sigma|] - log |Psi / nu| of inverse-Wishart variables, (..., B); of one variance where it is that.

    Bishop, PRML, B.81.
    """
    shifts = _shifts(covariances)
    half = 0.5 * degrees_of_freedom[..., None]  # (..., B, 1)
    return (half.log() - torch.digamma(half - 0.5 * shifts)).sum(-1)


def divergence_of_sticks(sticks: Tensor, prior: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of sticks (..., 2, K) from those of a prior, (...)."""
    is_broken = prior[..., 1, :] > 0
    pairs = [torch.where(is_broken[..., None, :], each, 1.0) for each in (sticks, prior)]
    (a, b), (a_prior, b_prior) = (each.unbind(-2) for each in pairs)
    gain = (a - a_prior) * torch.digamma(a) + (b - b_prior) * torch.digamma(b)
    gain = gain - (a - a_prior + b - b_prior) * torch.digamma(a + b)
    return (_log_beta(a_prior, b_prior) - _log_beta(a, b) + gain).sum(-1)


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def divergence_of_covariances(
    covariances: Covariances, degrees_of_freedom: Tensor, scale: Covariances, prior: Tensor
) -> Tensor:
    """Return the divergence of inverse-Wishart variables from a prior's, (..., B).

    Parameters
    ----------
    covariances : Covariances
        Psi / nu.
    degrees_of_freedom : Tensor of shape (..., B)
        nu.
    scale : Covariances
        Psi of the prior.
    prior : Tensor of shape (B,)
        nu of the prior.
    """
    shifts, n_powers = _shifts(covariances), covariances.exponent(covariances.n_features)
    log_det, log_det_prior = covariances.factor.log_det / n_powers, scale.factor.log_det / n_powers
    half, half_prior = 0.5 * degrees_of_freedom[..., None], 0.5 * prior[..., None]
    own = (torch.lgamma(half - 0.5 * shifts) - half * half.log()).sum(-1) - 0.5 * degrees_of_freedom * log_det
    others = (torch.lgamma(half_prior - 0.5 * shifts) + half_prior * math.log(2)).sum(-1) - 0.5 * prior * log_det_prior
    expected = log_det + log_determinant_surplus(covariances, degrees_of_freedom)
    trace = (scale.packed * covariances.factor.coefficients()).sum(-1)
    of_traces = trace - len(shifts) * degrees_of_freedom
    return others - own + 0.5 * (of_traces - (degrees_of_freedom - prior) * expected)


def _shifts(covariances: Covariances) -> Tensor:
    values = covariances.values
    return torch.tensor(covariances.gamma_shifts(covariances.n_features), dtype=values.dtype, device=values.device)
