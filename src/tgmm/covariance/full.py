"""Full covariances: any positive definite matrix per component."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tgmm.covariance.base import CovarianceCollapse, CovarianceStructure, Factor, require_positive
from tgmm.moments import Outer, upper_triangle


@dataclass(frozen=True)
class FullFactor(Factor):
    """Inverse Cholesky factors: W with W' W the precision."""

    inverse_root: Tensor  # (B, d, d), lower triangular

    def whiten(self, rows: Tensor) -> Tensor:
        """Return W times each row."""
        return rows @ self.inverse_root.mT

    def colour(self, white: Tensor) -> Tensor:
        """Solve W x = z for each row z."""
        return torch.linalg.solve_triangular(self.inverse_root.mT, white, upper=True, left=False)

    def times(self, vectors: Tensor) -> Tensor:
        """Return W' W times each vector."""
        return (self.inverse_root.mT @ (self.inverse_root @ vectors[..., None]))[..., 0]

    @cached_property
    def precision(self) -> Tensor:
        """The precision matrices, (B, d, d)."""
        return self.inverse_root.mT @ self.inverse_root

    def coefficients(self) -> Tensor:
        """Return the upper triangle of the precision, off-diagonal entries doubled."""
        i, j = upper_triangle(self.precision.shape[-1], self.precision.device)
        return self.precision[:, i, j] * (2.0 - (i == j).to(self.precision.dtype))

    def amplification(self, second: Tensor) -> Tensor:
        """Return the infinity norm of D P D."""
        root = second.sqrt()  # (K, d)
        return (root * (self.precision.abs() @ root[..., None])[..., 0]).amax(-1)

    def select(self, component: int) -> FullFactor:
        """Return the factor of one component."""
        return FullFactor(self.log_det[component, None], self.inverse_root[component, None])


class Full(CovarianceStructure):
    """Unrestricted covariance matrices, (K, d, d)."""

    form = "full"
    moment = Outer()

    def shape_of_one(self, n_features: int) -> tuple[int, ...]:
        """Return (d, d)."""
        return (n_features, n_features)

    def exponent(self, n_features: int) -> int:
        """Return 1."""
        return 1

    def prior_constant(self, n_features: int) -> int:
        """Return d + 1, the inverse-Wishart's own."""
        return n_features + 1

    def unpack(self, packed: Tensor, n_features: int) -> Tensor:
        """Return symmetric matrices from their upper triangles."""
        i, j = upper_triangle(n_features, packed.device)
        matrices = packed.new_empty(packed.shape[0], n_features, n_features)
        matrices[:, i, j] = packed
        matrices[:, j, i] = packed
        return matrices

    def pack(self, covariances: Tensor) -> Tensor:
        """Return the upper triangles."""
        i, j = upper_triangle(covariances.shape[-1], covariances.device)
        return covariances[:, i, j]

    def variances(self, covariances: Tensor, n_features: int) -> Tensor:
        """Return the diagonals."""
        return covariances.diagonal(dim1=-2, dim2=-1)

    def add_to_variances(self, covariances: Tensor, amount: Tensor) -> Tensor:
        """Return the matrices with amount added to their diagonals."""
        return covariances + torch.diag_embed(amount)

    def rescale(self, covariances: Tensor, scale: Tensor) -> Tensor:
        """Return S Sigma S with S = diag(scale)."""
        return covariances * scale * scale[:, None]

    def factor(self, covariances: Tensor, n_features: int) -> FullFactor:
        """Factor the correlation matrices, so that the features' units do not matter.

        A squared pivot is the share of a feature's variance that the features before it leave unexplained;
        below rounding of the matrix's own entries there is nothing left to factor.
        """
        variances = self.variances(covariances, n_features)  # (B, d)
        require_positive(variances)
        inverse_sd = variances.rsqrt()
        correlation = covariances * inverse_sd[:, :, None] * inverse_sd[:, None, :]
        root, info = torch.linalg.cholesky_ex(correlation)
        pivots = root.diagonal(dim1=-2, dim2=-1)  # (B, d)
        rounding = 4 * n_features * torch.finfo(covariances.dtype).eps
        bad = (info != 0) | ~(pivots.square() > rounding).all(-1)
        if bad.any():
            raise CovarianceCollapse(int(bad.nonzero()[0]))
        identity = torch.eye(n_features, dtype=root.dtype, device=root.device).expand_as(root)
        inverse_root = torch.linalg.solve_triangular(root, identity, upper=False) * inverse_sd[:, None, :]
        return FullFactor(2 * pivots.log().sum(-1) + variances.log().sum(-1), inverse_root)

    def restrict(self, covariances: Tensor, dims: Tensor) -> Tensor:
        """Return the submatrices of the features dims."""
        return covariances[:, dims[:, None], dims]

    def regression(self, covariances: Tensor, observed: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Return slopes and Schur complements, positive definite by construction.

        With the observed features first, the inverse root W has blocks [[W_oo, 0], [W_ro, W_rr]]: the precision of the
        rest given the observed is W_rr' W_rr, and the slopes are -W_rr^-1 W_ro.
        """
        order = torch.cat([observed, rest])
        n_observed = observed.shape[0]
        inverse_root = self.factor(self.restrict(covariances, order), order.shape[0]).inverse_root
        block = inverse_root[:, n_observed:, n_observed:]
        identity = torch.eye(rest.shape[0], dtype=block.dtype, device=block.device).expand_as(block)
        root = torch.linalg.solve_triangular(block, identity, upper=False)  # (B, r, r)
        return -root @ inverse_root[:, n_observed:, :n_observed], root @ root.mT

    def dense(self, covariances: Tensor, n_features: int) -> Tensor:
        """Return the matrices themselves."""
        return covariances
