"""Spherical covariances: one variance for all features, so that components are balls."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance.base import Covariances
from tgmm.covariance.diagonal import DiagonalFactor
from tgmm.covariance.moments import Norm
from tgmm.runtime.frozen import kept


@dataclass(frozen=True)
class Spherical(Covariances):
    """Multiples of the identity, values (..., B)."""

    form = "spherical"
    rescaled_form = "diag"
    moment_type = Norm
    one_scale = True

    @staticmethod
    def shape_of_one(n_features: int) -> tuple[int, ...]:
        """Return ()."""
        return ()

    @staticmethod
    def exponent(n_features: int) -> int:
        """Return d: every feature of a row informs the one variance."""
        return n_features

    @staticmethod
    def prior_constant(n_features: int) -> int:
        """Return 2: one one-dimensional inverse-Wishart."""
        return 2

    @staticmethod
    def gamma_shifts(n_features: int) -> list[int]:
        """Return 0, once."""
        return [0]

    @staticmethod
    def tied_squares(squares: Tensor) -> Tensor:
        """Return the sum, (..., 1): one variance serves all features."""
        return squares.sum(-1, keepdim=True)

    @classmethod
    def from_packed(cls, packed: Tensor, n_features: int, *, shared: bool) -> Spherical:
        """Return (..., B) from (..., B, 1)."""
        return cls(packed[..., 0], n_features, shared)

    @property
    def packed(self) -> Tensor:
        """The variances, (..., B, 1)."""
        return self.values[..., None]

    @property
    def variances(self) -> Tensor:
        """The variance of every feature."""
        return self.values[..., None].expand(*self.values.shape, self.n_features)

    @property
    def dense(self) -> Tensor:
        """Multiples of the identity."""
        return torch.diag_embed(self.variances)

    def plus(self, amount: Tensor) -> Spherical:
        """Return the variances plus amount."""
        return self._of(self.values + amount)

    def rescale(self, scale: Tensor) -> Spherical:
        """Return the variances times scale squared; the entries of scale are equal."""
        return self._of(self.values * scale[..., 0] * scale[..., 0])

    def restrict(self, dims: Tensor) -> Spherical:
        """Return the variances: they do not depend on the feature."""
        return Spherical(self.values, dims.shape[0], self.shared)

    def least_rows(self) -> int:
        """Return 4: twice as many as span an interval."""
        return 4

    def thinness(self, whole: Covariances) -> Tensor:
        """Return the ratio of variances."""
        return (self.variances / whole.variances).amin(-1)

    @kept
    def factor(self) -> DiagonalFactor:
        """Inverse standard deviations, (..., B, 1)."""
        self._require_positive()
        return DiagonalFactor(self.n_features * self.values.log(), self.values.rsqrt()[..., None])
