"""Spherical covariances: one variance per component."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.covariance.base import CovarianceStructure, require_positive
from tgmm.covariance.diagonal import DiagonalFactor
from tgmm.moments import Norm


class Spherical(CovarianceStructure):
    """Multiples of the identity, (K,): components are balls."""

    form = "spherical"
    moment = Norm()
    isotropic = True

    def shape_of_one(self, n_features: int) -> tuple[int, ...]:
        """Return ()."""
        return ()

    def exponent(self, n_features: int) -> int:
        """Return d: every feature of a row informs the one variance."""
        return n_features

    def prior_constant(self, n_features: int) -> int:
        """Return 2: one one-dimensional inverse-Wishart."""
        return 2

    def unpack(self, packed: Tensor, n_features: int) -> Tensor:
        """Return (B,) from (B, 1)."""
        return packed[:, 0]

    def pack(self, covariances: Tensor) -> Tensor:
        """Return (B, 1) from (B,)."""
        return covariances[:, None]

    def variances(self, covariances: Tensor, n_features: int) -> Tensor:
        """Return the variance of every feature."""
        return covariances[:, None].expand(-1, n_features)

    def add_to_variances(self, covariances: Tensor, amount: Tensor) -> Tensor:
        """Return the variances plus amount."""
        return covariances + amount

    def rescale(self, covariances: Tensor, scale: Tensor) -> Tensor:
        """Return the variances times scale squared; the entries of scale are equal."""
        return covariances * scale[0] * scale[0]

    def factor(self, covariances: Tensor, n_features: int) -> DiagonalFactor:
        """Return inverse standard deviations, (B, 1)."""
        require_positive(covariances[:, None])
        return DiagonalFactor(n_features * covariances.log(), covariances.rsqrt()[:, None])

    def restrict(self, covariances: Tensor, dims: Tensor) -> Tensor:
        """Return the variances: they do not depend on the feature."""
        return covariances

    def dense(self, covariances: Tensor, n_features: int) -> Tensor:
        """Return multiples of the identity."""
        return torch.diag_embed(self.variances(covariances, n_features))
