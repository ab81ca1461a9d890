"""Rows in units in which directions can be compared: those of all rows, or those of the clusters in them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SMALLEST = 1e-10  # of the largest variance: directions below have nothing but rounding in them
ROWS = 192  # whose close pairs tell the covariance within clusters
SWEEPS, SETTLED = 12, 2e-2  # of that covariance's own iteration
RIDGE = 0.25  # of its average variance, times the number of features over that of rows


def whitened(rows: Tensor, weights: Tensor) -> Tensor:
    """Return rows (m, d) in coordinates in which their covariance is the identity, (m, r).

    Directions in which they do not vary are left out. Rows that are too few stay in the coordinates that they have.
    """
    centred = _centred(rows, weights)
    if are_few(rows):
        return centred
    values, axes = torch.linalg.eigh(_covariance(centred, weights))
    varies = values > SMALLEST * values[-1]
    return centred @ (axes[:, varies] / values[varies].sqrt())


def principal_axes(rows: Tensor, weights: Tensor, n_axes: int) -> Tensor:
    """Return the directions in which rows (m, d) vary most, (d, q)."""
    return torch.linalg.eigh(_covariance(_centred(rows, weights), weights))[1].flip(1)[:, :n_axes]


def sphered(rows: Tensor, n_components: int) -> Tensor:
    """Return rows (m, d) in coordinates in which the covariance within clusters is near a multiple of the identity.

    That covariance is estimated from the closest pairs of rows, which are close in coordinates that it makes in turn
    (Art, Gnanadesikan & Kettenring 1982, Utilitas Mathematica 21A).
    """
    if are_few(rows):
        return rows
    n_features = rows.shape[1]
    some = rows[:: -(-rows.shape[0] // ROWS)]
    n_all = some.shape[0] * (some.shape[0] - 1) // 2
    n_pairs = min(max(int(0.5 / n_components * n_all), 5 * n_features), n_all)
    identity = torch.eye(n_features, dtype=rows.dtype)
    to_sphere, before = identity, torch.full_like(identity, torch.inf)
    for _ in range(SWEEPS):
        within = _scatter_of_closest(some, some @ to_sphere, n_pairs)
        size = within.trace() / n_features
        if not size > SMALLEST * n_pairs * some.var(0).mean():  # so many rows are alike
            break
        within = within / size + RIDGE * n_features / ROWS * identity
        values, axes = torch.linalg.eigh(within)
        to_sphere = (axes / values.sqrt()) @ axes.T  # turns no axis
        if float((within - before).norm()) < SETTLED * n_features**0.5:  # in whatever axes
            break
        before = within
    return rows @ to_sphere


def _scatter_of_closest(rows: Tensor, sphered: Tensor, n_pairs: int) -> Tensor:
    """Return the sum of the outer products of gaps between rows (m, d), of so many pairs that are closest if sphered.

    It is X' L X, with L the Laplacian of the graph of these pairs.
    """
    distances = torch.cdist(sphered, sphered)  # (m, m)
    place = rows.shape[0] + 2 * n_pairs - 1  # each row is closest to itself, and each pair there twice
    longest = np.partition(distances.numpy().ravel(), place)[place]  # in a fifth of the time that torch takes
    close = (distances <= longest).to(rows.dtype)
    return rows.T @ (close.sum(1)[:, None] * rows - close @ rows)


def are_few(rows: Tensor) -> bool:
    """Whether rows are no more than d + 1: whatever they are, all could be as far from each other."""
    return rows.shape[0] <= rows.shape[1] + 1


def _centred(rows: Tensor, weights: Tensor) -> Tensor:
    return rows - weights @ rows / weights.sum()


def _covariance(centred: Tensor, weights: Tensor) -> Tensor:
    return (centred * weights[:, None]).T @ centred / weights.sum()
