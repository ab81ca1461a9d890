"""Structures of few factors: mixtures of probabilistic principal component analysers, and of factor analysers.

Their covariances are W W' + psi I (Tipping & Bishop 1999, Neural Computation 11) and W W' + diag(psi) (Ghahramani &
Hinton 1996, CRG-TR-96-1), with loadings W of q columns.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance.base import Covariances, differ_by_rounding
from tgmm.covariance.full import Full
from tgmm.covariance.latent import Latent
from tgmm.covariance.low_rank import LowRank, scatter_of, signed
from tgmm.covariance.moments import Sums
from tgmm.covariance.structures import NO_ROWS, Structure
from tgmm.covariance.uniqueness import LEAST, noise_of

STREAMED = 128  # features from which on sums over rows and factors take the place of scatter matrices
FEATURES_PER_FACTOR = 4  # below which sums over factors are no fewer than those over pairs of features
ALIKE = 1e-6  # relative difference that rounding can explain, of covariances that users hand in


class Factors(Structure):
    """Covariances that q factors explain but for noise.

    Their sums are those of whole scatter matrices, or with many features, where rows are whole and there is no prior of
    the means, those over rows and factors: from these an M-step is one step of EM for the factors too.

    Parameters
    ----------
    n_factors : int, optional
        q. None: the integer part of the square root of the number of features, or as many as the structure allows.
    latent : Latent, optional
        What is summed in place of scatter matrices.
    """

    form = LowRank
    takes_prior = False

    def __init__(self, n_factors: int | None = None, latent: Latent | None = None) -> None:
        self.n_factors, self.latent = n_factors, latent

    @staticmethod
    @abstractmethod
    def most(n_features: int) -> int:
        """Return the largest number of factors that leaves no more parameters than any covariance has."""

    @staticmethod
    @abstractmethod
    def shared_noise(noise: Tensor) -> Tensor:
        """Return noise variances (..., B, d) that minimise the objective where those are each feature's own."""

    @abstractmethod
    def of_matrices(self, matrices: Tensor, previous: Covariances | None = None) -> LowRank:
        """Return the estimate from the mean products of each component (..., B, d, d)."""

    @property
    def relates_components(self) -> bool:
        """False: each component has factors and noise of its own."""
        return False

    @property
    def sums(self) -> Sums:
        """Those over rows and factors, or over products of all pairs of features."""
        return self.moment if self.latent is None else self.latent

    def size(self, n_features: int) -> int:
        """Return q for so many features, or raise a ValueError that names the parameter."""
        most = self.most(n_features)
        if self.n_factors is None:
            return min(math.isqrt(n_features), most)
        if self.n_factors > most:
            remedy = f"give at most {most}" if most else "leave it out, or use a diagonal covariance_type"
            raise ValueError(
                f"n_factors={self.n_factors} is too many for covariance_type={self.name!r} and {n_features} features, "
                f"whose covariance matrices have no more parameters than {most} factors: {remedy}."
            )
        return self.n_factors

    def same(self, other: Structure, n_features: int) -> bool:
        """Whether it is the same family with as many factors."""
        return isinstance(other, type(self)) and self.size(n_features) == other.size(n_features)

    def with_factors(self, n_factors: int | None) -> Factors:
        """Return the structure with another number of factors."""
        return type(self)(n_factors, self.latent)

    def streamed(self, n_features: int) -> Factors:
        """Return the structure that sums over rows and factors, where there are many features and few factors."""
        q = self.size(n_features)
        pays = n_features >= STREAMED and FEATURES_PER_FACTOR * (q + 1) < n_features
        return type(self)(self.n_factors, Latent(n_factors=q)) if pays else self

    def marginal(self, covariances: Covariances, dims: Tensor) -> tuple[Structure, Covariances]:
        """Return as many factors, or whole matrices where so few features have no room for these."""
        part = covariances.restrict(dims)
        q = self.size(covariances.n_features)
        if q <= self.most(dims.shape[0]):
            return self.with_factors(q), part
        return self._whole(), Full(part.dense, part.n_features)

    def rescaled(self, n_features: int) -> Structure:
        """Return factors with a noise variance for each feature, or any covariances where these are no fewer."""
        q = self.size(n_features)
        return FactorNoise(q) if q <= FactorNoise.most(n_features) else self._whole()

    @staticmethod
    def _whole() -> Structure:
        """Return the structure of matrices without any restriction."""
        from tgmm.covariance import structure_named

        return structure_named("full")

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return those of the loadings, without q (q - 1) / 2 rotations, and of the noise."""
        q = self.size(n_features)
        return n_components * (n_features * q - q * (q - 1) // 2 + self.n_noises(n_features))

    @staticmethod
    @abstractmethod
    def n_noises(n_features: int) -> int:
        """Return the number of noise variances of a component."""

    def of_stored(self, covariances: Tensor) -> Factors:
        """Return the structure with as many factors as there are columns beside the noise."""
        return self.with_factors(covariances.shape[-1] - 1 if covariances.ndim == 3 else None)

    def stored_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return that of loadings and noise variances."""
        return self.values_shape(n_components, n_features)

    def values_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return that of loadings and noise variances."""
        return (n_components, n_features, self.size(n_features) + 1)

    def scatter(self, packed: Tensor, n_features: int) -> Covariances:
        """Return the scatter matrices, or what sums over rows and factors tell of them."""
        if self.latent is None:
            return Full.from_packed(packed, n_features, shared=False)
        return scatter_of(packed, self.latent)

    def estimate(self, scatter: Covariances, counts: Tensor, previous: Covariances | None = None) -> LowRank:
        """Return the estimate; from sums over factors, one that is better than the last."""
        mean = scatter.over(counts.clamp(min=NO_ROWS))
        if not isinstance(mean, LowRank):
            return self.of_matrices(mean.dense, previous)
        least = LEAST * mean.variances
        return LowRank.of(mean.loadings, torch.maximum(self.shared_noise(mean.noise), least))

    def project(self, covariances: Covariances, weights: Tensor) -> LowRank:
        """Return covariances with the same loadings, or the estimate from rows that have these."""
        if isinstance(covariances, LowRank):
            return LowRank.of(covariances.loadings, self.shared_noise(covariances.noise))
        return self.of_matrices(covariances.dense)

    def adopted(self, covariances: Covariances) -> LowRank:
        """Return the estimate from rows that have these covariances: themselves, where they are of the structure."""
        return self.of_matrices(covariances.dense)

    def contains(self, covariances: Covariances) -> bool:
        """Whether so many factors, and noise, are all there is to covariances."""
        if isinstance(covariances, LowRank):
            noise = covariances.noise
            return torch.allclose(self.shared_noise(noise), noise, rtol=ALIKE, atol=0)
        dense, found = covariances.dense, self.of_matrices(covariances.dense)
        return differ_by_rounding(found.dense, dense, ALIKE, ALIKE)

    def from_public(self, covariances: Tensor, n_components: int, n_features: int) -> LowRank:
        """Return the estimate from rows that have these covariance matrices."""
        matrices = covariances.expand(n_components, n_features, n_features).clone()
        return self.of_matrices(matrices)

    def __eq__(self, other: object) -> bool:
        """Whether it is the same structure, with as many factors, from the same sums."""
        if not isinstance(other, Factors):
            return False
        return (self.name, self.n_factors, self.latent) == (other.name, other.n_factors, other.latent)

    def __hash__(self) -> int:
        """Return what equal structures have in common."""
        return hash((self.name, self.n_factors))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name, or by what else it is made of."""
        if self.n_factors is None and self.latent is None:
            return super().__reduce__()
        return type(self), (self.n_factors, self.latent)


