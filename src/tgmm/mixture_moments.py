"""Mean and covariance of a whole mixture: the laws of total expectation and of total covariance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture


def mean(model: GaussianMixture) -> Tensor:
    """Return the mean of the whole mixture, (d,).

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([0.25, 0.75], [[0.0], [4.0]], [1.0, 2.0], "spherical")
    >>> gmm.mean()
    tensor([3.], dtype=torch.float64)
    """
    check_is_fitted(model)
    parameters = model._parameters
    return total_mean(parameters.weights, parameters.means).to(model._dtype)


def covariance(model: GaussianMixture) -> Tensor:
    """Return the covariance matrix of the whole mixture, (d, d), within and between its components.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([0.25, 0.75], [[0.0], [4.0]], [1.0, 2.0], "spherical")
    >>> gmm.covariance()
    tensor([[4.7500]], dtype=torch.float64)
    """
    check_is_fitted(model)
    parameters = model._parameters
    dense = model._structure.dense(parameters.covariances, parameters.means.shape[1])
    return total_covariance(parameters.weights, parameters.means, dense).to(model._dtype)


def total_mean(weights: Tensor, means: Tensor) -> Tensor:
    """Return the means (..., d) of mixtures with weights (..., K) and means (..., K, d)."""
    return (weights[..., None, :] @ means)[..., 0, :]


def total_variance(weights: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """Return the variances of the features (..., d), of components with variances (B, d)."""
    within = weights @ variances.expand(weights.shape[-1], -1)
    return within + _spread(weights, means).square().sum(-2)


def total_covariance(weights: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
    """Return the covariance matrices (..., d, d), of components with covariance matrices (B, d, d)."""
    spread = _spread(weights, means)
    within = torch.tensordot(weights, covariances.expand(weights.shape[-1], -1, -1), dims=1)
    return within + spread.mT @ spread


def _spread(weights: Tensor, means: Tensor) -> Tensor:
    """Return the deviations of the components' means times the square roots of their weights, (..., K, d).

    The root comes before the square, so that a component of weight 0 counts for nothing wherever it lies.
    """
    return weights.sqrt()[..., None] * (means - total_mean(weights, means)[..., None, :])
