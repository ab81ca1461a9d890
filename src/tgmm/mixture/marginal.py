"""The distribution of some of the features alone; mean and covariance of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from tgmm.data.columns import Columns
from tgmm.mixture.base import BaseMixture, own_array
from tgmm.model.parameters import Parameters
from tgmm.runtime.devices import standalone

M = TypeVar("M", bound=BaseMixture)


@standalone()
def marginal(mixture: M, dims: Sequence[int | str]) -> M:
    """Return the mixture of some of the features, with the others integrated out.

    Parameters
    ----------
    dims : sequence of int or str
        The features to keep, by number or name, in the order that you want.

    Returns
    -------
    Mixture or GaussianMixture
        A model of the same class, with ``len(dims)`` features. It has the same covariance type if a part of the
        features can have that type, and otherwise "diag" or "full".

    Raises
    ------
    ValueError
        If `dims` are not different features.

    Notes
    -----
    The marginals of a Gaussian are the blocks of its mean and covariance (Bishop, PRML, 2.3.2); those of a mixture keep
    its weights.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([1.0], [[0.0, 4.0]], [[1.0, 2.0]], "diag")
    >>> mixture.marginal([1]).covariances
    array([[2.]])
    """
    parameters = mixture.parameters
    index = check_dims(dims, mixture.columns).to(parameters.means.device)
    structure, covariances = mixture.structure.marginal(parameters.covariances, index)
    part = Parameters(parameters.weights, parameters.means[:, index], covariances)
    return mixture.changed(parameters=part, structure=structure, columns=mixture.columns.take(index.tolist()))


def check_dims(dims: Any, columns: Columns) -> Tensor:
    """Return features, given by number or name, as indices (m,), or raise a ValueError that names `dims`."""
    return torch.tensor(columns.indices(dims, "dims"))


def mean(mixture: BaseMixture) -> Any:
    """Return the mean of the whole mixture.

    Returns
    -------
    array or Tensor of shape (d,)
        In the units of the data.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.25, 0.75], [[0.0], [4.0]], [1.0, 2.0], "spherical")
    >>> mixture.mean()
    array([3.])
    """
    return own_array(mixture, total_mean(mixture.parameters.weights, mixture.parameters.means))


def covariance(mixture: BaseMixture) -> Any:
    """Return the covariance matrix of the whole mixture: the covariance within components, and that between means.

    Returns
    -------
    array or Tensor of shape (d, d)
        In squared units of the data.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.25, 0.75], [[0.0], [4.0]], [1.0, 2.0], "spherical")
    >>> mixture.covariance()
    array([[4.75]])
    """
    parameters = mixture.parameters
    return own_array(mixture, total_covariance(parameters.weights, parameters.means, parameters.covariances.dense))


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
