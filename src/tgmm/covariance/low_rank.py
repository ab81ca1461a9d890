"""Covariances that a few factors explain but for a variance of each feature's own: W W' + diag(psi).

With the scaled loadings Psi^-1/2 W R = V, V'V = diag(lambda), R the rotation that makes them orthogonal, all that is
computed of d features takes products with the q columns of V, by the identity of Sherman, Morrison & Woodbury (Woodbury
1950, Memorandum Report 42, Princeton): the precision is Psi^-1/2 (I - V diag(1 / (1 + lambda)) V') Psi^-1/2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance.base import Covariances
from tgmm.covariance.full import Full, MatrixFactor
from tgmm.covariance.latent import Latent
from tgmm.covariance.moments import Outer, Sums
from tgmm.runtime.frozen import kept

BISECTIONS = 60
NOTHING = 1e-300  # in the place of products of no rows, so that nothing over nothing is 0


@dataclass(frozen=True)
class LowRankFactor(MatrixFactor):
    """Inverse standard deviations of what factors do not explain, and scaled orthogonal loadings."""

    inverse_sd: Tensor  # (..., B, d)
    loadings: Tensor  # V, (..., B, d, q)
    strengths: Tensor  # lambda, (..., B, q), descending

    def whiten(self, rows: Tensor) -> Tensor:
        """Return (I - V diag(g) V') Psi^-1/2 x, whose matrix is the symmetric root of what lies between the scales.

        With r = sqrt(1 + lambda), g = 1 / (r (r + 1)).
        """
        return self._shrunk(rows * self.inverse_sd[..., None, :])

    def colour(self, white: Tensor) -> Tensor:
        """Return Psi^1/2 (I + V diag(1 / (r + 1)) V') z, r = sqrt(1 + lambda)."""
        white = white + self._along(white, 1 / ((1 + self.strengths).sqrt() + 1))
        return white / self.inverse_sd[..., None, :]

    def times(self, vectors: Tensor) -> Tensor:
        """Return the precision times each vector, root by root: nothing of its square is lost in rounding."""
        scaled = (vectors * self.inverse_sd)[..., None, :]
        return self._shrunk(self._shrunk(scaled))[..., 0, :] * self.inverse_sd

    def _shrunk(self, scaled: Tensor) -> Tensor:
        """Return (I - V diag(g) V') times each row."""
        root = (1 + self.strengths).sqrt()
        return scaled - self._along(scaled, 1 / (root * (root + 1)))

    def _along(self, rows: Tensor, gains: Tensor) -> Tensor:
        """Return V diag(gains) V' times each row."""
        return (rows @ self.loadings * gains[..., None, :]) @ self.loadings.mT

    @property
    def scores(self) -> Tensor:
        """What makes the whitened scores u of factors of a row, with |x|^2 = x' Psi^-1 x - |u|^2, (..., B, d, q)."""
        return self.inverse_sd[..., None] * self.loadings * (1 + self.strengths).rsqrt()[..., None, :]

    @kept
    def precision(self) -> Tensor:
        """The precision matrices, (..., B, d, d)."""
        root = self._shrunk(torch.diag_embed(self.inverse_sd))
        return root @ root.mT


@dataclass(frozen=True)
class LowRank(Covariances):
    """Loadings W and noise variances psi, values (..., B, d, q + 1): the last column is psi."""

    form = "full"
    rescaled_form = "full"
    moment_type = Outer

    # Those of a matrix.
    shape_of_one, exponent = staticmethod(Full.shape_of_one), staticmethod(Full.exponent)
    prior_constant, gamma_shifts = staticmethod(Full.prior_constant), staticmethod(Full.gamma_shifts)
    tied_squares = staticmethod(Full.tied_squares)

    @classmethod
    def of(cls, loadings: Tensor, noise: Tensor) -> LowRank:
        """Return the covariances with loadings (..., B, d, q) and noise variances (..., B, d)."""
        return cls(torch.cat([loadings, noise[..., None]], -1), noise.shape[-1])

    @classmethod
    def from_packed(cls, packed: Tensor, n_features: int, *, shared: bool) -> LowRank:
        """Return any matrices, by d - 1 factors: what the least eigenvalue leaves has that rank."""
        dense = Full.from_packed(packed, n_features, shared=shared).values
        values, axes = torch.linalg.eigh(dense)  # ascending
        loadings = axes[..., 1:] * (values[..., 1:] - values[..., :1]).sqrt()[..., None, :]
        return cls.of(loadings, values[..., :1].expand(dense.shape[:-1]))

    @property
    def packed(self) -> Tensor:
        """The upper triangles of the matrices."""
        return Full(self.dense, self.n_features, self.shared).packed

    @property
    def loadings(self) -> Tensor:
        """W, (..., B, d, q), as they come."""
        return self.values[..., :-1]

    @property
    def noise(self) -> Tensor:
        """The noise variances, (..., B, d)."""
        return self.values[..., -1]

    @property
    def n_factors(self) -> int:
        """The number of factors, q."""
        return self.values.shape[-1] - 1

    @property
    def canonical(self) -> LowRank:
        """The same covariances with the one rotation of the loadings that is identified.

        W' Psi^-1 W is diagonal, its entries descend (Lawley & Maxwell 1971, Factor Analysis as a Statistical Method,
        2.3), and the largest entry of each column is positive.
        """
        return self.of(signed(self.factor.loadings / self.factor.inverse_sd[..., None]), self.noise)

    @property
    def variances(self) -> Tensor:
        """Of each feature: what factors explain, and what they do not."""
        return self.loadings.square().sum(-1) + self.noise

    @property
    def dense(self) -> Tensor:
        """The matrices."""
        return self.loadings @ self.loadings.mT + torch.diag_embed(self.noise)

    @property
    def public(self) -> Tensor:
        """The matrices: made when they are asked for."""
        return self.dense

    @property
    def stored(self) -> Tensor:
        """Loadings and noise variances, (..., B, d, q + 1)."""
        return self.values

    @property
    def evaluating_moment(self) -> Sums:
        """The moments of whichever form takes fewer products a row: of factors, or of pairs of features."""
        few = 4 * (self.n_factors + 1) < self.n_features
        return Latent(n_factors=self.n_factors) if few else self.own_moment

    def plus(self, amount: Tensor) -> LowRank:
        """Return the covariances with amount on each noise variance."""
        return self.of(self.loadings, self.noise + amount)

    def over(self, divisor: Tensor) -> LowRank:
        """Return the covariances divided by numbers (..., B)."""
        return self.of(self.loadings / divisor.sqrt()[..., None, None], self.noise / divisor[..., None])

    def rescale(self, scale: Tensor) -> LowRank:
        """Return S W and S psi S with S = diag(scale)."""
        return self.of(self.loadings * scale[..., None], self.noise * scale * scale)

    def restrict(self, dims: Tensor) -> LowRank:
        """Return the rows of some features."""
        return LowRank(self.values[..., dims, :], dims.shape[0])

    def regression(self, observed: Tensor, rest: Tensor) -> tuple[Tensor, LowRank]:
        """Return slopes, and what is left: the loadings of the rest on factors as the observed features leave them.

        These have the covariance M^-1, M = I + W_o' Psi_o^-1 W_o, and slopes are W_r M^-1 W_o' Psi_o^-1.
        """
        told = self.restrict(observed)
        scaled = told.loadings / told.noise[..., None]  # (B, o, q)
        identity = torch.eye(self.n_factors, dtype=scaled.dtype, device=scaled.device)
        root = torch.linalg.cholesky(identity + told.loadings.mT @ scaled)
        left = self.restrict(rest)
        loadings = torch.linalg.solve_triangular(root.mT, left.loadings, upper=True, left=False)  # (B, r, q)
        slopes = loadings @ torch.linalg.solve_triangular(root, scaled.mT, upper=False)
        return slopes, self.of(loadings, left.noise)

    def average(self, weights: Tensor) -> LowRank:
        """Return the weighted mean of the components' covariances, but for what more than q factors would explain.

        The variances are those of the mean.
        """
        shares = weights / weights.sum()  # (K,)
        counted = shares > 0
        variances = (shares[counted, None] * self.variances[counted]).sum(0, keepdim=True)
        roots = (shares[counted].sqrt()[:, None, None] * self.loadings[counted]).transpose(0, 1).flatten(1)  # (d, K q)
        axes, values, _ = torch.linalg.svd(roots, full_matrices=False)
        loadings = torch.zeros_like(self.loadings[:1])
        kept = min(self.n_factors, values.shape[0])
        loadings[0, :, :kept] = axes[:, :kept] * values[:kept]
        return self.of(loadings, variances - loadings.square().sum(-1))

    def least_rows(self) -> int:
        """Return 2 (q + 2): twice as many as the factors span with the mean, and one more."""
        return 2 * (self.n_factors + 2)

    def thinness(self, whole: Covariances) -> Tensor:
        """Return the smallest eigenvalues in coordinates in which the whole is the identity."""
        has_few_factors = self.loadings.shape[-1] < self.n_features  # of all features, but not of some alone
        if has_few_factors and isinstance(whole, LowRank) and not whole.loadings.any():
            return least_eigenvalue(self.noise / whole.noise, self.loadings * whole.noise.rsqrt()[..., None])
        whiten = whole.factor.whiten
        return torch.linalg.eigvalsh(whiten(whiten(self.dense).mT))[..., 0]

    @kept
    def factor(self) -> LowRankFactor:
        """Scaled loadings, rotated to be orthogonal."""
        self._require_positive()
        if not float(self.noise.amin()) > 0:
            self._collapse(~(self.noise > 0).all(-1))
        inverse_sd = self.noise.rsqrt()
        strengths, rotation = self.spectrum
        log_det = self.noise.log().sum(-1) + strengths.log1p().sum(-1)
        return LowRankFactor(log_det, inverse_sd, self.loadings * inverse_sd[..., None] @ rotation, strengths)

    @kept
    def spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues lambda of W' Psi^-1 W, (..., B, q) descending, and the rotation R to its axes, (..., B, q, q)."""
        scaled = self.loadings * self.noise.rsqrt()[..., None]
        strengths, rotation = torch.linalg.eigh(scaled.mT @ scaled)  # ascending
        return strengths.clamp(min=0).flip(-1), rotation.flip(-1)


def scatter_of(sums: Tensor, moment: Latent) -> LowRank:
    """Return what latent sums (..., B, m) about the means tell of the scatter: an M-step but for the counts.

    W = (sum of x z') C^-1 is rescaled by the root of C, the products of factors, which are not what the model says they
    are: parameter expansion (Liu, Rubin & Wu 1998, Biometrika 85). psi is what that leaves of the squares.
    """
    cross, squares, products, _ = moment.parts(sums)
    root = torch.linalg.cholesky_ex(products + NOTHING * torch.eye(moment.n_factors).to(products))[0]
    loadings = torch.linalg.solve_triangular(root.mT, cross, upper=True, left=False)
    return LowRank.of(loadings, squares - loadings.square().sum(-1))


def least_eigenvalue(diagonal: Tensor, roots: Tensor) -> Tensor:
    """Return the smallest eigenvalue of D + U U', D positive and diagonal (..., d), U (..., d, q) with q < d, (...).

    By bisection between the smallest entries of D: as many eigenvalues are below t as entries of D, but for the
    negative eigenvalues of I + U' (D - t)^-1 U (Sylvester's law of inertia; Haynsworth 1968, Linear Algebra and its
    Applications 1).
    """
    n_factors = roots.shape[-1]
    ordered, identity = diagonal.sort(-1).values, torch.eye(n_factors, dtype=roots.dtype, device=roots.device)
    low, high = ordered[..., 0], ordered[..., n_factors]
    for _ in range(BISECTIONS):
        middle = (low * high).sqrt()
        gaps = diagonal - middle[..., None]
        least = 4 * torch.finfo(gaps.dtype).eps * middle[..., None]
        gaps = torch.where(gaps.abs() < least, least, gaps)
        negative = torch.linalg.eigvalsh(identity + roots.mT @ (roots / gaps[..., None])) < 0
        is_above = (gaps < 0).sum(-1) > negative.sum(-1)
        low, high = torch.where(is_above, low, middle), torch.where(is_above, middle, high)
    return low


def signed(loadings: Tensor) -> Tensor:
    """Return loadings (..., d, q) with the largest entry of each column positive."""
    if not loadings.shape[-1]:
        return loadings
    largest = loadings.gather(-2, loadings.abs().argmax(-2, keepdim=True))
    return torch.where(largest < 0, -loadings, loadings)
