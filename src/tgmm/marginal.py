"""The distribution of some of the features alone."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.placement import standalone

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture


@standalone()
def marginal(model: GaussianMixture, dims: Sequence[int]) -> GaussianMixture:
    """Return the mixture of some of the features: the others integrated out.

    Parameters
    ----------
    dims : sequence of int
        The features to keep, in the order wanted.

    Returns
    -------
    GaussianMixture
        Of the same type, in ``len(dims)`` dimensions, as if fitted.

    Raises
    ------
    ValueError
        If `dims` are not distinct features.

    Notes
    -----
    The marginals of a Gaussian are the blocks of its mean and covariance (Bishop, PRML, 2.3.2); those of a mixture keep
    its weights.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([1.0], [[0.0, 4.0]], [[1.0, 2.0]], "diag")
    >>> gmm.marginal([1]).covariances_
    tensor([[2.]], dtype=torch.float64)
    """
    check_is_fitted(model)
    parameters, structure = model._parameters, model._structure
    index = check_dims(dims, parameters.means.shape[1]).to(parameters.means.device)
    covariances = structure.to_public(structure.restrict(parameters.covariances, index))
    part = model.from_parameters(parameters.weights, parameters.means[:, index], covariances, structure.name)
    part._dtype, part.device = model._dtype, model.device
    if hasattr(model, "feature_names_in_"):
        part.feature_names_in_ = model.feature_names_in_[index.tolist()]
    return part


def check_dims(dims: Any, n_features: int) -> Tensor:
    """Return features as indices (m,), or raise a ValueError that names `dims`."""
    listed = dims.tolist() if isinstance(dims, Tensor | np.ndarray) else dims
    is_list = isinstance(listed, list | tuple | range) and len(listed) > 0
    if not is_list or not all(isinstance(i, numbers.Integral) and not isinstance(i, bool) for i in listed):
        raise ValueError(f"dims must be a sequence of feature indices, such as [0]; got {dims!r}.")
    if len(set(listed)) != len(listed) or not all(0 <= i < n_features for i in listed):
        raise ValueError(f"dims must be different features from 0 to {n_features - 1}; got {dims!r}.")
    return torch.tensor([int(i) for i in listed])
