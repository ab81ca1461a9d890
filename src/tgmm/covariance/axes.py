"""The axes that the covariances of several components have in common: Newton's method, and rotations of pairs of them.

Sources: Flury & Gautschi 1986 (SIAM Journal on Scientific and Statistical Computing 7) for rotations of pairs; Browne &
McNicholas 2014 (Statistics and Computing 24) for the structures EVE and VVE. Given the variances along the axes, the
best angle of a pair has a closed form, so that the likelihood rises with every rotation; and pairs that have no axis in
common do not concern each other, so that d / 2 of them are turned at once (Golub & Van Loan, Matrix Computations, 8.5).
But variances and angles follow each other slowly where components have different axes, by thousands of rotations, where
Newton's method takes a few steps. Rotations serve where there are too many pairs of features for it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from tgmm.covariance.orientation import Orientation, not_flat, weights_of

# Derivatives in an angle, per row, at which the axes are found: what is left to gain is their square. The next
# iteration goes on from previous axes, so that less will do for these, and fewer steps: hundreds are of components
# that have collapsed, whose likelihood has no limit.
LEVEL, LEVEL_OF_PREVIOUS = 1e-12, 1e-10
STEPS, STEPS_OF_PREVIOUS = 1000, 50
SOON, FEW = 32, 2  # steps after which only the best searches go on, and how many these are: sooner, others may yet win
NEWTON = 32  # features up to which Newton's method is used, whose steps take some d^6 operations
NUMBERS = 1 << 20  # of second derivatives that are worked on at a time, but for small factors
SHORTER, SHORTENED = 0.25, 12  # by which a step that does not lower the value is shortened, and how often


def common_axes(matrices: Tensor, counts: Tensor, near: Tensor | None = None, *, equal_volumes: bool) -> Tensor:
    """Return axes, the columns of orthogonal matrices (..., d, d), that maximise the likelihood, at least locally.

    They minimise the sum over k and j of n_k (log s_kj + v_kj / s_kj), with v_k the diagonal of D' S_k D and s the
    most likely variances that the structure allows.

    Parameters
    ----------
    matrices : Tensor of shape (..., K, d, d)
        S, mean squares of each component.
    counts : Tensor of shape (..., K)
        n, the numbers of rows.
    near : Tensor of shape (..., K, d, d), optional
        Covariances with axes in common, where the search starts; else it starts from several axes, and the best count.
    equal_volumes : bool
        Whether the variances of each component have the same product.
    """
    shares = counts / counts.sum(-1, keepdim=True)
    if near is not None:
        return _found(_axes_of(near), matrices, shares, equal_volumes, LEVEL_OF_PREVIOUS, STEPS_OF_PREVIOUS)[0]
    axes = _first_axes(matrices, counts)  # (..., K + 1, d, d)
    problem = (matrices[..., None, :, :, :], shares[..., None, :], equal_volumes, LEVEL)
    for n_steps, n_best in ((SOON, FEW), (STEPS, 1)):
        axes, values = _found(axes, *problem, n_steps)
        best = values.argsort(-1)[..., :n_best, None, None].expand(*values.shape[:-1], -1, *axes.shape[-2:])
        axes = axes.gather(-3, best)
    return axes[..., 0, :, :]


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


def _found(
    axes: Tensor, matrices: Tensor, shares: Tensor, equal_volumes: bool, level: float, n_steps: int
) -> tuple[Tensor, Tensor]:
    """Return the axes (..., d, d) to which searches of some steps from such axes lead, and their values (...)."""
    batch, (n_components, d) = axes.shape[:-2], matrices.shape[-3:-1]
    matrices, shares = matrices.expand(*batch, n_components, d, d), shares.expand(*batch, n_components)
    flat = axes.reshape(-1, d, d), matrices.reshape(-1, n_components, d, d), shares.reshape(-1, n_components)
    start = Orientation(*flat, equal_volumes)
    parts = torch.arange(len(start.axes), device=axes.device).split(max(1, NUMBERS // d**4))
    found = [_descended(start.of_some(part), level, n_steps) for part in parts]
    axes, values = torch.cat([each.axes for each in found]), torch.cat([each.value for each in found])
    return axes.reshape(*batch, d, d), values.reshape(batch)


def _descended(place: Orientation, level: float, n_steps: int) -> Orientation:
    """Return where steps lead that all lower the value, until nothing is steeper than the level."""
    n_features = place.axes.shape[-1]
    if n_features == 1:
        return place
    step = _stepped if n_features <= NEWTON else _swept
    axes, going = place.axes.clone(), (place.steepness > level).nonzero().flatten()
    here = place.of_some(going)
    for _ in range(n_steps):
        if not len(going):
            break
        found, improves = step(here)
        better = improves.nonzero().flatten()
        going, here = going[better], found.of_some(better)
        axes[going] = here.axes
        steep = (here.steepness > level).nonzero().flatten()
        going, here = going[steep], here.of_some(steep)
    return place.at(axes)


def _stepped(place: Orientation) -> tuple[Orientation, Tensor]:
    """Return the place after a step downhill, shortened until it lowers the value, and where it does, (...)."""
    angles = place.downhill
    found = place.turned_by(angles)
    improves = found.improves(place)
    for _ in range(SHORTENED):
        if improves.all():
            break
        angles = torch.where(improves[..., None], angles, SHORTER * angles)
        found = place.turned_by(angles)
        improves = found.improves(place)
    return found, improves


def _swept(place: Orientation) -> tuple[Orientation, Tensor]:
    """Return the place after a round of all pairs of axes, each turned by its best angle, and where it is lower."""
    axes, turned = place.axes, place.turned
    half, n_rounds, order = _tournament(axes.shape[-1], axes.device)
    for _ in range(n_rounds):
        cosine, sine = _best_turn(turned, place, half)
        axes = _turned(axes, cosine[..., None, :], sine[..., None, :]).index_select(-1, order)
        cosine, sine = cosine[..., None, None, :], sine[..., None, None, :]
        turned = _turned(turned, cosine, sine).index_select(-1, order)
        turned = _turned(turned.mT, cosine, sine).index_select(-1, order)
    found = place.at(axes)
    return found, found.improves(place)


def _best_turn(turned: Tensor, place: Orientation, half: int) -> tuple[Tensor, Tensor]:
    """Return cosines and sines (..., h) of the best angles of pairs of axes.

    The pairs are 0 and h, 1 and h + 1 and so on. As a function of an angle t, with p_k the precisions along the two
    axes and S_k in their coordinates, the objective is a cos(2 t) + b sin(2 t), a = sum_k (p_k1 - p_k2) (S_k11 -
    S_k22) / 2 and b = sum_k (p_k1 - p_k2) S_k12.
    """
    variances = turned.diagonal(dim1=-2, dim2=-1)  # (..., K, d)
    positive = not_flat(variances)
    precisions = weights_of(positive, place.shares, equal_volumes=place.equal_volumes)[..., None] / positive
    gap = precisions[..., :half] - precisions[..., half : 2 * half]  # (..., K, h)
    products = turned[..., :half, half : 2 * half].diagonal(dim1=-2, dim2=-1)
    even = (gap * (variances[..., :half] - variances[..., half : 2 * half])).sum(-2) / 2
    odd = (gap * products).sum(-2)
    angle = torch.atan2(-odd, -even) / 2
    return angle.cos(), angle.sin()


def _turned(matrices: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Return matrices with pairs of their columns turned by angles."""
    half = cosine.shape[-1]
    first, second, rest = matrices.split([half, half, matrices.shape[-1] - 2 * half], -1)
    return torch.cat([cosine * first + sine * second, cosine * second - sine * first, rest], -1)


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
