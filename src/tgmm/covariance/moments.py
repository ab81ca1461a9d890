"""Second-moment features: what a covariance structure needs to know of a row beyond the row itself.

A Gaussian is an exponential family, so its log-density is linear in ``(1, z, moment(z))`` and its
statistics are sums of the same features (Barndorff-Nielsen 1978; Bishop, PRML, 2.4). A structure picks
one of three moments; the kernels only ever see this interface.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

BLOCK = 128  # columns of triangular and symmetric matrices that are multiplied at a time
GATHERED = 1 << 15  # moments at most that are made at once of gathered rows, which takes more memory and fewer calls


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept may serve where gradients are computed
def upper_triangle(n_features: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the row and column indices of the upper triangle, (q,) each, row by row."""
    i, j = torch.triu_indices(n_features, n_features, device=device)
    return i, j


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def upper_places(n_features: int, device: torch.device) -> Tensor:
    """Return the place in a matrix of each entry of its upper triangle, (q,), row by row."""
    i, j = upper_triangle(n_features, device)
    return i * n_features + j


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def symmetric_places(n_features: int, device: torch.device) -> Tensor:
    """Return the place in the upper triangle of each entry of a symmetric matrix, (d d,), row by row."""
    i, j = upper_triangle(n_features, device)
    places = torch.empty(n_features, n_features, dtype=torch.int64, device=device)
    places[i, j] = places[j, i] = torch.arange(i.shape[0], device=device)
    return places.flatten()


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def doubled(n_features: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return how often an entry of the upper triangle is in the matrix: 1 on the diagonal, else 2, (q,)."""
    i, j = upper_triangle(n_features, device)
    return 2.0 - (i == j).to(dtype)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def identity(n_features: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the identity matrix, (d, d): not to be written to."""
    return torch.eye(n_features, dtype=dtype, device=device)


@dataclass(frozen=True)
class Sums(ABC):
    """What is summed of rows besides the rows themselves, q numbers a component, of which an M-step is a function.

    Parameters
    ----------
    shared : bool
        Whether all that is needed is the sum over the components, because they share one covariance. The quadratic part
        of the log-density is then the same for each: it cancels in the responsibilities, and the sum does not depend
        on them, so that an iteration needs no second moments at all.
    """

    shared: bool = False

    def pooled(self, moments: Tensor) -> Tensor:
        """Return what is needed of components' moments (..., K, q): (..., 1, q) where they are shared."""
        return moments.sum(-2, keepdim=True) if self.shared else moments

    @abstractmethod
    def size(self, n_features: int) -> int:
        """Return q."""

    @abstractmethod
    def about_means(self, second: Tensor, mass: Tensor, step: Tensor) -> Tensor:
        """Return sums about the means of components (..., B, q) from those about a centre.

        Parameters
        ----------
        second : Tensor of shape (..., K or 1, q)
            The sums.
        mass : Tensor of shape (..., K)
        step : Tensor of shape (..., K, d)
            The means minus the centre.
        """

    @abstractmethod
    def moved(self, second: Tensor, mass: Tensor, mean: Tensor, shift: Tensor) -> Tensor:
        """Return the sums of rows that are greater by shift than those of these sums, and of mass and mean, are."""


@dataclass(frozen=True)
class Moment(Sums):
    """A quadratic feature map from rows (..., d) to (..., q), which is summed."""

    mixes = False  # whether products of different features are among the moments

    def about_means(self, second: Tensor, mass: Tensor, step: Tensor) -> Tensor:
        """Return what is left without the moments of the means."""
        if self.shared:
            return self.pooled(second) - self.pooled(mass.unsqueeze(-1) * self.of(step))
        return torch.addcmul(second, mass.unsqueeze(-1), self.of(step), value=-1)

    def moved(self, second: Tensor, mass: Tensor, mean: Tensor, shift: Tensor) -> Tensor:
        """Return the sums with what they change by for the mean (the parallel axis theorem)."""
        gain = mass[..., None] * (self.of(mean + shift) - self.of(mean))  # (..., K, q)
        return second + (gain.sum(-2, keepdim=True) if second.shape[-2] == 1 else gain)

    @abstractmethod
    def pairs(self, n_features: int) -> Tensor | None:
        """Return the pairs of features (2, q) whose products the moments are, or None for the sum of all squares."""

    @abstractmethod
    def of(self, rows: Tensor) -> Tensor:
        """Return the moments (..., q) of rows (..., d)."""

    @abstractmethod
    def of_products(self, products: Tensor) -> Tensor:
        """Return the moments (..., q) from products of all pairs of features (..., d, d)."""

    def of_squares(self, squares: Tensor) -> Tensor:
        """Return the moments (..., q) from the squares of the features (..., d), where these tell them."""
        return squares

    @abstractmethod
    def weighted_sum(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Return the sum of weight times moment over rows (c, d) with weights (c,), (q,)."""

    @abstractmethod
    def fill(self, z: Tensor, out: Tensor) -> None:
        """Write the moments of the columns of z (d, c) into out (q, c)."""


@dataclass(frozen=True)
class Outer(Moment):
    """Products z_i z_j with i <= j, row by row of the upper triangle."""

    mixes = True

    def size(self, n_features: int) -> int:
        """Return d (d + 1) / 2."""
        return n_features * (n_features + 1) // 2

    def pairs(self, n_features: int) -> Tensor:
        """Return the pairs i <= j."""
        return torch.triu_indices(n_features, n_features)

    def of(self, rows: Tensor) -> Tensor:
        """Return the upper triangle of the outer products."""
        i, j = upper_triangle(rows.shape[-1], rows.device)
        return rows.index_select(-1, i).mul_(rows.index_select(-1, j))

    def of_products(self, products: Tensor) -> Tensor:
        """Return the upper triangle."""
        i, j = upper_triangle(products.shape[-1], products.device)
        return products[..., i, j]

    def weighted_sum(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Return the upper triangle of a matrix product, of which blocks below the diagonal are left out."""
        n_features, weighted = rows.shape[-1], weights[:, None] * rows
        product = rows.new_empty(n_features, n_features)
        for first in range(0, n_features, BLOCK):
            last = first + BLOCK
            product[first:last, first:] = rows[:, first:last].T @ weighted[:, first:]
        return product.flatten().index_select(0, upper_places(n_features, rows.device))

    def fill(self, z: Tensor, out: Tensor) -> None:
        """Write one block of products a row of the triangle, or all at once where they are few."""
        n_features, first = z.shape[0], 0
        if out.numel() <= GATHERED:
            i, j = upper_triangle(n_features, z.device)
            torch.mul(z.index_select(0, i), z.index_select(0, j), out=out)
            return
        for i in range(n_features):
            last = first + n_features - i
            torch.mul(z[i:], z[i], out=out[first:last])
            first = last


@dataclass(frozen=True)
class Square(Moment):
    """Squares z_i^2."""

    def size(self, n_features: int) -> int:
        """Return d."""
        return n_features

    def pairs(self, n_features: int) -> Tensor:
        """Return each feature with itself."""
        return torch.arange(n_features).expand(2, -1)

    def of(self, rows: Tensor) -> Tensor:
        """Return the squares."""
        return rows.square()

    def of_products(self, products: Tensor) -> Tensor:
        """Return the diagonal."""
        return products.diagonal(dim1=-2, dim2=-1)

    def weighted_sum(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sums of squares."""
        return weights @ rows.square()

    def fill(self, z: Tensor, out: Tensor) -> None:
        """Write the squares."""
        torch.mul(z, z, out=out)


@dataclass(frozen=True)
class Norm(Moment):
    """The squared Euclidean norm |z|^2."""

    def size(self, n_features: int) -> int:
        """Return 1."""
        return 1

    def pairs(self, n_features: int) -> None:
        """Return None: the one moment is a sum."""
        return None

    def of(self, rows: Tensor) -> Tensor:
        """Return the squared norms, (..., 1)."""
        return rows.square().sum(-1, keepdim=True)

    def of_products(self, products: Tensor) -> Tensor:
        """Return the trace, (..., 1)."""
        return products.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)

    def of_squares(self, squares: Tensor) -> Tensor:
        """Return the sum, (..., 1)."""
        return squares.sum(-1, keepdim=True)

    def weighted_sum(self, rows: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sum of squared norms."""
        return (weights @ rows.square()).sum(-1, keepdim=True)

    def fill(self, z: Tensor, out: Tensor) -> None:
        """Write the squared norms."""
        torch.linalg.vecdot(z, z, dim=0, out=out[0])
