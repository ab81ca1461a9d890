"""The volumes of components that have a shape in common: Newton's method, in steps that always descend.

Matrices S_k of shares n_k of the rows are to be explained by lambda_k C. Of given volumes the best C is, but for a
factor, the sum of f_k S_k with f_k = n_k / lambda_k (Celeux & Govaert 1995, Pattern Recognition 28, 4.2). What is left
to minimise is log det C - d sum_k n_k log f_k, which is convex in u = log f as an operator's scaling is (Allen-Zhu,
Garg, Li, Oliveira & Wigderson 2018, STOC). With t_k = f_k tr(C^-1 S_k), which sum to d, its slope is t - d n, and its
curvature diag(t) - M, M_kl = f_k f_l tr(C^-1 S_k C^-1 S_l), is the Laplacian of a graph with weights M_kl.

Minimising in volumes and C in turn comes to t = d n by steps log(d n / t). These are endless where a component is
nearly flat: its slope and its curvature fade as its volume does, which Newton's method does not mind.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SMALL = 1e-6  # change of the logarithms of volumes, after which steps, whose errors are squares, have found them
ROUNDING = 1e-12  # what a step gains, in nats a row, below which it is rounding if it gains no less than the last
STEPS = 200
NOTHING = 1e-200  # in the place of parts of components that have none, so that nothing over nothing is 0

# From factors f (m, K) and what components have, (m, K, ...), to tr(C^-1 S_k), (m, K), and tr(C^-1 S_k C^-1 S_l),
# (m, K, K).
Traces = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def factors_of(squares: Tensor, counts: Tensor, volumes: Tensor, traces: Traces) -> Tensor:
    """Return the factors f (..., K), up to one that they have in common, of components of the best volumes.

    Components without rows, or without volume, have none.

    Parameters
    ----------
    squares : Tensor of shape (..., K, d, d) or (..., K, d)
        S, mean squares of each component, or their diagonals.
    counts : Tensor of shape (..., K)
        n, the numbers of rows.
    volumes : Tensor of shape (..., K)
        Where the search starts; it does not end higher.
    traces : callable
        What is made of such squares.
    """
    shape, (n_components, n_features) = volumes.shape, (volumes.shape[-1], squares.shape[-1])
    counts, volumes = counts.expand(shape).reshape(-1, n_components), volumes.reshape(-1, n_components)
    shares = torch.where(volumes > 0, counts, 0.0)
    shares = shares / shares.sum(-1, keepdim=True)
    factors = torch.where(shares > 0, shares / volumes, 0.0)  # (m, K)
    _descend(factors, squares.reshape(-1, n_components, *squares.shape[len(shape) :]), n_features * shares, traces)
    return factors.reshape(shape)


def _descend(factors: Tensor, squares: Tensor, targets: Tensor, traces: Traces) -> None:
    """Change factors (m, K) in place, of those whose parts are not yet d n (m, K), until they all are."""
    going = torch.arange(len(factors), device=factors.device)
    gained = torch.full_like(factors[:, 0], torch.inf)
    for _ in range(STEPS):
        here = factors[going]
        own, pairs = traces(here, squares)
        step, gain, length = _step(here * own, here[..., :, None] * here[..., None, :] * pairs, targets)
        factors[going] = here * step.exp()
        on = (length > SMALL) & ((gain > ROUNDING) | (gain < gained))
        if not on.any():
            break
        gained = gain
        if not on.all():
            going, squares, targets, gained = going[on], squares[on], targets[on], gain[on]


def _step(parts: Tensor, pairs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the changes of logarithms of factors (m, K), the gain foreseen of Newton's step, and its length, (m,).

    Along a step whose largest and smallest changes differ by r, each M_kl grows by exp(2 r) at most, and so does the
    curvature: log(1 + 2 r) / (2 r) of the step descends whatever r is (with such a bound, as Cohen, Madry, Tsipras &
    Vladu 2017, FOCS, have it for the scaling of matrices). Where rounding leaves no slope, volumes and C in turn do.
    """
    n_features, roots = parts.sum(-1)[..., None, None], parts.clamp(min=NOTHING).sqrt()
    scale = roots[..., :, None] * roots[..., None, :]
    eye = torch.eye(parts.shape[-1], dtype=parts.dtype, device=parts.device)
    slope = (targets - parts) * (targets > 0)
    # Factors have one in common, which does not matter: the last summand takes it to stay.
    solved = torch.linalg.solve_ex(eye - pairs / scale + scale / n_features, (slope / roots)[..., None]).result
    step = solved[..., 0] / roots
    gain = (slope * step).sum(-1)
    length = step.amax(-1) - step.amin(-1)
    step = step * (torch.log1p(2 * length) / (2 * length).clamp(min=NOTHING))[..., None]
    in_turn = torch.where(targets > 0, targets / parts.clamp(min=NOTHING), 1.0).log()
    return torch.where(((gain > 0) & gain.isfinite())[..., None], step, in_turn), gain, length


def of_matrices(factors: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the traces of matrices (m, K, d, d) over their common one."""
    precision = torch.linalg.inv_ex(common_matrix(factors, matrices)).inverse
    over = precision[..., None, :, :] @ matrices
    return over.diagonal(dim1=-2, dim2=-1).sum(-1), over.flatten(-2) @ over.mT.flatten(-2).mT


def of_diagonals(factors: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Return the traces of diagonal matrices, variances (m, K, d), over their common one."""
    common = (factors[..., None] * variances).sum(-2, keepdim=True)
    over = torch.where(common > 0, variances / common, 0.0)
    return over.sum(-1), over @ over.mT


def common_matrix(factors: Tensor, matrices: Tensor) -> Tensor:
    """Return the sum over k of factors (..., K) times matrices (..., K, d, d), (..., d, d)."""
    return (factors[..., None, :] @ matrices.flatten(-2)).unflatten(-1, matrices.shape[-2:])[..., 0, :, :]
