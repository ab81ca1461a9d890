"""A fitted mixture at rows: labels, probabilities, densities, scores and information criteria."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.inputs import Evaluation
from tgmm.outputs import collect
from tgmm.placement import standalone
from tgmm.prediction import Predictor
from tgmm.validation import NO_WEIGHT

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture

Quantity = Callable[[Predictor, Tensor], Tensor]  # a value, or several, of each row


def predict(model: GaussianMixture, X: Any, *, out: Any = None) -> Any:
    """Return the most probable component of each row.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        What `fit` accepts.
    out : numpy.ndarray or path of a .npy file, optional
        Where the results go, in batches: an array of their shape, a memory map for example, or a new file.

    Returns
    -------
    labels : array or Tensor of shape (n,)
        ``out`` where that is an array, a memory map of the file where it is a path; for a source a NumPy array,
        else an array of the kind of X.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> gmm.predict([[0.5], [3.0]])
    array([0, 1])
    """
    return _evaluate(model, X, Predictor.labels, out)


def predict_proba(model: GaussianMixture, X: Any, *, out: Any = None) -> Any:
    """Return the posterior probabilities of the components for each row.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        What `fit` accepts.
    out : numpy.ndarray or path of a .npy file, optional
        Where the results go, in batches; see `predict`.

    Returns
    -------
    probabilities : array or Tensor of shape (n, K)

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> gmm.predict_proba([[2.0]])
    array([[0.5, 0.5]])
    """
    return _evaluate(model, X, Predictor.responsibilities, out)


def score_samples(model: GaussianMixture, X: Any, *, out: Any = None) -> Any:
    """Return the log-density of each row.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        What `fit` accepts.
    out : numpy.ndarray or path of a .npy file, optional
        Where the results go, in batches; see `predict`.

    Returns
    -------
    log_density : array or Tensor of shape (n,)
        In nats.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([1.0], [[0.0]], [1.0], "spherical")
    >>> gmm.score_samples([[0.0]])
    array([-0.9189385])
    """
    return _evaluate(model, X, Predictor.log_density, out)


def score(model: GaussianMixture, X: Any, y: Any = None, sample_weight: Any = None) -> float:
    """Return the average log-likelihood of X, weighted where weights are given, in nats."""
    total, weight = _weighted_sum(model, X, sample_weight, Predictor.log_density)
    return total / weight


def aic(model: GaussianMixture, X: Any, sample_weight: Any = None) -> float:
    """Return Akaike's information criterion, lower is better (Akaike 1974, IEEE TAC 19)."""
    total, _ = _weighted_sum(model, X, sample_weight, Predictor.log_density)
    return -2 * total + 2 * n_parameters(model)


def bic(model: GaussianMixture, X: Any, sample_weight: Any = None) -> float:
    """Return the Bayesian information criterion, lower is better (Schwarz 1978, Annals of Statistics 6)."""
    total, weight = _weighted_sum(model, X, sample_weight, Predictor.log_density)
    return -2 * total + n_parameters(model) * math.log(weight)


def icl(model: GaussianMixture, X: Any, sample_weight: Any = None) -> float:
    """Return the integrated classification likelihood, lower is better: BIC plus the price of ambiguous rows.

    Source: Biernacki, Celeux & Govaert 2000 (IEEE PAMI 22), with the most probable labels as in mclust.
    """
    certainty, _ = _weighted_sum(model, X, sample_weight, Predictor.log_certainty)
    return bic(model, X, sample_weight) - 2 * certainty


@standalone()
def _evaluate(model: GaussianMixture, X: Any, quantity: Quantity, out: Any) -> Any:
    """Return a quantity of each row, where and as the user wants it."""
    check_is_fitted(model)
    data = Evaluation.of(model, X)
    predictor = _predictor(model, data)
    if data.rows is not None and out is None:
        return data.rows.give_back(quantity(predictor, data.rows.tensor))
    parts = (quantity(predictor, chunk.rows).cpu().numpy() for chunk in data.chunks)
    return collect(parts, out, data.n_rows)


@standalone()
def _weighted_sum(model: GaussianMixture, X: Any, sample_weight: Any, quantity: Quantity) -> tuple[float, float]:
    """Return the weighted sum of a quantity over all rows, and the sum of the weights, in float64."""
    check_is_fitted(model)
    data = Evaluation.of(model, X, sample_weight)
    predictor = _predictor(model, data)
    total = weight = 0.0
    for rows, weights, _ in data.chunks:
        values = quantity(predictor, rows).cpu().double()
        if weights is None:
            total, weight = total + float(values.sum()), weight + values.shape[0]
        else:
            weights = weights.cpu()
            total += float(values[weights > 0] @ weights[weights > 0])
            weight += float(weights.sum())
    if not weight > 0:
        raise ValueError(NO_WEIGHT)
    return total, weight


def _predictor(model: GaussianMixture, data: Evaluation) -> Predictor:
    return Predictor(model._parameters, model._structure, model._dtype, data.device)


def n_parameters(model: GaussianMixture) -> int:
    """Return the number of free parameters: covariances, means and weights."""
    n_components, n_features = model._parameters.means.shape
    return model._structure.n_parameters(n_components, n_features) + n_components * (n_features + 1) - 1
