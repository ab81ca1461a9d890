"""A mixture at rows: labels, probabilities, densities, scores and information criteria."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tgmm.data.chunk import Chunk
from tgmm.data.opening import as_source
from tgmm.data.outputs import collect
from tgmm.data.training import open_stream
from tgmm.data.validation import NO_WEIGHT, Rows, check_rows, check_weights
from tgmm.mixture.base import BaseMixture
from tgmm.mixture.densities import Predictor, predictor_of
from tgmm.runtime.devices import check_device, standalone

Quantity = Callable[[Predictor, Tensor], Tensor]  # a value, or several, of each row


@dataclass(frozen=True)
class Evaluation:
    """Rows to evaluate a mixture at."""

    chunks: Iterable[Chunk]
    device: torch.device  # where to compute
    rows: Rows | None  # None for a source
    n_rows: int | None  # None where it is not known beforehand

    @classmethod
    def of(cls, mixture: BaseMixture, X: Any, sample_weight: Any = None) -> Evaluation:
        """Check rows against a mixture, and their weights where there are some."""
        source = as_source(X)
        if source is not None:
            device = check_device(mixture.device)
            return cls(open_stream(source, sample_weight, mixture.columns, device), device, None, source.n_rows)
        rows, _ = check_rows(X, mixture.columns)
        device = check_device(mixture.device, rows.tensor if rows.from_tensor else None)
        n_rows = rows.tensor.shape[0]
        return cls([Chunk(rows.tensor, check_weights(sample_weight, n_rows), 0)], device, rows, n_rows)


def predict(mixture: BaseMixture, X: Any, *, out: Any = None) -> Any:
    """Return the most probable component of each row.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        What `GaussianMixture.fit` accepts.
    out : numpy.ndarray or path of a .npy file, optional
        Where the results go, in batches: an array of their shape, a memory map for example, or a new file.

    Returns
    -------
    labels : array or Tensor of shape (n,)
        ``out`` where that is an array, a memory map of the file where it is a path; for a source a NumPy array,
        else an array of the kind of X.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> mixture.predict([[0.5], [3.0]])
    array([0, 1])
    """
    return _evaluate(mixture, X, Predictor.labels, out)


def predict_proba(mixture: BaseMixture, X: Any, *, out: Any = None) -> Any:
    """Return the posterior probabilities of the components for each row.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        What `GaussianMixture.fit` accepts.
    out : numpy.ndarray or path of a .npy file, optional
        Where the results go, in batches; see `predict`.

    Returns
    -------
    probabilities : array or Tensor of shape (n, K)

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> mixture.predict_proba([[2.0]])
    array([[0.5, 0.5]])
    """
    return _evaluate(mixture, X, Predictor.responsibilities, out)


def score_samples(mixture: BaseMixture, X: Any, *, out: Any = None) -> Any:
    """Return the log-density of each row.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        What `GaussianMixture.fit` accepts.
    out : numpy.ndarray or path of a .npy file, optional
        Where the results go, in batches; see `predict`.

    Returns
    -------
    log_density : array or Tensor of shape (n,)
        In nats.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([1.0], [[0.0]], [1.0], "spherical")
    >>> mixture.score_samples([[0.0]])
    array([-0.9189385])
    """
    return _evaluate(mixture, X, Predictor.log_density, out)


def score(mixture: BaseMixture, X: Any, y: Any = None, sample_weight: Any = None) -> float:
    """Return the average log-likelihood of X, weighted where weights are given, in nats."""
    total, weight = _log_likelihood(mixture, X, sample_weight)
    return total / weight


def aic(mixture: BaseMixture, X: Any, sample_weight: Any = None) -> float:
    """Return Akaike's information criterion, lower is better (Akaike 1974, IEEE TAC 19)."""
    total, weight = _log_likelihood(mixture, X, sample_weight)
    return Criteria(total, weight, mixture.n_parameters).aic


def bic(mixture: BaseMixture, X: Any, sample_weight: Any = None) -> float:
    """Return the Bayesian information criterion, lower is better (Schwarz 1978, Annals of Statistics 6)."""
    total, weight = _log_likelihood(mixture, X, sample_weight)
    return Criteria(total, weight, mixture.n_parameters).bic


def icl(mixture: BaseMixture, X: Any, sample_weight: Any = None) -> float:
    """Return the integrated classification likelihood, lower is better: BIC plus the price of ambiguous rows.

    Source: Biernacki, Celeux & Govaert 2000 (IEEE PAMI 22), with the most probable labels as in mclust.
    """
    return criteria(mixture, X, sample_weight).icl


@dataclass(frozen=True)
class Criteria:
    """What a mixture is worth on data, by its log-likelihood and its free parameters."""

    log_likelihood: float  # total
    weight: float  # of all rows
    n_parameters: int
    certainty: float = math.nan  # sum of the log-probabilities of the most probable components

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        return -2 * self.log_likelihood + 2 * self.n_parameters

    @property
    def bic(self) -> float:
        """The Bayesian information criterion."""
        return -2 * self.log_likelihood + self.n_parameters * math.log(self.weight)

    @property
    def icl(self) -> float:
        """The integrated classification likelihood."""
        return self.bic - 2 * self.certainty


@standalone()
def criteria(mixture: BaseMixture, X: Any, sample_weight: Any = None) -> Criteria:
    """Return all criteria of a mixture on rows, in one pass over them."""
    evaluation = Evaluation.of(mixture, X, sample_weight)
    return criteria_of_chunks(mixture, evaluation.chunks, evaluation.device)


def criteria_of_chunks(mixture: BaseMixture, chunks: Iterable[Chunk], device: torch.device) -> Criteria:
    """Return all criteria of a mixture on checked rows."""
    predictor = predictor_of(mixture, device)
    totals, weight = _weighted_sum(chunks, lambda rows: predictor.log_density_and_certainty(rows))
    return Criteria(float(totals[0]), weight, mixture.n_parameters, float(totals[1]))


@standalone()
def _evaluate(mixture: BaseMixture, X: Any, quantity: Quantity, out: Any) -> Any:
    """Return a quantity of each row, where and as the user wants it."""
    data = Evaluation.of(mixture, X)
    predictor = predictor_of(mixture, data.device)
    if data.rows is not None and out is None:
        return data.rows.give_back(quantity(predictor, data.rows.tensor))
    parts = (quantity(predictor, chunk.rows).cpu().numpy() for chunk in data.chunks)
    return collect(parts, out, data.n_rows)


@standalone()
def _log_likelihood(mixture: BaseMixture, X: Any, sample_weight: Any) -> tuple[float, float]:
    """Return the log-likelihood of rows, and the sum of their weights."""
    data = Evaluation.of(mixture, X, sample_weight)
    predictor = predictor_of(mixture, data.device)
    total, weight = _weighted_sum(data.chunks, predictor.log_density)
    return float(total), weight


def _weighted_sum(chunks: Iterable[Chunk], quantity: Callable[[Tensor], Tensor]) -> tuple[Tensor, float]:
    """Return the weighted sum over all rows of a quantity, and the sum of the weights, in float64 on the CPU."""
    total, weight = torch.zeros((), dtype=torch.float64), 0.0
    for chunk in chunks:
        values = quantity(chunk.rows).cpu().double()  # (c, ...)
        if chunk.weights is None:
            total, weight = total + values.sum(0), weight + values.shape[0]
        else:
            weights = chunk.weights.cpu().double()
            total = total + weights[weights > 0] @ values[weights > 0]
            weight += float(weights.sum())
    if not weight > 0:
        raise ValueError(NO_WEIGHT)
    return total, weight
