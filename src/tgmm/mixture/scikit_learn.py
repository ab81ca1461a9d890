"""To and from `sklearn.mixture.GaussianMixture`."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.covariance import Covariances, Structure, structure_named
from tgmm.data.columns import Columns
from tgmm.mixture.base import BaseMixture, check_parameters

M = TypeVar("M", bound=BaseMixture)

# scikit-learn's names where they are others than ours; of structures that it lacks it gets the form alone.
SKLEARN_NAMES = {"full": "full", "diag": "diag", "spherical": "spherical", "tied_full": "tied"}


def to_sklearn(mixture: BaseMixture) -> Any:
    """Return the mixture as a fitted `sklearn.mixture.GaussianMixture`.

    It makes the same predictions; its parameters are NumPy arrays in float64. A covariance type that scikit-learn
    lacks, such as "tied_diag", becomes the narrowest type that contains it, so `aic` and `bic` there count more
    parameters.

    Returns
    -------
    sklearn.mixture.GaussianMixture
        A fitted model with scikit-learn's defaults for all settings.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0], "tied_diag")
    >>> other = mixture.to_sklearn()
    >>> other.covariance_type, other.covariances_.tolist()
    ('diag', [[1.0], [1.0]])
    >>> other.predict([[0.5], [3.0]])
    array([0, 1])
    """
    from sklearn.mixture import GaussianMixture

    parameters, structure = mixture.parameters.to(torch.device("cpu")), mixture.structure
    name = structure.name if structure.name in SKLEARN_NAMES else structure.form.form
    other = GaussianMixture(mixture.n_components, covariance_type=SKLEARN_NAMES[name])
    other.weights_, other.means_ = _array(parameters.weights), _array(parameters.means)
    _set_covariances(other, parameters.covariances, structure_named(name))
    other.converged_, other.n_iter_, other.lower_bound_, other.lower_bounds_ = True, 0, float("nan"), []
    other.n_features_in_ = mixture.n_features
    if mixture.feature_names is not None:
        other.feature_names_in_ = mixture.feature_names
    return other


def _set_covariances(other: Any, covariances: Covariances, structure: Structure) -> None:
    """Set the covariances of scikit-learn's model, their inverses, and the roots of these that it computes with.

    A root R of a precision matrix is upper triangular there, with R R' the precision.
    """
    n_components, n_features = other.means_.shape
    wide = structure.from_public(covariances.public, n_components, n_features)
    values, one = wide.values, wide.shape_of_one(n_features)
    if len(one) == 2:
        identity = torch.eye(n_features, dtype=values.dtype)
        roots = wide.factor.whiten(identity[None])  # (B, d, d)
        precisions = roots @ roots.mT
    else:
        roots = values.rsqrt()
        precisions = roots.square()
    for attribute, numbers in (
        ("covariances_", values),
        ("precisions_cholesky_", roots),
        ("precisions_", precisions),
    ):
        setattr(other, attribute, _array(numbers[0] if structure.shared else numbers))


def _array(tensor: Tensor) -> np.ndarray:
    """Return an array with memory of its own, and with memory for each entry where the tensor is expanded."""
    return tensor.cpu().numpy().copy()


def from_sklearn(cls: type[M], model: Any) -> M:
    """Return a fitted `sklearn.mixture.GaussianMixture` as a mixture of this library.

    Parameters
    ----------
    model : sklearn.mixture.GaussianMixture
        A fitted model. Its covariance type "tied" is called "tied_full" here.

    Returns
    -------
    Mixture
        A mixture with the same parameters and feature names.

    Raises
    ------
    ValueError
        If the model is of another class. A `BayesianGaussianMixture` does not predict as a Gaussian mixture does.
    sklearn.exceptions.NotFittedError
        If the model has not been fitted.

    Examples
    --------
    >>> import numpy as np
    >>> import sklearn.mixture
    >>> from tgmm import Mixture
    >>> X = np.concatenate([np.zeros((50, 1)), np.ones((50, 1))]) + np.linspace(-0.1, 0.1, 100)[:, None]
    >>> other = sklearn.mixture.GaussianMixture(2, covariance_type="tied", random_state=0).fit(X)
    >>> mixture = Mixture.from_sklearn(other)
    >>> mixture.covariance_type
    'tied_full'
    >>> np.allclose(mixture.score_samples(X), other.score_samples(X), rtol=0, atol=1e-10)
    True
    """
    from sklearn.mixture import GaussianMixture

    if not isinstance(model, GaussianMixture):
        raise ValueError(f"model must be a fitted sklearn.mixture.GaussianMixture; got {model!r}.")
    check_is_fitted(model)
    checked = check_parameters(model.weights_, model.means_, model.covariances_, model.covariance_type)
    columns = Columns.of(model.means_.shape[1], getattr(model, "feature_names_in_", None), cls.__name__)
    return cls.of(*checked, columns)
