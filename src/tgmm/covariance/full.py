"""Full covariances: any positive definite matrix."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from tgmm.covariance.base import Covariances, Factor
from tgmm.covariance.moments import BLOCK, Outer, doubled, identity, symmetric_places, upper_places, upper_triangle
from tgmm.runtime.frozen import kept


class MatrixFactor(Factor):
    """What follows from precision matrices (..., B, d, d)."""

    @kept
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

    def amplified_at_most(self, second: Tensor) -> float:
        """Return d times the largest diagonal entry of D P D: it is positive definite, so that no entry is larger."""
        return _most(self.precision.diagonal(dim1=-2, dim2=-1), second)


def _most(diagonal: Tensor, second: Tensor) -> float:
    """Return d times the largest product of a diagonal entry (..., B, d) and a second moment (..., K, d)."""
    return second.shape[-1] * float((diagonal * second).max())


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _factors(n_columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return what turns the upper triangle of [W m, W]' [W m, W] into natural parameters, (q,)."""
    factors = -0.5 * doubled(n_columns, dtype, device)
    factors[1:n_columns].neg_()
    return factors


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

    @kept
    def precision(self) -> Tensor:
        """The precision matrices, (..., B, d, d)."""
        return self.inverse_root.mT @ self.inverse_root

    def natural(self, means: Tensor, constants: Tensor) -> Tensor:
        """Return the natural parameters by one product: with (1, z) in the place of z, W z - W m is linear."""
        n_features = means.shape[-1] + 1
        multiply = torch.bmm if means.ndim == 2 else torch.matmul  # of which the first has less to look at
        white = multiply(self.inverse_root, means.unsqueeze(-1))
        roots = torch.cat([white, self.inverse_root], -1)  # (..., K, d, 1 + d)
        forms = multiply(roots.mT, roots).flatten(-2).index_select(-1, upper_places(n_features, roots.device))
        forms = forms * _factors(n_features, forms.dtype, forms.device)
        forms.select(-1, 0).add_(constants)
        return forms

    def amplified_at_most(self, second: Tensor) -> float:
        """Return the same, of a diagonal that takes no product of matrices."""
        return _most(self.inverse_root.square().sum(-2), second)


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

    @kept
    def variances(self) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]  # kept, but as good as a property
        """The diagonals."""
        return self.values.diagonal(0, -2, -1)

    @property
    def dense(self) -> Tensor:
        """The matrices themselves."""
        return self.values

    def plus(self, amount: Tensor) -> Full:
        """Return the matrices with amount added to their diagonals."""
        return self._of(torch.addcmul(self.values, amount.unsqueeze(-1), self._identity))

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
    def _identity(self) -> Tensor:
        return identity(self.n_features, self.values.dtype, self.values.device)

    @property
    def _rounding(self) -> float:
        """The share of a feature's variance that is nothing but rounding of the matrix's entries."""
        return 4 * self.n_features * torch.finfo(self.values.dtype).eps

    @kept
    def factor(self) -> FullFactor:
        """Inverse Cholesky factors, whose rounding is as if features had unit variances (Higham 2002, Theorem 10.5).

        A squared pivot is the part of a feature's variance that the features before it leave unexplained;
        below rounding of the matrix's own entries there is nothing left to factor.
        """
        root, info = torch.linalg.cholesky_ex(self.values)
        pivots = root.diagonal(0, -2, -1)  # (..., B, d)
        shares = pivots.detach() * self.variances.detach().rsqrt()  # their roots; NaN of what is no variance
        if not float(shares.min()) > self._rounding**0.5 or int(info.max()):
            self._require_positive()
            self._collapse((info != 0) | ~(shares.square() > self._rounding).all(-1))
        inverse_root = torch.linalg.solve_triangular(root, self._identity, upper=False)
        return FullFactor(pivots.log().sum(-1).mul_(2), inverse_root)
