"""The likelihood of special rows, written for reading: rows that lack values, labels, noise; and its gradient.

Nothing here imports the library.
"""

import numpy as np
import torch
from naive_em import as_matrices
from structures import SPECS


def log_likelihood(X, weights, means, matrices, *, noise_sides=None, labels=None, sample_weight=None):
    """The total log-likelihood of what is observed, in torch; weights leave those of noise.

    ``noise_sides`` (d,) are the sides of the box of the noise. ``labels`` are components (n,), -1 where unknown, or
    multiples of the weights (n, K).
    """
    total = torch.zeros((), dtype=torch.float64)
    for i, row in enumerate(torch.as_tensor(np.asarray(X, dtype=np.float64))):
        there = ~torch.isnan(row)
        terms = []
        for k in range(len(means)):
            multiple = 1.0
            if labels is not None:
                multiple = labels[i, k] if labels.ndim == 2 else float(labels[i] in (-1, k))
            if multiple > 0:
                terms.append(
                    np.log(multiple)
                    + weights[k].log()
                    + log_normal(row[there], means[k][there], matrices[k][there][:, there])
                )
        is_labelled = labels is not None and labels.ndim == 1 and labels[i] >= 0
        if noise_sides is not None and not is_labelled:
            terms.append((1 - weights.sum()).log() - torch.as_tensor(noise_sides)[there].log().sum())
        own = 1.0 if sample_weight is None else float(sample_weight[i])
        total = total + own * torch.logsumexp(torch.stack(terms), 0)
    return total


def log_normal(row, mean, covariance):
    """The log-density of a row, which may have no value at all."""
    if not len(row):
        return torch.zeros((), dtype=torch.float64)
    gap = row - mean
    return -0.5 * (gap @ torch.linalg.solve(covariance, gap) + torch.logdet(covariance) + len(row) * np.log(2 * np.pi))


def gradient(X, weights, means, covariances, structure, fixed=(), **rows):
    """The gradient in the free parameters, in coordinates that nothing restricts, as a dict of arrays.

    ``fixed`` is a dict of masks (K,) by name.
    """
    fixed = dict(fixed)
    weights, means = torch.as_tensor(weights), torch.as_tensor(means)
    n_components, n_features = means.shape
    matrices = torch.as_tensor(as_matrices(covariances, structure, n_components, n_features))
    free = {
        name: torch.as_tensor(~np.asarray(fixed.get(name, np.zeros(n_components, bool))))
        for name in ("weights", "means")
    }
    has_noise = rows.get("noise_sides") is not None
    shares = torch.cat([weights[free["weights"]], (1 - weights.sum())[None]]) if has_noise else weights[free["weights"]]
    logits = shares.log().clone().requires_grad_()
    moves = torch.zeros_like(means).requires_grad_()
    theta = torch.zeros(SPECS[structure].n_free(n_components, n_features), dtype=torch.float64, requires_grad=True)
    part = weights.clone()
    if len(logits):
        part = part.masked_scatter(free["weights"], logits.softmax(0)[: int(free["weights"].sum())] * shares.sum())
    scale = matrices.diagonal(dim1=1, dim2=2).sqrt()
    moved = SPECS[structure].moved(matrices, theta)
    if "covariances" in fixed:
        held = torch.as_tensor(np.asarray(fixed["covariances"]))[:, None, None]
        moved = torch.where(held, matrices, moved)
    value = log_likelihood(X, part, means + moves * scale * free["means"][:, None], moved, **rows)
    found = torch.autograd.grad(value, [logits, moves, theta], allow_unused=True)
    return {
        name: np.zeros(1) if g is None else g.numpy()
        for name, g in zip(("weights", "means", "covariances"), found, strict=True)
    }
