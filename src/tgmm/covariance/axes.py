"""The axes that the covariances of several components have in common, by rotations of pairs of them.

Sources: Flury & Gautschi 1986 (SIAM Journal on Scientific and Statistical Computing 7) for rotations of pairs; Browne &
McNicholas 2014 (Statistics and Computing 24) for the structures EVE and VVE. Given the variances along the axes, the
best angle of a pair has a closed form, so that the likelihood rises with every rotation; and pairs that have no axis in
common do not concern each other, so that d / 2 of them are turned at once (Golub & Van Loan, Matrix Computations, 8.5).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

# Derivatives in an angle, per row, at which rotations have ended: what is left to gain is their square. The next
# iteration goes on from previous axes, so that less will do for these.
LEVEL, LEVEL_OF_PREVIOUS = 1e-12, 1e-10
ROUNDING = 1e-15  # of an angle
SWEEPS = 1000
THINNEST = 1e-15  # variance along an axis, relative to the largest, below which there is nothing but rounding

Rule = Callable[
    [Tensor, Tensor], Tensor
]  # from variances (..., K, d) and counts (..., K) to the likeliest ones allowed


def common_axes(matrices: Tensor, counts: Tensor, rule: Rule, near: Tensor | None = None) -> Tensor:
    """Return axes, the columns of orthogonal matrices (..., d, d), that maximise the likelihood, at least locally.

    They minimise the sum over k and j of n_k (log s_kj + v_kj / s_kj), with v_k the diagonal of D' S_k D and s the
    variances that the rule makes of these.

    Parameters
    ----------
    matrices : Tensor of shape (..., K, d, d)
        S, mean squares of each component.
    counts : Tensor of shape (..., K)
        n, the numbers of rows.
    rule : callable
        From variances (..., K, d) along axes, and counts, to the most likely ones of the structure.
    near : Tensor of shape (..., K, d, d), optional
        Covariances with axes in common, where the rotations start; else they start from several axes, and the best
        count.
    """
    if near is not None:
        return _rotated(_axes_of(near), matrices, counts, rule, LEVEL_OF_PREVIOUS)
    apart = matrices[..., None, :, :, :]  # for each of the first axes, (..., 1, K, d, d)
    axes = _rotated(_first_axes(matrices, counts), apart, counts[..., None, :], rule, LEVEL)
    variances = variances_along(axes, apart)  # (..., K + 1, K, d)
    estimates = _not_flat(rule(variances, counts[..., None, :]))
    costs = (counts[..., None, :] * (estimates.log() + variances / estimates).sum(-1)).sum(-1)  # (..., K + 1)
    best = costs.argmin(-1)[..., None, None, None].expand(*costs.shape[:-1], 1, *axes.shape[-2:])
    return axes.gather(-3, best)[..., 0, :, :]


def variances_along(axes: Tensor, matrices: Tensor) -> Tensor:
    """Return the variances (..., K, d) of matrices (..., K, d, d) along axes (..., d, d)."""
    axes = axes[..., None, :, :]
    return (axes * (matrices @ axes)).sum(-2)


def _first_axes(matrices: Tensor, counts: Tensor) -> Tensor:
    """Return the axes of all components together, and those of each, or of all again where it has no rows."""
    weights = counts[..., None, None]
    pooled = (weights * matrices).sum(-3, keepdim=True) / weights.sum(-3, keepdim=True)
    return torch.linalg.eigh(torch.cat([pooled, torch.where(weights > 0, matrices, pooled)], -3)).eigenvectors


def _axes_of(covariances: Tensor) -> Tensor:
    """Return the axes that covariances (..., K, d, d) have in common.

    A sum of these has the same axes, and with different factors no two variances along them are likely to be equal.
    """
    factors = torch.arange(1, 1 + covariances.shape[-3], dtype=covariances.dtype, device=covariances.device).rsqrt()
    return torch.linalg.eigh((factors[:, None, None] * covariances).sum(-3)).eigenvectors


def _rotated(axes: Tensor, matrices: Tensor, counts: Tensor, rule: Rule, level: float) -> Tensor:
    """Return the axes to which rotations of pairs of axes (..., d, d) lead, until nothing is steeper than the level."""
    half, n_rounds, order = _tournament(axes.shape[-1], axes.device)
    turned = axes.mT[..., None, :, :] @ matrices @ axes[..., None, :, :]
    for _ in range(SWEEPS):
        steepest = torch.zeros_like(counts[..., 0])
        for _ in range(n_rounds):
            cosine, sine, steepness = _best_turn(turned, counts, rule, half)
            axes = _turned(axes, cosine[..., None, :], sine[..., None, :]).index_select(-1, order)
            cosine, sine = cosine[..., None, None, :], sine[..., None, None, :]
            turned = _turned(turned, cosine, sine).index_select(-1, order)
            turned = _turned(turned.mT, cosine, sine).index_select(-1, order)
            steepest = torch.maximum(steepest, steepness)
        if not (steepest > level).any():
            break
    return axes


def _best_turn(turned: Tensor, counts: Tensor, rule: Rule, half: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return cosines and sines (..., h) of the best angles of pairs of axes, and how steep the objective is, (...).

    The pairs are 0 and h, 1 and h + 1 and so on. As a function of an angle t, with p_k the precisions along the two
    axes and S_k in their coordinates, the objective is a cos(2 t) + b sin(2 t), a = sum_k (p_k1 - p_k2) (S_k11 -
    S_k22) / 2 and b = sum_k (p_k1 - p_k2) S_k12. Where its curvature is large, so is the rounding in b, and smaller
    angles matter; not those that are rounding themselves.
    """
    variances = turned.diagonal(dim1=-2, dim2=-1)  # (..., K, d)
    shares = counts / counts.sum(-1, keepdim=True)
    precisions = shares[..., None] / _not_flat(rule(variances, counts))
    gap = precisions[..., :half] - precisions[..., half : 2 * half]  # (..., K, h)
    products = turned[..., :half, half : 2 * half].diagonal(dim1=-2, dim2=-1)
    even = (gap * (variances[..., :half] - variances[..., half : 2 * half])).sum(-2) / 2
    odd = (gap * products).sum(-2)
    angle = torch.atan2(-odd, -even) / 2
    steepness = torch.where(angle.abs() > ROUNDING, odd.abs() / even.abs().clamp(min=1).sqrt(), 0.0)
    return angle.cos(), angle.sin(), steepness.amax(-1)


def _turned(matrices: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return matrices with pairs of their columns turned by angles."""
    half = cosine.shape[-1]
    first, second, rest = matrices.split([half, half, matrices.shape[-1] - 2 * half], -1)
    return torch.cat([cosine * first + sine * second, cosine * second - sine * first, rest], -1)


def _not_flat(variances: Tensor) -> Tensor:
    """Return variances (..., K, d) of which none is 0."""
    return torch.maximum(variances, THINNEST * variances.amax((-2, -1), keepdim=True))


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _tournament(n_features: int, device: torch.device) -> tuple[int, int, Tensor]:
    """Return the number of pairs in a round, that of rounds in which all axes meet, and who sits where in the next.

    Seats 0 and h meet, 1 and h + 1 and so on, and of an odd number the last seat meets no one. After each round all but
    the first, or all of an odd number, move one seat on around the table.
    """
    half, is_odd = divmod(n_features, 2)
    table = [*range(1 - is_odd, half), *range(2 * half - 1, half - 1, -1), *range(2 * half, n_features)]
    order = list(range(n_features))
    for seat, before in zip(table, [table[-1], *table], strict=False):
        order[seat] = before
    return half, len(table) if half else 0, torch.tensor(order, device=device)
