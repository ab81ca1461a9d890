"""Full covariances: any positive definite matrix."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tgmm.covariance.base import Covariances, Factor
from tgmm.covariance.moments import BLOCK, Outer, doubled, symmetric_places, upper_places, upper_triangle


class MatrixFactor(Factor):
    """What follows from precision matrices (..., B, d, d)."""

    @cached_property
    @abstractmethod
    def precision(self) -> Tensor:
        """The precision matrices, (..., B, d, d)."""

    def coefficients(self) -> Tensor:
        """Return the upper triangle of the precision, off-diagonal entries doubled."""
        precision, n_features = self.precision, self.precision.shape[-1]
        places = upper_places(n_features, precision.device)
        upper = precision.flatten(-2).index_select(-1, places)
        return upper * doubled(n_features, precision.dtype, precision.device)

    def amplification(self, second: Tensor) -> Tensor:
        """Return the infinity norm of D P D."""
        root = second.sqrt()  # (..., K, d)
        return (root * (self.precision.abs() @ root[..., None])[..., 0]).amax(-1)

    def amplified_at_most(self, second: Tensor) -> Tensor:
        """Return d times the largest diagonal entry of D P D: it is positive definite, so that no entry is larger."""
        diagonal = self.precision.diagonal(dim1=-2, dim2=-1)
        return (diagonal * second).amax(-1).mul_(second.shape[-1])


@dataclass(frozen=True)
class FullFactor(MatrixFactor):
    """Inverse Cholesky factors: W with W' W the precision."""

    inverse_root: Tensor  # (..., B, d, d), lower triangular

    def whiten(self, rows: Tensor) -> Tensor:
        """Return W times each row."""
        return rows @ self.inverse_root.mT

    def distances(self, deviations: Tensor) -> Tensor:
        """Return the squared norm of W times each; of a large W by blocks, without the zeros beyond its diagonal."""
        n_features = self.inverse_root.shape[-1]
        if n_features <= BLOCK:
            return super().distances(deviations)
        distances = deviations.new_zeros(())
        for first in range(0, n_features, BLOCK):
            last = first + BLOCK
            white = deviations[..., :last] @ self.inverse_root[..., first:last, :last].mT
            distances = distances + white.square().sum(-1)
        return distances

    def colour(self, white: Tensor) -> Tensor:
        """Solve W x = z for each row z."""
        return torch.linalg.solve_triangular(self.inverse_root.mT, white, upper=True, left=False)

    def times(self, vectors: Tensor) -> Tensor:
        """Return the precision times each vector."""
        return (self.precision @ vectors.unsqueeze(-1)).squeeze(-1)

    @cached_property
    def precision(self) -> Tensor:
        """The precision matrices, (..., B, d, d)."""
        return self.inverse_root.mT @ self.inverse_root


