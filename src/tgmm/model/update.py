"""The M-step as an object: the exact mode of the posterior given statistics, for every structure and prior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tgmm.covariance import Covariances, Structure
from tgmm.model.frame import Frame
from tgmm.model.held import Held
from tgmm.model.parameters import Parameters
from tgmm.model.priors import Priors
from tgmm.model.regularisation import floors
from tgmm.model.statistics import NO_MASS, Statistics
from tgmm.runtime.frozen import kept, replace


class Maximiser(Protocol):
    """What the engine knows of an update: statistics become the parameters that raise the objective most.

    The objective is what a kernel's `Statistics` hold of it, and `log_prior`. Members are those of `Update`.
    """

    @property
    def structure(self) -> Structure:
        """The covariance structure."""
        ...

    @property
    def priors(self) -> Priors:
        """Those of means and covariances, and of weights where the update is a mode."""
        ...

    @property
    def held(self) -> Held | None:
        """Parameters that stay as they are."""
        ...

    @property
    def has_noise(self) -> bool:
        """Whether what components lack of the weight of all rows is noise."""
        ...

    def __call__(self, statistics: Statistics, previous: Covariances | None = None) -> Parameters:
        """Return the parameters."""
        ...

    def log_prior(self, parameters: Parameters) -> Tensor | float:
        """Return what the objective has besides the rows' part, (...)."""
        ...

    def n_volumes(self, n_components: int) -> float:
        """Return how often the log-volume of the frame enters `log_prior`, as it enters each row's density once."""
        ...

    def in_frame(self, frame: Frame) -> Maximiser:
        """Map what is in the user's units into the frame."""
        ...

    def regularised(self, amount: Tensor | None) -> Maximiser:
        """Return the update that adds so much to every variance."""
        ...

    def without_noise(self) -> Maximiser:
        """Return the update for rows without noise."""
        ...

    def streamed(self, n_features: int) -> Maximiser:
        """Return the update from the sums that are to be made in a pass over whole rows of so many features."""
        ...

    def about(self, origin: Tensor) -> Maximiser:
        """Return the update for rows minus an origin (d,)."""
        ...


