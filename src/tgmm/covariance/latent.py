"""What is summed of rows whose factors are not observed, where a component's scatter matrix would be too large."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance.moments import Sums


@dataclass(frozen=True)
class Latent(Sums):
    """Sums over rows x and the factors z behind them: x z', x^2, z z' and z, of which an M-step is a function.

    They are expectations of the complete data of Ghahramani & Hinton 1996 (CRG-TR-96-1), so that they can be added,
    scaled and extrapolated as others can; (d + q) (q + 1) numbers a component, with rows [x z', x^2] of d features and
    [z z', z] of q factors. What depends on the parameters of a pass, its kernel knows.

    Parameters
    ----------
    n_factors : int
        q.
    """

    n_factors: int = 0

    def size(self, n_features: int) -> int:
        """Return (d + q) (q + 1)."""
        return (n_features + self.n_factors) * (self.n_factors + 1)

    def parts(self, second: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the sums of x z' (..., d, q), x^2 (..., d), z z' (..., q, q) and z (..., q) in moments (..., m)."""
        q = self.n_factors
        table = second.unflatten(-1, (-1, q + 1))
        return table[..., :-q, :q], table[..., :-q, q], table[..., -q:, :q], table[..., -q:, q]

    def joined(self, cross: Tensor, squares: Tensor, products: Tensor, scores: Tensor) -> Tensor:
        """Return such parts as moments (..., m)."""
        features, factors = torch.cat([cross, squares[..., None]], -1), torch.cat([products, scores[..., None]], -1)
        return torch.cat([features, factors], -2).flatten(-2)

    def about_means(self, second: Tensor, mass: Tensor, step: Tensor) -> Tensor:
        """Return the sums about the means of rows and of factors."""
        cross, squares, products, scores = self.parts(second)
        mean = scores / torch.where(mass > 0, mass, 1.0)[..., None]
        return self.joined(
            cross - step[..., :, None] * scores[..., None, :],
            squares - mass[..., None] * step.square(),
            products - scores[..., :, None] * mean[..., None, :],
            torch.zeros_like(scores),
        )

    def moved(self, second: Tensor, mass: Tensor, mean: Tensor, shift: Tensor) -> Tensor:
        """Return the sums of rows that are greater by shift."""
        cross, squares, products, scores = self.parts(second)
        gain = mass[..., None] * ((mean + shift).square() - mean.square())
        return self.joined(cross + shift[..., :, None] * scores[..., None, :], squares + gain, products, scores)
