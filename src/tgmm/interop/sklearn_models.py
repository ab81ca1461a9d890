"""To and from `sklearn.mixture.GaussianMixture`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.mixture
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.covariance import CovarianceStructure, structure_named

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture

# scikit-learn's names; what it lacks goes as the narrowest structure that it has.
SKLEARN_TYPES = {"tied_full": "tied", "tied_diag": "diag", "tied_spherical": "spherical"}
# Settings that mean the same in both libraries. scikit-learn's reg_covar is absolute.
SHARED_SETTINGS = ("tol", "max_iter", "n_init", "warm_start")


def to_sklearn(model: GaussianMixture) -> Any:
    """Return the mixture as a fitted `sklearn.mixture.GaussianMixture`.

    Its predictions are those of this model, its parameters NumPy arrays in float64. scikit-learn has no "tied_diag"
    and "tied_spherical": they become "diag" and "spherical" with equal covariances, so that its `aic` and `bic` count
    more parameters.

    Returns
    -------
    sklearn.mixture.GaussianMixture
        With the settings that mean the same in both libraries (`tol`, `max_iter`, `n_init`, `warm_start`, and
        `random_state` unless it is a torch generator); all others are scikit-learn's defaults.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        Before `fit`.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0], "tied_diag")
    >>> other = gmm.to_sklearn()
    >>> other.covariance_type, other.covariances_.tolist()
    ('diag', [[1.0], [1.0]])
    >>> other.predict([[0.5], [3.0]])
    array([0, 1])
    """
    check_is_fitted(model)
    n_components, n_features = model._parameters.means.shape
    name = SKLEARN_TYPES.get(model._structure.name, model._structure.name)
    other = sklearn.mixture.GaussianMixture(
        n_components,
        covariance_type=name,
        random_state=None if isinstance(model.random_state, torch.Generator) else model.random_state,
        **{setting: getattr(model, setting) for setting in SHARED_SETTINGS},
    )
    other.weights_, other.means_ = _array(model._parameters.weights), _array(model._parameters.means)
    covariances = model._structure.to_public(model._parameters.covariances.cpu())
    _set_covariances(other, covariances, structure_named(name))
    other.converged_, other.n_iter_ = model.converged_, model.n_iter_
    other.lower_bound_, other.lower_bounds_ = model.lower_bound_, model.objective_history_[1:]
    other.n_features_in_ = n_features
    if hasattr(model, "feature_names_in_"):
        other.feature_names_in_ = model.feature_names_in_
    return other


def _set_covariances(other: Any, covariances: Tensor, structure: CovarianceStructure) -> None:
    """Set the covariances of scikit-learn's model, their inverses, and the roots of these that it computes with.

    A root R of a precision matrix is upper triangular there, with R R' the precision.
    """
    n_components, n_features = other.means_.shape
    covariances = structure.from_public(covariances, n_components, n_features)  # (B, ...)
    if covariances.ndim == 3:
        identity = torch.eye(n_features, dtype=covariances.dtype)
        roots = structure.factor(covariances, n_features).whiten(identity[None])  # (B, d, d)
        precisions = roots @ roots.mT
    else:
        roots = covariances.rsqrt()
        precisions = roots.square()
    other.covariances_ = _array(structure.to_public(covariances))
    other.precisions_cholesky_ = _array(structure.to_public(roots))
    other.precisions_ = _array(structure.to_public(precisions))


def _array(tensor: Tensor) -> np.ndarray:
    """Return an array with memory of its own, and with memory for each entry where the tensor is expanded."""
    return tensor.cpu().numpy().copy()


def from_sklearn(cls: type[GaussianMixture], model: Any) -> GaussianMixture:
    """Return a fitted `sklearn.mixture.GaussianMixture` as a mixture of this library.

    Parameters
    ----------
    model : sklearn.mixture.GaussianMixture
        Fitted. Its "tied" is "tied_full" here.

    Returns
    -------
    GaussianMixture
        With the parameters, the names of the features, and the settings that mean the same in both libraries (see
        `to_sklearn`). What a fit reports about itself stays empty: scikit-learn's lower bound is that of the
        parameters before the last M-step.

    Raises
    ------
    ValueError
        For any other object. The predictions of a `BayesianGaussianMixture` are no Gaussian mixture's.
    sklearn.exceptions.NotFittedError
        Where the model has not been fitted.

    Examples
    --------
    >>> import numpy as np
    >>> import sklearn.mixture
    >>> from tgmm import GaussianMixture
    >>> X = np.concatenate([np.zeros((50, 1)), np.ones((50, 1))]) + np.linspace(-0.1, 0.1, 100)[:, None]
    >>> other = sklearn.mixture.GaussianMixture(2, covariance_type="tied", random_state=0).fit(X)
    >>> gmm = GaussianMixture.from_sklearn(other)
    >>> gmm.covariance_type
    'tied_full'
    >>> np.allclose(gmm.score_samples(X), other.score_samples(X), rtol=0, atol=1e-10)
    True
    """
    if not isinstance(model, sklearn.mixture.GaussianMixture):
        raise ValueError(f"model must be a fitted sklearn.mixture.GaussianMixture; got {model!r}.")
    check_is_fitted(model)
    name = structure_named(model.covariance_type).name
    mixture = cls.from_parameters(model.weights_, model.means_, model.covariances_, name)
    mixture.set_params(
        random_state=model.random_state, **{setting: getattr(model, setting) for setting in SHARED_SETTINGS}
    )
    if hasattr(model, "feature_names_in_"):
        mixture.feature_names_in_ = model.feature_names_in_
    return mixture
