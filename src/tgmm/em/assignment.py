"""From joint log-densities to responsibilities: soft (EM), hard (Classification EM) or given."""

from __future__ import annotations

import torch
from torch import Tensor


def soft(joint: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Overwrite joint (K, c) by the posterior probabilities; EM climbs the log-likelihood.

    A row infinitely far from every component gets responsibilities 0, not NaN.
    """
    limits = torch.finfo(joint.dtype)
    largest = joint.amax(0).clamp_(min=limits.min)  # (c,)
    total = joint.sub_(largest).exp_().sum(0).clamp_(min=limits.tiny)  # (c,)
    joint.div_(total)
    log_likelihood = total.log_().add_(largest)
    return log_likelihood, log_likelihood


def hard(joint: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Overwrite joint (K, c) by 1 for the most probable component; CEM climbs the classification likelihood.

    Source: Celeux & Govaert 1992, Computational Statistics & Data Analysis 14.
    """
    log_likelihood = joint.logsumexp(0)  # (c,)
    largest, label = joint.max(0)  # (c,)
    joint.zero_().scatter_(0, label[None], 1)
    return log_likelihood, largest


class Given:
    """Responsibilities that the user gave, (n,) labels or (n, K)."""

    def __init__(self, responsibilities: Tensor) -> None:
        self.responsibilities = responsibilities

    def __call__(self, joint: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Overwrite joint (K, c) by the given responsibilities of its rows; there is no likelihood."""
        part = self.responsibilities[first : first + joint.shape[1]].to(joint.device)
        if part.ndim == 1:
            joint.zero_().scatter_(0, part[None], 1)
        else:
            joint.copy_(part.T)
        nothing = joint.new_zeros(joint.shape[1])
        return nothing, nothing
