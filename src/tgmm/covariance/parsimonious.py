"""Structures whose components differ in volume, shape or orientation, each by itself; named by mclust's codes.

A covariance is lambda D A D': its volume lambda = |Sigma|^(1/d), its shape A, diagonal with determinant 1, and its
orientation D. The letters of a name say of each in turn whether it is equal (E) or varying (V) over the components, or
the identity (I). Source: Celeux & Govaert 1995 (Pattern Recognition 28).
"""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.covariance.base import Covariances
from tgmm.covariance.diagonal import Diagonal
from tgmm.covariance.full import Full
from tgmm.covariance.structures import NO_ROWS, Structure

SETTLED = 1e-13  # relative change of the volumes at which their iteration has ended
SWEEPS = 1000
ALIKE = 1e-6  # relative difference that rounding can explain, of covariances that users hand in


class VEI(Structure):
    """Diagonal covariances lambda_k A: the variances of every component are a multiple of the same."""

    name = marginal_name = rescaled_name = "VEI"
    form = Diagonal
    takes_prior = False
    restriction = "the variances of every component are a multiple of the same"

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return K volumes, and d - 1 for the shape."""
        return n_components + n_features - 1

    def estimate(self, scatter: Covariances, counts: Tensor, previous: Covariances | None = None) -> Diagonal:
        """Return the estimate from the mean squares of each component."""
        return self._of(scatter.over(counts.clamp(min=NO_ROWS)).variances, counts)

    def project(self, covariances: Covariances, weights: Tensor) -> Diagonal:
        """Return the estimate from rows that have these covariances."""
        return self._of(covariances.variances, weights)

    def contains(self, covariances: Covariances) -> bool:
        """Whether the variances are multiples of one another."""
        projected = self.project(covariances, torch.ones_like(covariances.values[:, 0]))
        return torch.allclose(projected.values, covariances.values, rtol=ALIKE, atol=0)

    def _of(self, variances: Tensor, counts: Tensor) -> Diagonal:
        volumes, shape = volumes_and_shape(variances, counts)
        return Diagonal(volumes[..., None] * shape[..., None, :], variances.shape[-1])


class VEV(Structure):
    """Covariances lambda_k D_k A D_k': ellipsoids of one shape, of any size and orientation.

    Another unit for each feature would leave it, and so does the choice of some features.
    """

    name = "VEV"
    marginal_name = rescaled_name = "full"
    form = Full
    one_scale = True
    takes_prior = False
    restriction = "the eigenvalues of every component are a multiple of the same"

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return K volumes, d - 1 for the shape, and d (d - 1) / 2 for each orientation."""
        return n_components + n_features - 1 + n_components * n_features * (n_features - 1) // 2

    def estimate(self, scatter: Covariances, counts: Tensor, previous: Covariances | None = None) -> Full:
        """Return the estimate: each scatter's own axes, and volumes and shape of what lies along them."""
        return self._of(scatter.over(counts.clamp(min=NO_ROWS)).dense, counts)

    def project(self, covariances: Covariances, weights: Tensor) -> Full:
        """Return the estimate from rows that have these covariances."""
        return self._of(covariances.dense, weights)

    def contains(self, covariances: Covariances) -> bool:
        """Whether the eigenvalues are multiples of one another."""
        projected = self.project(covariances, torch.ones_like(covariances.values[:, 0, 0]))
        slack = ALIKE * covariances.variances.amax((-2, -1)).item()
        return torch.allclose(projected.values, covariances.values, rtol=ALIKE, atol=slack)

    def _of(self, matrices: Tensor, counts: Tensor) -> Full:
        values, axes = torch.linalg.eigh(matrices)  # (..., K, d) ascending, (..., K, d, d)
        volumes, shape = volumes_and_shape(values.clamp(min=0), counts)
        scaled = axes * (volumes[..., None] * shape[..., None, :])[..., None, :]
        return Full(scaled @ axes.mT, matrices.shape[-1])


def volumes_and_shape(variances: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the volumes lambda (..., K) and the shape a (..., d), with product 1, of variances lambda_k a_j.

    They minimise the sum over k and j of n_k (log(lambda_k a_j) + v_kj / (lambda_k a_j)), which is convex in their
    logarithms, by minimising in one and the other in turn (Celeux & Govaert 1995, 4.2). Components of count 0 get the
    volume that suits the shape, and do not matter for it.

    Parameters
    ----------
    variances : Tensor of shape (..., K, d)
        v, of each component's rows.
    counts : Tensor of shape (..., K)
        n, the numbers of rows.
    """
    shape = _unit(counts, variances)
    volumes = (variances / shape[..., None, :]).mean(-1)
    for _ in range(SWEEPS):
        relative = torch.where(volumes > 0, counts / volumes.clamp(min=NO_ROWS), 0.0)
        shape = _unit(relative, variances)
        before, volumes = volumes, (variances / shape[..., None, :]).mean(-1)
        if not ((volumes - before).abs() > SETTLED * volumes).any():
            break
    return volumes, shape


def _unit(factors: Tensor, variances: Tensor) -> Tensor:
    """Return the sum over k of factors (..., K) times variances (..., K, d), of geometric mean 1, (..., d)."""
    logarithms = (factors[..., None, :] @ variances)[..., 0, :].clamp(min=NO_ROWS).log()
    return (logarithms - logarithms.mean(-1, keepdim=True)).exp()
