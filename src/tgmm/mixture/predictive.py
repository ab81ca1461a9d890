"""The posterior predictive law of a mixture with a variational posterior: a mixture of Student-t laws.

Source: Bishop 2006 (Pattern Recognition and Machine Learning, 10.2.3 and 10.81). Features with variances of their own
are independent given the component, so that its law is a product of univariate ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from scipy.special import gammaincinv
from torch import Tensor

from tgmm.kernels.chunking import rows_per_chunk
from tgmm.mixture.base import BaseMixture, own_array
from tgmm.mixture.evaluation import Evaluation, WeightedSums, evaluated
from tgmm.mixture.sampling import check_component, draw_components
from tgmm.model.parameters import Parameters
from tgmm.runtime.checks import check_integer
from tgmm.runtime.devices import standalone, widen
from tgmm.runtime.generators import RandomState, as_generator, on_device


@dataclass(frozen=True)
class Predictive:
    """The law of a new row, its parameters integrated out.

    With Psi / nu the covariances, c = kappa / (kappa + 1) and D the whitened deviation of a row from the mean, the
    density is that at the mean times (1 + c D'D / nu)^-((nu + e) / 2): e is how often a row counts for a variance, and
    where each feature has its own, there is such a factor for each.

    Parameters
    ----------
    means : Tensor of shape (K, d)
    constants : Tensor of shape (K,)
        Log weight plus the log-density at the mean.
    shrinkage : Tensor of shape (K, 1, 1)
        c / nu.
    power : Tensor of shape (K, 1)
        (nu + e) / 2.
    parameters : Parameters
    """

    means: Tensor
    constants: Tensor
    shrinkage: Tensor
    power: Tensor
    parameters: Parameters

    @classmethod
    def of(cls, mixture: BaseMixture) -> Predictive:
        """Return the law that a posterior predicts."""
        parameters, covariances = mixture.parameters, mixture.parameters.covariances
        n_features, posterior = parameters.n_features, parameters.posterior
        assert posterior is not None
        n_powers = covariances.exponent(n_features)
        shifts = torch.tensor(covariances.gamma_shifts(n_features), device=parameters.means.device)
        nu = posterior.degrees_of_freedom  # (B,)
        gammas = torch.lgamma((nu[:, None] + n_powers - shifts) / 2) - torch.lgamma((nu[:, None] - shifts) / 2)
        own = gammas.sum(-1) - 0.5 * (covariances.factor.log_det + n_features * (nu.log() + math.log(math.pi)))
        share = posterior.mean_precision / (posterior.mean_precision + 1)  # (K,)
        return cls(
            parameters.means,
            parameters.weights.log() + own + 0.5 * n_features * share.log(),
            (share / nu)[:, None, None],
            ((nu + n_powers) / 2)[:, None],
            parameters,
        )

    def log_density(self, rows: Tensor) -> Tensor:
        """Return the log-densities of rows (n, d), (n,) in float64."""
        size = rows_per_chunk(3 * self.means.numel(), 8, self.means.device)
        return torch.cat([self._log_density(part) for part in rows.split(size)])

    def _log_density(self, rows: Tensor) -> Tensor:
        deviations = widen(rows).to(self.means.device) - self.means[:, None]  # (K, c, d)
        squares = self._shrunk_squares(deviations)
        growth = squares.log1p()
        if bool(squares.isinf().any()):  # which then dwarf the 1, and have a logarithm once their size is taken out
            size = deviations.abs().amax(-1, keepdim=True).clamp(min=1.0)
            far = self._shrunk_squares(deviations / size).log() + 2 * size.log()
            growth = torch.where(squares.isinf(), far, growth)
        return (self.constants[:, None] - self.power * growth.sum(-1)).logsumexp(0)

    def _shrunk_squares(self, deviations: Tensor) -> Tensor:
        """Return c D'D / nu of deviations (K, c, d) from the means, (K, c, 1), or of each feature, (K, c, d)."""
        covariances = self.parameters.covariances
        return self.shrinkage * covariances.tied_squares(covariances.factor.whiten(deviations).square())

    def draw(self, components: Tensor, generator: torch.Generator) -> Tensor:
        """Return a draw from each of components (n,), (n, d): a normal over the root of a chi-square."""
        covariances, device = self.parameters.covariances, self.means.device
        shape = (components.shape[0], covariances.n_features)
        white = torch.randn(shape, dtype=torch.float64, device=device, generator=on_device(generator, device))
        n_chi = covariances.tied_squares(white[:1]).shape[-1]
        uniform = torch.rand(shape[0], n_chi, dtype=torch.float64, generator=generator)
        whose = torch.zeros_like(components) if covariances.shared else components
        posterior = self.parameters.posterior
        assert posterior is not None
        degrees = posterior.degrees_of_freedom[whose] - max(covariances.gamma_shifts(shape[1]))
        half = 0.5 * degrees[:, None].cpu()
        chi_square = 2 * torch.as_tensor(gammaincinv(half.numpy(), uniform.numpy()))  # (n, 1 or d)
        spread = 1 / (self.shrinkage[:, 0, 0].expand(len(self.means))[components][:, None] * chi_square.to(device))
        return self.means[components] + _coloured(covariances, whose, white * spread.sqrt())


def _coloured(covariances: Any, whose: Tensor, white: Tensor) -> Tensor:
    """Return rows (n, d) of which the whitened ones are given, each by the covariance that it has."""
    rows = torch.empty_like(white)
    for index in whose.unique().tolist():
        own = whose == index
        rows[own] = covariances.factor.take(slice(index, index + 1)).colour(white[own][None])[0]
    return rows


def predictive_of(mixture: BaseMixture) -> Predictive:
    """Return the law that the posterior of a mixture predicts; made once."""
    return mixture.derived(Predictive.of)


def log_predictive(mixture: BaseMixture, X: Any, out: Any = None) -> Any:
    """Return the log-density of each row under the law that the posterior of a mixture predicts."""
    law = predictive_of(mixture)
    return evaluated(mixture, X, lambda predictor, rows: law.log_density(rows).to(predictor.device, mixture.dtype), out)


@standalone()
def mean_log_predictive(mixture: BaseMixture, X: Any, sample_weight: Any = None) -> float:
    """Return the weighted average of these log-densities."""
    sums = WeightedSums(predictive_of(mixture).log_density)
    sums.add_all(Evaluation.of(mixture, X, sample_weight).chunks)
    totals = sums.result()
    return float(totals.values) / totals.checked_weight


@standalone()
def sample_predictive(
    mixture: BaseMixture, n_samples: int, component: int | None, random_state: RandomState
) -> tuple[Any, Any]:
    """Return rows (n, d), each with parameters of its own that the posterior was asked for, and their components."""
    n_rows, law = check_integer(n_samples, "n_samples", 1), predictive_of(mixture)
    generator = as_generator(random_state)
    if component is None:
        components = draw_components(mixture.parameters.weights, n_rows, generator)
    else:
        components = torch.full((n_rows,), check_component(component, mixture.n_components))
    components = components.to(law.means.device)
    return own_array(mixture, law.draw(components, generator)), mixture.columns.own_array(components)
