"""Which of several values is the largest."""

from __future__ import annotations

import torch
from torch import Tensor


def mark_largest(scores: Tensor) -> None:
    """Overwrite scores (..., K, c) by 1 for the first of the largest of each column, else 0: all 0 where any is NaN."""
    torch.eq(scores, scores.amax(-2, keepdim=True), out=scores)
    if (scores.sum(-2) > 1).any():  # some are equal
        scores.mul_(scores.cumsum(-2) == 1)