class LowRankNoise(Factors):
    """W W' + psi I: a plane of q dimensions, and one noise variance in all directions.

    Another unit for each feature would leave it; a rotation does not.
    """

    name = "low_rank"
    marginal_name = "low_rank"
    rescaled_name = "factor"
    one_scale = True
    restriction = "all eigenvalues of each covariance but n_factors are the same"

    @staticmethod
    def most(n_features: int) -> int:
        """Return d - 1, which any covariance has."""
        return n_features - 1

    @staticmethod
    def n_noises(n_features: int) -> int:
        """Return 1."""
        return 1

    @staticmethod
    def shared_noise(noise: Tensor) -> Tensor:
        """Return their mean."""
        return noise.mean(-1, keepdim=True).expand_as(noise)

    def of_matrices(self, matrices: Tensor, previous: Covariances | None = None) -> LowRank:
        """Return the largest eigenvalues' axes, and the mean of the others as noise (Tipping & Bishop 1999, B)."""
        q = self.size(matrices.shape[-1])
        values, axes = torch.linalg.eigh(matrices)  # ascending
        left = values.shape[-1] - q
        noise = values[..., :left].mean(-1, keepdim=True)
        strengths = (values[..., left:] - noise).clamp(min=0).flip(-1)
        loadings = axes[..., left:].flip(-1) * strengths.sqrt()[..., None, :]
        return LowRank.of(signed(loadings), noise.expand_as(values))


class FactorNoise(Factors):
    """W W' + diag(psi): factor analysis, in which every feature has a noise variance of its own.

    It knows no units, but another rotation would leave it. Noise variances are at least 1e-6 of the features'
    variances, so that a feature which factors explain wholly (a Heywood case) stops there.
    """

    name = "factor"
    marginal_name = rescaled_name = "factor"
    restriction = "each covariance is the sum of n_factors factors and a noise variance for each feature"

    @staticmethod
    def most(n_features: int) -> int:
        """Return the bound of Ledermann 1937 (Psychometrika 2): the largest q with (d - q)^2 >= d + q."""
        return (2 * n_features - math.isqrt(8 * n_features)) // 2

    @staticmethod
    def n_noises(n_features: int) -> int:
        """Return d."""
        return n_features

    @staticmethod
    def shared_noise(noise: Tensor) -> Tensor:
        """Return the noise variances."""
        return noise

    def of_matrices(self, matrices: Tensor, previous: Covariances | None = None) -> LowRank:
        """Return the estimate, or one step from the noise of the last."""
        before = previous.noise if isinstance(previous, LowRank) else None
        loadings, noise = noise_of(matrices, self.size(matrices.shape[-1]), before)
        return LowRank.of(signed(loadings), noise)
