"""The axes that the covariances of several components have in common, by rotations of pairs of them.

Sources: Flury & Gautschi 1986 (SIAM Journal on Scientific and Statistical Computing 7) for rotations of pairs;
Browne & McNicholas 2014 (Statistics and Computing 24) for the structures EVE and VVE. Given the variances along the axes,
the best angle of a pair has a closed form, so that the likelihood rises with every rotation; and pairs that have no axis
in common do not concern each other, so that d / 2 of them are turned at once (Golub & Van Loan, Matrix Computations, 8.5).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

LEVEL = 1e-9  # derivative in an angle, per row, at which the rotations have ended
SWEEPS = 1000
THINNEST = 1e-30  # variance along an axis, relative to the largest, below which there is no thinner

Rule = Callable[[Tensor, Tensor], Tensor]


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
        Covariances with axes in common, from which the rotations start.
    """
    axes = _first_axes(matrices, counts, rule) if near is None else _axes_of(near)
    turned = axes.mT[..., None, :, :] @ matrices @ axes[..., None, :, :]
    level = LEVEL * counts.sum(-1, keepdim=True)
    for _ in range(SWEEPS):
        steepest = torch.zeros_like(level)
        for first, second in _rounds(matrices.shape[-1]):
            cosine, sine, slope = _turn(turned, counts, rule, first, second)
            turned = _turned(turned, first, second, cosine[..., None, None, :], sine[..., None, None, :])
            turned = _turned(turned.mT, first, second, cosine[..., None, None, :], sine[..., None, None, :])
            axes = _turned(axes, first, second, cosine[..., None, :], sine[..., None, :])
            steepest = torch.maximum(steepest, slope.abs().amax(-1, keepdim=True))
        if not (steepest > level).any():
            break
    return axes


def variances_along(axes: Tensor, matrices: Tensor) -> Tensor:
    """Return the variances (..., K, d) of matrices (..., K, d, d) along axes (..., d, d)."""
    axes = axes[..., None, :, :]
    return (axes * (matrices @ axes)).sum(-2)


def _first_axes(matrices: Tensor, counts: Tensor, rule: Rule) -> Tensor:
    """Return the axes of all components together, or those of one of them, whichever are most likely to be of all."""
    pooled = (counts[..., None, None] * matrices).sum(-3, keepdim=True) / counts.sum(-1)[..., None, None, None]
    axes = torch.linalg.eigh(torch.cat([pooled, matrices], -3)).eigenvectors  # (..., K + 1, d, d)
    variances = variances_along(axes, matrices[..., None, :, :, :])  # (..., K + 1, K, d)
    estimates = _not_flat(rule(variances, counts[..., None, :]))
    costs = (counts[..., None, :] * (estimates.log() + variances / estimates).sum(-1)).sum(-1)  # (..., K + 1)
    best = costs.argmin(-1)[..., None, None, None].expand(*costs.shape[:-1], 1, *axes.shape[-2:])
    return axes.gather(-3, best)[..., 0, :, :]


def _axes_of(covariances: Tensor) -> Tensor:
    """Return the axes that covariances (..., K, d, d) have in common.

    A sum of these has the same axes, and with different factors no two variances along them are likely to be equal.
    """
    factors = torch.arange(1, 1 + covariances.shape[-3], dtype=covariances.dtype, device=covariances.device).rsqrt()
    return torch.linalg.eigh((factors[:, None, None] * covariances).sum(-3)).eigenvectors


def _turn(turned: Tensor, counts: Tensor, rule: Rule, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return cosines and sines (..., h) of the best angles of pairs of axes, and half the derivative at angle 0.

    As a function of an angle t, with p_k the precisions along the two axes and S_k in their coordinates, the objective is
    a cos(2 t) + b sin(2 t), a = sum_k (p_k1 - p_k2) (S_k11 - S_k22) / 2 and b = sum_k (p_k1 - p_k2) S_k12.
    """
    variances = turned.diagonal(dim1=-2, dim2=-1)  # (..., K, d)
    precisions = counts[..., None] / _not_flat(rule(variances, counts))
    gap = precisions[..., first] - precisions[..., second]  # (..., K, h)
    even = (gap * (variances[..., first] - variances[..., second])).sum(-2) / 2
    slope = (gap * turned[..., first, second]).sum(-2)
    angle = torch.atan2(-slope, -even) / 2
    return angle.cos(), angle.sin(), slope


def _turned(matrices: Tensor, first: Tensor, second: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return matrices with pairs of their columns turned by angles."""
    one, other = matrices[..., first], matrices[..., second]
    turned = matrices.clone()
    turned[..., first] = cosine * one + sine * other
    turned[..., second] = cosine * other - sine * one
    return turned


def _not_flat(variances: Tensor) -> Tensor:
    """Return variances (..., K, d) of which none is 0."""
    return torch.maximum(variances, THINNEST * variances.amax((-2, -1), keepdim=True))


@lru_cache(maxsize=16)
def _rounds(n_features: int) -> list[tuple[Tensor, Tensor]]:
    """Return all pairs of axes in rounds in which each is in one pair at most, as a tournament's."""
    players = list(range(n_features + n_features % 2))
    rounds = []
    for _ in range(len(players) - 1 if n_features > 1 else 0):
        half = len(players) // 2
        pairs = zip(players[:half], reversed(players[half:]), strict=True)
        pairs = [(min(pair), max(pair)) for pair in pairs if max(pair) < n_features]
        rounds.append(tuple(torch.tensor(pairs).T))
        players = [players[0], players[-1], *players[1:-1]]
    return rounds
