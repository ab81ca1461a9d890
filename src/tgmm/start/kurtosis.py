"""Directions in which rows fall apart, whatever their scale there: those of least kurtosis."""

from __future__ import annotations

import torch
from torch import Tensor

TRIED = 3  # beginnings for each direction
STEPS, SETTLED = 25, 1e-6  # of the fixed point
NOTHING = 1e-3  # length of what is left of a beginning that other directions have used up


def least_kurtosis(rows: Tensor, weights: Tensor, n_directions: int) -> Tensor:
    """Return orthogonal directions (d, q) in which whitened rows (m, d) have the least kurtosis, least first.

    Clusters side by side make the kurtosis of a direction low, however little of the variance it has (Peña & Prieto
    2001, JASA 96). The eigenvectors of E[|z|^2 z z'] (Cardoso 1989, ICASSP) are refined by the fixed point
    u <- 3 u - E[z (u'z)^3] of Hyvärinen & Oja 1997 (Neural Computation 9).
    """
    n_features = rows.shape[1]
    n_directions = min(n_directions, n_features)
    shares = weights / weights.sum()  # (m,)
    fourth = (rows * (rows.square().sum(1) * shares)[:, None]).T @ rows
    axes = torch.linalg.eigh(fourth)[1]  # (d, d)
    rest = torch.eye(n_features, dtype=rows.dtype)  # projects on what is orthogonal to those found
    found: list[Tensor] = []
    for k in range(n_directions):
        first = k if n_features > n_directions else 0
        tried = [(first + j) % n_features for j in range(min(TRIED, n_features))]
        beginnings = rest @ axes[:, tried]
        lengths = beginnings.norm(dim=0)
        if not (lengths > NOTHING).any():
            beginnings, lengths = rest @ axes, (rest @ axes).norm(dim=0)
        usable = lengths > NOTHING
        directions = _fixed_points(rows, shares, rest, beginnings[:, usable] / lengths[usable])
        kurtosis = shares @ (rows @ directions).square().square()
        found.append(directions[:, kurtosis.argmin()])
        rest = rest - torch.outer(found[-1], found[-1])
    return torch.stack(found, 1)


def _fixed_points(rows: Tensor, shares: Tensor, rest: Tensor, directions: Tensor) -> Tensor:
    """Return the directions (d, t) to which the fixed point leads from these."""
    for _ in range(STEPS):
        cubes = (rows @ directions) ** 3  # (m, t)
        following = rest @ (3 * directions - rows.T @ (shares[:, None] * cubes))
        lengths = following.norm(dim=0)
        following = torch.where(lengths > torch.finfo(rows.dtype).eps, following / lengths, directions)
        turned = 1 - (following * directions).sum(0).abs().amin()
        directions = following
        if turned < SETTLED:
            break
    return directions
