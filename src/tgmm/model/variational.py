"""The step of variational Bayes as an update: the exact conjugate posterior given statistics.

Sources: Attias 2000 (NIPS 12) and Bishop 2006 (Pattern Recognition and Machine Learning, 10.2) for mixtures; Blei &
Jordan 2006 (Bayesian Analysis 1) and Kurihara, Welling & Teh 2007 (IJCAI) for the Dirichlet process.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance import Covariances, Structure
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.model.posterior import (
    Posterior,
    after,
    divergence_of_covariances,
    divergence_of_sticks,
    expected_weights,
)
from tgmm.model.priors import Priors
from tgmm.model.statistics import Statistics
from tgmm.model.update import means_and_scatter
from tgmm.runtime.frozen import replace


@dataclass(frozen=True)
class Variational:
    """From statistics to the posterior of parameters that raises the evidence lower bound most.

    With N the mass of a component: its stick is Beta(a + N, b + the mass of those after it), its kappa is that of the
    prior plus N, its mean and Psi are those of `means_and_scatter`, and its nu is that of the prior plus N, or plus d N
    where one variance serves all features; where components share a covariance, scatters and counts are summed. The
    expected log-density of a row is linear in the same features as a Gaussian's log-density, so that kernels see
    Gaussians: of covariance Psi / nu, and with other weights.

    Parameters
    ----------
    structure : Structure
        With no restriction but its form.
    sticks : Tensor of shape (2, K)
        Both parameters of each stick's prior.
    mean : Tensor of shape (K, d)
        m, in the user's units or with all else in the frame.
    mean_precision : Tensor of shape (K,)
        kappa.
    scale : Covariances
        Psi.
    degrees_of_freedom : Tensor of shape (B,)
        nu.
    """

    structure: Structure
    sticks: Tensor
    mean: Tensor
    mean_precision: Tensor
    scale: Covariances
    degrees_of_freedom: Tensor
    held: None = None
    has_noise: bool = False

    @property
    def priors(self) -> Priors:
        """The priors of means and covariances."""
        return Priors(None, self.mean, self.mean_precision, self.scale, self.degrees_of_freedom)

    @property
    def is_exchangeable(self) -> bool:
        """Whether components can change places: under a Dirichlet distribution, with one prior for all."""
        own = (self.sticks[0], self.mean, self.mean_precision, self.scale.packed, self.degrees_of_freedom)
        is_dirichlet = torch.equal(self.sticks[1], after(self.sticks[0]))
        return is_dirichlet and all(bool((each == each[:1]).all()) for each in own)

    def in_frame(self, frame: Frame) -> Variational:
        """Map the priors from the user's units into the frame."""
        return replace(self, mean=frame.rows_in(self.mean), scale=self.scale.rescale(1 / frame.scale))

    def about(self, origin: Tensor) -> Variational:
        """Return the update for rows minus an origin (d,)."""
        return replace(self, mean=self.mean - origin)

    def regularised(self, amount: Tensor | None) -> Variational:
        """Return the update itself: its prior keeps variances positive."""
        return self

    def without_noise(self) -> Variational:
        """Return the update itself."""
        return self

    def streamed(self, n_features: int) -> Variational:
        """Return the update itself."""
        return self

    def n_volumes(self, n_components: int) -> float:
        """Return 0: the frame's volume is in the densities of prior and posterior alike."""
        return 0.0

    def __call__(self, statistics: Statistics, previous: Covariances | None = None) -> Parameters:
        """Return the posterior, and what it expects."""
        mass, form = statistics.mass, self.structure.form
        means, scatter = means_and_scatter(statistics, self.structure, self.mean, self.mean_precision)
        counts = mass.sum(-1, keepdim=True) if self.structure.shared else mass  # (..., B)
        posterior = Posterior(
            sticks=self.sticks + torch.stack([mass, after(mass)], -2),
            mean_precision=self.mean_precision + mass,
            degrees_of_freedom=self.degrees_of_freedom + form.exponent(means.shape[-1]) * counts,
        )
        psi = form.from_packed(self.scale.packed + scatter, means.shape[-1], shared=self.structure.shared)
        weights = expected_weights(posterior.sticks)
        return Parameters(weights, means, psi.over(posterior.degrees_of_freedom), posterior)

    def log_prior(self, parameters: Parameters) -> Tensor:
        """Return minus the Kullback-Leibler divergence of a posterior from the prior, (...).

        Beside it, the log-likelihood under the exponentials of expected log-densities makes the evidence lower bound
        at the best responsibilities (Bishop, PRML, 10.70).
        """
        posterior, covariances = parameters.posterior, parameters.covariances
        assert posterior is not None
        ratio = self.mean_precision / posterior.mean_precision  # (..., K)
        gap = parameters.means - self.mean
        distance = (gap * covariances.factor.times(gap)).sum(-1)  # (..., K)
        of_means = 0.5 * (parameters.n_features * (ratio - ratio.log() - 1) + self.mean_precision * distance)
        of_covariances = divergence_of_covariances(
            covariances, posterior.degrees_of_freedom, self.scale, self.degrees_of_freedom
        )
        return -(divergence_of_sticks(posterior.sticks, self.sticks) + of_means.sum(-1) + of_covariances.sum(-1))
