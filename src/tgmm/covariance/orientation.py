"""The likelihood of several components as a function of the axes that they have in common: value, slope and curvature.

Axes D are turned by D exp(W) with W skew-symmetric, whose entries above the diagonal are coordinates of all orthogonal
matrices near D (Edelman, Arias & Smith 1998, SIAM Journal on Matrix Analysis and Applications 20). With v_k the
diagonal of T_k = D' S_k D and l_k the sum of its logarithms, minus twice the log-likelihood is, but for constants, the
sum of n_k l_k, or where the volumes are equal d n times the logarithm of the sum of n_k exp(l_k / d) (Browne &
McNicholas 2014, Statistics and Computing 24, for VVE and EVE).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

THINNEST = 1e-15  # variance along an axis, relative to the largest, below which there is nothing but rounding
ROUNDING = 1e-15  # of variances, relative to the component's largest
FLATTER = 0.5  # by which a slope shrinks at least where the value has no more digits
STIFF = 1e-10  # what is added to the curvature, relative to its diagonal, which some directions may lack
LONGEST = 0.5  # radians that two axes are turned in one step


@dataclass(frozen=True)
class Orientation:
    """Axes in common, and what the likelihood is there; per row.

    Parameters
    ----------
    axes : Tensor of shape (..., d, d)
        D, in columns.
    matrices : Tensor of shape (..., K, d, d)
        S, mean squares of each component.
    shares : Tensor of shape (..., K)
        Of all rows.
    equal_volumes : bool
    """

    axes: Tensor
    matrices: Tensor
    shares: Tensor
    equal_volumes: bool

    def at(self, axes: Tensor) -> Orientation:
        """Return the likelihood at other axes."""
        return Orientation(axes, self.matrices, self.shares, self.equal_volumes)

    def of_some(self, index: Tensor) -> Orientation:
        """Return those of some places of a batch, by indices of the first dimension."""
        if len(index) == len(self.axes):
            return self
        return Orientation(self.axes[index], self.matrices[index], self.shares[index], self.equal_volumes)

    @cached_property
    def turned(self) -> Tensor:
        """T, the matrices in the coordinates of the axes, (..., K, d, d)."""
        axes = self.axes[..., None, :, :]
        return axes.mT @ self.matrices @ axes

    @cached_property
    def variances(self) -> Tensor:
        """v, along the axes, none of them 0, (..., K, d)."""
        return not_flat(self.turned.diagonal(dim1=-2, dim2=-1))

    @cached_property
    def weights(self) -> Tensor:
        """The derivatives of the value in l, (..., K)."""
        return weights_of(self.variances, self.shares, equal_volumes=self.equal_volumes)

    @cached_property
    def precisions(self) -> Tensor:
        """The derivatives of the value in v, (..., K, d)."""
        return self.weights[..., None] / self.variances

    @cached_property
    def value(self) -> Tensor:
        """What the axes are to minimise, (...)."""
        logs = self.variances.log()
        if self.equal_volumes:
            return (self.shares.log() + logs.mean(-1)).logsumexp(-1) * logs.shape[-1]
        return (self.shares * logs.sum(-1)).sum(-1)

    @cached_property
    def products(self) -> Tensor:
        """The entries of T for each pair of axes, (..., K, p)."""
        first, second = pairs_of(self.axes.shape[-1], self.axes.device)
        return self.turned[..., first, second]

    @cached_property
    def slope(self) -> Tensor:
        """The derivatives in the angles, (..., p)."""
        return 2 * (_gaps(self.precisions) * self.products).sum(-2)

    @cached_property
    def steepness(self) -> Tensor:
        """The largest slope, (...), in units of the root of the curvature in one angle where that is large.

        Where it is, so is the rounding in slopes, and smaller angles matter.
        """
        steep = (_gaps(self.precisions) * _gaps(self.variances)).sum(-2).abs() / 2
        return (self.slope.abs() / 2 / steep.clamp(min=1).sqrt()).amax(-1)

    def improves(self, before: Orientation) -> Tensor:
        """Return where the value is lower, or where only rounding is left of that, the slope much smaller, (...)."""
        largest = before.variances.amax(-1, keepdim=True)
        rounding = ROUNDING * (before.precisions * largest).sum((-2, -1))
        is_level = self.value <= before.value + rounding
        return (self.value < before.value - rounding) | (is_level & (self.steepness < FLATTER * before.steepness))

    @property
    def downhill(self) -> Tensor:
        """The angles (..., p) of Newton's step, upwards turned downwards by the absolute values of curvatures.

        Source: Nocedal & Wright 2006, Numerical Optimization, 3.4.
        """
        curvature = self.curvature
        scale = curvature.diagonal(dim1=-2, dim2=-1).abs().clamp(min=1).rsqrt()
        values, directions = torch.linalg.eigh((scale[..., :, None] * curvature * scale[..., None, :]).nan_to_num())
        slopes = directions.mT @ (scale * self.slope)[..., None]
        angles = -scale * (directions @ (slopes / (values.abs() + STIFF)[..., None]))[..., 0]
        return angles * (LONGEST / angles.abs().amax(-1, keepdim=True).clamp(min=LONGEST))

    def turned_by(self, angles: Tensor) -> Orientation:
        """Return the likelihood where all pairs of axes are turned at once, by angles (..., p)."""
        first, second = pairs_of(self.axes.shape[-1], self.axes.device)
        turn = torch.zeros_like(self.axes)
        turn[..., first, second] = angles
        return self.at(self.axes @ torch.linalg.matrix_exp(turn - turn.mT))

    @property
    def curvature(self) -> Tensor:
        """The second derivatives in the angles, (..., p, p).

        With W they are those of v, times its precisions, and those of the value in v. To second order T becomes
        T + C + [C, W] / 2, with the commutator C = [T, W].
        """
        d, device = self.axes.shape[-1], self.axes.device
        first, second = pairs_of(d, device)
        eye = torch.eye(d, dtype=self.axes.dtype, device=device)
        sums = (self.precisions.mT @ self.turned.flatten(-2)).unflatten(-1, (d, d))  # (..., d, d, d)
        left = sums[..., second, first, :] - sums[..., first, first, :]  # (..., p, d)
        right = sums[..., second, second, :] - sums[..., first, second, :]
        turns = left[..., :, None] * eye[second][:, None, :] - eye[first][:, :, None] * right[..., None, :]
        half = (turns - turns.mT)[..., first, second]  # (..., p, p)
        roots = self.weights.sqrt()[..., None]  # (..., K, 1)
        changes = 2 * self.products[..., None, :] * (eye[second] - eye[first]).T / self.variances[..., None]  # of log v
        bends = (roots[..., None] * changes).flatten(-3, -2)  # (..., K d, p)
        result = half + half.mT - bends.mT @ bends
        if self.equal_volumes:
            volumes = roots * changes.sum(-2)  # of l, (..., K, p)
            result += (volumes.mT @ volumes - self.slope[..., :, None] * self.slope[..., None, :]) / d
        return result


def weights_of(variances: Tensor, shares: Tensor, *, equal_volumes: bool) -> Tensor:
    """Return the weights (..., K) of components whose variances along axes in common are (..., K, d).

    Over these variances they are the precisions that are the most likely, times the shares of the rows.
    """
    return (shares.log() + variances.log().mean(-1)).softmax(-1) if equal_volumes else shares


def not_flat(variances: Tensor) -> Tensor:
    """Return variances (..., K, d) of which none is 0."""
    return torch.maximum(variances, THINNEST * variances.amax((-2, -1), keepdim=True))


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def pairs_of(n_features: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the first and the second axis of each pair, (p,)."""
    first, second = torch.triu_indices(n_features, n_features, 1, device=device)
    return first, second


def _gaps(values: Tensor) -> Tensor:
    """Return by how much values (..., d) are greater along the second axis of each pair, (..., p)."""
    first, second = pairs_of(values.shape[-1], values.device)
    return values[..., second] - values[..., first]
