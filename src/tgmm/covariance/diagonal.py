"""Diagonal covariances: one variance per component and feature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance.base import CovarianceStructure, Factor, require_positive
from tgmm.moments import Square


@dataclass(frozen=True)
class DiagonalFactor(Factor):
    """Inverse standard deviations."""

    inverse_sd: Tensor  # (B, d), or (B, 1) where one variance serves all features

    def whiten(self, rows: Tensor) -> Tensor:
        """Return rows in standard deviations."""
        return rows * self.inverse_sd[:, None, :]

    def colour(self, white: Tensor) -> Tensor:
        """Return rows in standard deviations in the user's units."""
        return white / self.inverse_sd[:, None, :]

    def times(self, vectors: Tensor) -> Tensor:
        """Return vectors divided by the variances."""
        return vectors * self.inverse_sd.square()

    def coefficients(self) -> Tensor:
        """Return the inverse variances."""
        return self.inverse_sd.square()

    def amplification(self, second: Tensor) -> Tensor:
        """Return the largest ratio of second moment to variance."""
        return (second * self.inverse_sd.square()).amax(-1)

    def select(self, component: int) -> DiagonalFactor:
        """Return the factor of one component."""
        return DiagonalFactor(self.log_det[component, None], self.inverse_sd[component, None])


class Diagonal(CovarianceStructure):
    """Diagonal covariances, (K, d): the features are independent within a component."""

    form = "diag"
    moment = Square()

    def shape_of_one(self, n_features: int) -> tuple[int, ...]:
        """Return (d,)."""
        return (n_features,)

    def exponent(self, n_features: int) -> int:
        """Return 1."""
        return 1

    def prior_constant(self, n_features: int) -> int:
        """Return 2: a one-dimensional inverse-Wishart for each feature."""
        return 2

    def unpack(self, packed: Tensor, n_features: int) -> Tensor:
        """Return the packed moments: they are the variances."""
        return packed

    def pack(self, covariances: Tensor) -> Tensor:
        """Return the variances."""
        return covariances

    def variances(self, covariances: Tensor, n_features: int) -> Tensor:
        """Return the variances."""
        return covariances

    def add_to_variances(self, covariances: Tensor, amount: Tensor) -> Tensor:
        """Return the variances plus amount."""
        return covariances + amount

    def rescale(self, covariances: Tensor, scale: Tensor) -> Tensor:
        """Return the variances times scale squared."""
        return covariances * scale * scale

    def factor(self, covariances: Tensor, n_features: int) -> DiagonalFactor:
        """Return inverse standard deviations."""
        require_positive(covariances)
        return DiagonalFactor(covariances.log().sum(-1), covariances.rsqrt())

    def restrict(self, covariances: Tensor, dims: Tensor) -> Tensor:
        """Return the variances of the features dims."""
        return covariances[:, dims]

    def dense(self, covariances: Tensor, n_features: int) -> Tensor:
        """Return diagonal matrices."""
        return torch.diag_embed(covariances)
