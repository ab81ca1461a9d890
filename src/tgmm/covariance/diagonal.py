"""Diagonal covariances: the features are independent within a component."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance.base import Covariances, Factor
from tgmm.covariance.moments import Square
from tgmm.runtime.frozen import kept


@dataclass(frozen=True)
class DiagonalFactor(Factor):
    """Inverse standard deviations."""

    inverse_sd: Tensor  # (..., B, d), or (..., B, 1) where one variance serves all features

    def whiten(self, rows: Tensor) -> Tensor:
        """Return rows in standard deviations."""
        return rows * self.inverse_sd[..., None, :]

    def colour(self, white: Tensor) -> Tensor:
        """Return rows in standard deviations in the user's units."""
        return white / self.inverse_sd[..., None, :]

    def times(self, vectors: Tensor) -> Tensor:
        """Return vectors divided by the variances."""
        return vectors * self.precision

    def coefficients(self) -> Tensor:
        """Return the inverse variances."""
        return self.precision

    @kept
    def precision(self) -> Tensor:
        """The inverse variances."""
        return self.inverse_sd.square()

    def amplification(self, second: Tensor) -> Tensor:
        """Return the largest ratio of second moment to variance."""
        return (second * self.precision).amax(-1)


@dataclass(frozen=True)
class Diagonal(Covariances):
    """One variance a feature, values (..., B, d)."""

    form = "diag"
    rescaled_form = "diag"
    moment_type = Square

    @staticmethod
    def shape_of_one(n_features: int) -> tuple[int, ...]:
        """Return (d,)."""
        return (n_features,)

    @staticmethod
    def exponent(n_features: int) -> int:
        """Return 1."""
        return 1

    @staticmethod
    def prior_constant(n_features: int) -> int:
        """Return 2: a one-dimensional inverse-Wishart for each feature."""
        return 2

    @staticmethod
    def gamma_shifts(n_features: int) -> list[int]:
        """Return 0 for each feature."""
        return [0] * n_features

    @staticmethod
    def tied_squares(squares: Tensor) -> Tensor:
        """Return the squares as they are: each feature has a variance of its own."""
        return squares

    @classmethod
    def from_packed(cls, packed: Tensor, n_features: int, *, shared: bool) -> Diagonal:
        """Return the packed moments: they are the variances."""
        return cls(packed, n_features, shared)

    @property
    def packed(self) -> Tensor:
        """The variances."""
        return self.values

    @property
    def variances(self) -> Tensor:
        """The variances."""
        return self.values

    @property
    def dense(self) -> Tensor:
        """Diagonal matrices."""
        return torch.diag_embed(self.values)

    def plus(self, amount: Tensor) -> Diagonal:
        """Return the variances plus amount."""
        return self._of(self.values + amount)

    def rescale(self, scale: Tensor) -> Diagonal:
        """Return the variances times scale squared."""
        return self._of(self.values * scale * scale)

    def restrict(self, dims: Tensor) -> Diagonal:
        """Return the variances of the features dims."""
        return Diagonal(self.values[..., dims], dims.shape[0], self.shared)

    def least_rows(self) -> int:
        """Return 5: each feature alone has twice as many as span an interval, and one more where there are several."""
        return 4 + (self.n_features > 1)

    def thinness(self, whole: Covariances) -> Tensor:
        """Return the smallest ratio of variances."""
        return (self.variances / whole.variances).amin(-1)

    @kept
    def factor(self) -> DiagonalFactor:
        """Inverse standard deviations."""
        self._require_positive()
        return DiagonalFactor(self.values.log().sum(-1), self.values.rsqrt())