@dataclass(frozen=True)
class Full(Covariances):
    """Unrestricted covariance matrices, values (..., B, d, d)."""

    form = "full"
    rescaled_form = "full"
    moment_type = Outer
    spans = True

    @staticmethod
    def shape_of_one(n_features: int) -> tuple[int, ...]:
        """Return (d, d)."""
        return (n_features, n_features)

    @staticmethod
    def exponent(n_features: int) -> int:
        """Return 1."""
        return 1

    @staticmethod
    def prior_constant(n_features: int) -> int:
        """Return d + 1, the inverse-Wishart's own."""
        return n_features + 1

    @staticmethod
    def gamma_shifts(n_features: int) -> list[int]:
        """Return 0 to d - 1, those of the multivariate gamma function."""
        return list(range(n_features))

    @staticmethod
    def tied_squares(squares: Tensor) -> Tensor:
        """Return the sum, (..., 1): one matrix serves all features."""
        return squares.sum(-1, keepdim=True)

    @classmethod
    def from_packed(cls, packed: Tensor, n_features: int, *, shared: bool) -> Full:
        """Return symmetric matrices from their upper triangles."""
        entries = packed.index_select(-1, symmetric_places(n_features, packed.device))
        return cls(entries.view(*packed.shape[:-1], n_features, n_features), n_features, shared)

    @property
    def packed(self) -> Tensor:
        """The upper triangles."""
        i, j = upper_triangle(self.n_features, self.values.device)
        return self.values[..., i, j]

    @property
    def variances(self) -> Tensor:
        """The diagonals."""
        return self.values.diagonal(dim1=-2, dim2=-1)

    @property
    def dense(self) -> Tensor:
        """The matrices themselves."""
        return self.values

    def plus(self, amount: Tensor) -> Full:
        """Return the matrices with amount added to their diagonals."""
        return self._of(self.values + torch.diag_embed(amount))

    def rescale(self, scale: Tensor) -> Full:
        """Return S Sigma S with S = diag(scale)."""
        return self._of(self.values * scale[..., None, :] * scale[..., :, None])

    def restrict(self, dims: Tensor) -> Full:
        """Return the submatrices of the features dims."""
        return Full(self.values[..., dims[:, None], dims], dims.shape[0], self.shared)

    def regression(self, observed: Tensor, rest: Tensor) -> tuple[Tensor, Full]:
        """Return slopes and Schur complements, positive definite by construction.

        With the observed features first, the inverse root W has blocks [[W_oo, 0], [W_ro, W_rr]]: the precision of the
        rest given the observed is W_rr' W_rr, and the slopes are -W_rr^-1 W_ro.
        """
        n_observed = observed.shape[0]
        inverse_root = self.restrict(torch.cat([observed, rest])).factor.inverse_root
        block = inverse_root[:, n_observed:, n_observed:]
        identity = torch.eye(rest.shape[0], dtype=block.dtype, device=block.device).expand_as(block)
        root = torch.linalg.solve_triangular(block, identity, upper=False)  # (B, r, r)
        slopes = -root @ inverse_root[:, n_observed:, :n_observed]
        return slopes, Full(root @ root.mT, rest.shape[0], self.shared)

    def least_rows(self) -> int:
        """Return 2 (d + 1): twice as many as span an ellipsoid."""
        return 2 * (self.n_features + 1)

    def thinness(self, whole: Covariances) -> Tensor:
        """Return the smallest eigenvalues in coordinates in which the whole is the identity."""
        whiten = whole.factor.whiten
        return torch.linalg.eigvalsh(whiten(whiten(self.values).mT))[..., 0]

    def independent(self, least: Tensor) -> Tensor:
        """Return the features with pivots above least (d,) and their own rounding, by elimination in their order."""
        left = self.values[0].clone()  # (d, d), what the features kept so far leave of the covariance
        least = torch.maximum(least, self._rounding * self.variances[0])
        kept: list[int] = []
        for j in range(self.n_features):
            if left[j, j] > least[j]:
                kept.append(j)
                left -= left[:, j, None] * (left[j] / left[j, j])
        return torch.tensor(kept, dtype=torch.int64, device=left.device)

    @property
    def _rounding(self) -> float:
        """The share of a feature's variance that is nothing but rounding of the matrix's entries."""
        return 4 * self.n_features * torch.finfo(self.values.dtype).eps

    @cached_property
    def factor(self) -> FullFactor:
        """Factored correlation matrices, so that the features' units do not matter.

        A squared pivot is the share of a feature's variance that the features before it leave unexplained;
        below rounding of the matrix's own entries there is nothing left to factor.
        """
        self._require_positive()
        inverse_sd = self.variances.rsqrt()  # (..., B, d)
        correlation = self.values * inverse_sd.unsqueeze(-1) * inverse_sd.unsqueeze(-2)
        root, info = torch.linalg.cholesky_ex(correlation)
        pivots = root.diagonal(dim1=-2, dim2=-1)  # (..., B, d)
        if info.any() or not float(pivots.amin()) > self._rounding**0.5:
            self._collapse((info != 0) | ~(pivots.square() > self._rounding).all(-1))
        inverse_root = torch.linalg.solve_triangular(root, torch.diag_embed(inverse_sd), upper=False)
        log_det = inverse_root.diagonal(dim1=-2, dim2=-1).log().sum(-1).mul_(-2)
        return FullFactor(log_det, inverse_root)
