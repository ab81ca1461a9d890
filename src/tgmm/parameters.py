"""The parameters of a mixture."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Parameters:
    """Weights, means and covariances of a mixture of K Gaussians in d dimensions.

    ``covariances`` has a leading dimension B: K, or 1 where all components share one covariance.
    Its other dimensions belong to the covariance structure.
    """

    weights: Tensor  # (K,)
    means: Tensor  # (K, d)
    covariances: Tensor  # (B, ...)