@dataclass(frozen=True)
class Update:
    """From statistics to the parameters that maximise the expected log-posterior.

    With N the mass of a component, xbar and S its mean and scatter, D = xbar - m: the weights are proportional
    to max(N + alpha - 1, 0), the mean is (N xbar + kappa m) / (N + kappa), the scatter gains
    N kappa / (N + kappa) D D', and the covariance is (Psi + scatter) over the exponents of its density:
    N for the rows, 1 for the mean's prior, nu + c for its own (Fraley & Raftery 2007, TR 486; Gelman et al., BDA3,
    3.6). One variance for all d features counts the first two d times; where components share a covariance, scatter
    and exponents are summed. What regularises is part of the scatter, as if every row had been spread by so much, so
    that the structure is never left.

    Parameters
    ----------
    structure : Structure
    priors : Priors
        In the frame.
    regularisation : Tensor, optional
        What is added to every variance, (d,), or () where the structure has one scale.
    held : Held, optional
        Parameters that stay as they are, in the frame: the others are the mode given these.
    has_noise : bool
        Whether what components lack of the weight of all rows is noise, and has a share in the weights too.

    Statistics of a batch of mixtures give the parameters of all of them. For mixtures of different problems, priors and
    regularisation have dimensions that broadcast with theirs: (P, 1, d), or (P, 1).
    """

    structure: Structure
    priors: Priors
    regularisation: Tensor | None = None
    held: Held | None = None
    has_noise: bool = False

    def regularised(self, amount: Tensor | None) -> Update:
        """Return the update that adds so much to every variance."""
        update = vars(self).get("_with_amount")  # a run asks for the same one again and again
        if update is None or update.regularisation is not amount:
            update = vars(self)["_with_amount"] = replace(self, regularisation=amount)
        return update

    def without_noise(self) -> Update:
        """Return the update for rows without noise."""
        return replace(self, has_noise=False)

    def streamed(self, n_features: int) -> Update:
        """Return the update from the sums that are to be made in a pass over whole rows of so many features."""
        if self.held is not None or self.priors.mean is not None:
            return self
        return replace(self, structure=self.structure.streamed(n_features))

    def in_frame(self, frame: Frame) -> Update:
        """Map priors and fixed parameters from the user's units into the frame."""
        held = None if self.held is None else self.held.in_frame(frame)
        return replace(self, priors=self.priors.in_frame(frame), held=held)

    def n_volumes(self, n_components: int) -> float:
        """Return how often the log-volume of the frame enters the log prior, as it enters each row's density once."""
        return self.priors.n_volumes(n_components)

    def about(self, origin: Tensor) -> Update:
        """Return the update for rows minus an origin (d,)."""
        held = None if self.held is None else self.held.about(origin)
        return replace(self, priors=self.priors.about(origin), held=held)

    def of_some(self, index: Tensor) -> Update:
        """Return the update of some of many problems."""
        amount = self.regularisation
        return Update(self.structure, self.priors.of_some(index), None if amount is None else amount[index])

    def __call__(self, statistics: Statistics, previous: Covariances | None = None) -> Parameters:
        """Return the parameters; previous covariances of the structure are where an inner iteration starts.

        A component without mass has a mode where the priors are proper; elsewhere its mean and covariance are not to be
        used.

        Raises
        ------
        ValueError
            If the Dirichlet prior sets every weight to 0.
        """
        mass = statistics.mass  # (..., K)
        weights = self._weights(statistics)
        means, scatter = means_and_scatter(statistics, self.structure, self.priors.mean, self.priors.mean_precision)
        if self.held is not None:
            scatter = scatter + self.structure.moment.pooled(self._more_scatter(mass, means))
            means = self.held.means_among(means)
        covariances = self._covariances(scatter, self._counts(mass), means.shape[-1], previous)
        if self.held is not None:
            covariances = self.held.covariances_among(covariances)
        return Parameters(weights, means, covariances)

    def _weights(self, statistics: Statistics) -> Tensor:
        """Return the mode of the weights, (..., K)."""
        mass = self.priors.weight_mass(statistics.mass)
        rest = (statistics.weight - statistics.mass.sum(-1, keepdim=True)).clamp(min=0) if self.has_noise else None
        if self.held is not None and bool(self.held.weights.any()):
            return self.held.weights_among(mass, 0.0 if rest is None else rest)
        total = mass.sum(-1, keepdim=True)
        total = total if rest is None else total + rest
        if self.priors.concentration is not None and not (total > 0).all():
            raise ValueError("weight_concentration_prior sets every weight to 0: raise it, or fit fewer components.")
        return mass / total

    def _more_scatter(self, mass: Tensor, mode: Tensor) -> Tensor:
        """Return what the scatter is greater about fixed means than about the mode's, (..., K, q).

        About any mean it is that about the mode's, plus (N + kappa) times the square of their distance.
        """
        assert self.held is not None
        counts = mass if self.priors.mean_precision is None else mass + self.priors.mean_precision
        gap = mode - self.held.values.means
        return torch.where(self.held.means[:, None], counts[..., None] * self.structure.moment.of(gap), 0.0)

    def _counts(self, mass: Tensor) -> Tensor:
        """Return how many rows' powers of its determinant each covariance's density has, (..., B)."""
        counts = mass if self.priors.mean is None else mass + 1  # (..., K)
        if self.structure.shared:
            counts = counts.sum(-1, keepdim=True)
        return counts if self.priors.covariance is None else counts + self.priors.counts()

    def _covariances(
        self, packed: Tensor, counts: Tensor, n_features: int, previous: Covariances | None
    ) -> Covariances:
        """Return the structure's covariances of scatter (..., B, q) that so many rows (..., B) have."""
        if self.priors.covariance is not None:
            packed = packed + self.priors.covariance.packed
        scatter = self.structure.scatter(packed, n_features)
        if self.regularisation is not None:
            scatter = scatter.plus(self._spread(scatter, counts))
        return self.structure.estimate(scatter, counts, previous)

    def _spread(self, scatter: Covariances, counts: Tensor) -> Tensor:
        """Return what regularises as the scatter of so many rows, (..., B, d), or (..., B) for one variance."""
        assert self.regularisation is not None
        if scatter.one_scale:
            return scatter.exponent(scatter.n_features) * counts * self.regularisation
        return floors(counts.unsqueeze(-1) * self.regularisation, scatter.variances, self._signs)

    @kept
    def _signs(self) -> Tensor | float:
        """Where something regularises, (..., d), or 1 where it does so everywhere: the same in all steps of a run."""
        assert self.regularisation is not None
        signs = self.regularisation.sign()
        return 1.0 if bool((signs == 1).all()) else signs

    def log_prior(self, parameters: Parameters) -> Tensor | float:
        """Return the log prior density of parameters in the frame, up to terms that are free of them, (...)."""
        return self.priors.log_density(parameters)


def means_and_scatter(
    statistics: Statistics, structure: Structure, prior: Tensor | None, mean_precision: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return means (..., K, d), shrunk towards a prior's where there is one, and the scatter about these (..., B, q).

    Of the scatter, the distance from the prior is part; see `Update`.
    """
    mass = statistics.mass
    step = statistics.first / mass.clamp_min(NO_MASS).unsqueeze(-1)  # (..., K, d)
    means = statistics.centre + step
    scatter = structure.sums.about_means(statistics.second, mass, step)  # (..., B, q)
    if prior is not None and mean_precision is not None:
        gap, moment = means - prior, structure.moment  # (..., K, d)
        shrinkage = mean_precision / (mass + mean_precision)  # (..., K)
        means = means - shrinkage[..., None] * gap
        scatter = scatter + moment.pooled((mass * shrinkage)[..., None] * moment.of(gap))
    return means, scatter
