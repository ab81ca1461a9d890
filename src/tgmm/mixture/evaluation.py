"""A mixture at rows: labels, probabilities, densities, scores and information criteria."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from tgmm.data.chunk import Accumulator, Chunk
from tgmm.data.data import Data
from tgmm.data.kinds import Arrays
from tgmm.data.opening import as_source, files_of
from tgmm.data.outputs import collect
from tgmm.data.training import open_stream
from tgmm.data.validation import NO_WEIGHT, Rows, check_rows, check_weights
from tgmm.mixture.base import BaseMixture
from tgmm.mixture.densities import Predictor, predictor_of
from tgmm.runtime.devices import check_device, standalone
from tgmm.runtime.paths import check_apart, expanded

Quantity = Callable[[Predictor, Tensor], Tensor]  # a value, or several, of each row


@dataclass(frozen=True)
class Evaluation:
    """Rows to evaluate a mixture at."""

    chunks: Iterable[Chunk]
    device: torch.device  # where to compute
    rows: Rows | None  # None for a source
    n_rows: int | None  # None where it is not known beforehand
    in_order: bool = True  # whether rows come in the order of the data

    @classmethod
    def of(cls, mixture: BaseMixture, X: Any, sample_weight: Any = None) -> Evaluation:
        """Check rows against a mixture, and their weights where there are some."""
        source = as_source(X, may_lack=mixture.columns.may_lack)
        if source is not None:
            device = check_device(mixture.device)
            stream = open_stream(source, sample_weight, mixture.columns, device)
            return cls(stream, device, None, source.n_rows, source.in_order)
        rows, _ = check_rows(X, mixture.columns, may_lack=mixture.columns.may_lack)
        device = check_device(mixture.device, rows.tensor if rows.from_tensor else None)
        n_rows = rows.tensor.shape[0]
        return cls([Chunk(rows.tensor, check_weights(sample_weight, n_rows), 0)], device, rows, n_rows)


@overload
def predict(mixture: BaseMixture, X: Tensor, *, out: None = None) -> Tensor: ...
@overload
def predict(mixture: BaseMixture, X: Arrays, *, out: Any = None) -> np.ndarray: ...
@overload
def predict(mixture: BaseMixture, X: Any, *, out: Any = None) -> Any: ...
def predict(mixture: BaseMixture, X: Any, *, out: Any = None) -> Any:
    """Return the most probable component of each row.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        The rows, as `GaussianMixture.fit` accepts them.
    out : numpy.ndarray or path of a .npy file, optional
        Where to write the results, batch by batch: an array of the right shape, such as a memory map, or a new file.
        Use it if the results do not fit in memory.

    Returns
    -------
    labels : array or Tensor of shape (n,)
        The number of a component for each row, -1 for noise. In the type of X, a NumPy array for a source, or `out`
        (a memory map of the file if that is a path).

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> mixture.predict([[0.5], [3.0]])
    array([0, 1])
    """
    return evaluated(mixture, X, Predictor.labels, out)


@overload
def predict_proba(mixture: BaseMixture, X: Tensor, *, out: None = None) -> Tensor: ...
@overload
def predict_proba(mixture: BaseMixture, X: Arrays, *, out: Any = None) -> np.ndarray: ...
@overload
def predict_proba(mixture: BaseMixture, X: Any, *, out: Any = None) -> Any: ...
def predict_proba(mixture: BaseMixture, X: Any, *, out: Any = None) -> Any:
    """Return the posterior probabilities of the components for each row.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        The rows, as `GaussianMixture.fit` accepts them.
    out : numpy.ndarray or path of a .npy file, optional
        Where to write the results, batch by batch; see `predict`.

    Returns
    -------
    probabilities : array or Tensor of shape (n, K) or (n, K + 1)
        Each row sums to 1. With noise, the last column is the probability of noise.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> mixture.predict_proba([[2.0]])
    array([[0.5, 0.5]])
    """
    return evaluated(mixture, X, Predictor.responsibilities, out)


@overload
def score_samples(mixture: BaseMixture, X: Tensor, *, out: None = None) -> Tensor: ...
@overload
def score_samples(mixture: BaseMixture, X: Arrays, *, out: Any = None) -> np.ndarray: ...
@overload
def score_samples(mixture: BaseMixture, X: Any, *, out: Any = None) -> Any: ...
def score_samples(mixture: BaseMixture, X: Any, *, out: Any = None) -> Any:
    """Return the log-density of each row: the log-likelihood of the mixture at it.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        The rows, as `GaussianMixture.fit` accepts them.
    out : numpy.ndarray or path of a .npy file, optional
        Where to write the results, batch by batch; see `predict`.

    Returns
    -------
    log_density : array or Tensor of shape (n,)
        In nats (natural logarithms). A density can exceed 1, so its logarithm can be positive.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([1.0], [[0.0]], [1.0], "spherical")
    >>> mixture.score_samples([[0.0]])
    array([-0.9189385])
    """
    return evaluated(mixture, X, Predictor.log_density, out)


def score(mixture: BaseMixture, X: Any, y: Any = None, sample_weight: Any = None) -> float:
    """Return the average log-likelihood of the rows of X, in nats. Higher is better.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        The rows, as `GaussianMixture.fit` accepts them.
    y : ignored
        Present for compatibility with scikit-learn.
    sample_weight : array-like of shape (n,), optional
        Weights of the rows, for a weighted average.

    Returns
    -------
    float
        In nats. It can be positive, because a density can exceed 1.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([1.0], [[0.0]], [1.0], "spherical")
    >>> round(mixture.score([[0.0], [1.0]]), 4)
    -1.1689
    """
    total, weight = _log_likelihood(mixture, X, sample_weight)
    return total / weight


def aic(mixture: BaseMixture, X: Any, sample_weight: Any = None) -> float:
    """Return Akaike's information criterion (AIC) on X. Lower is better.

    Source: Akaike 1974 (IEEE TAC 19).

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        The rows of the fit. Criteria of different data cannot be compared.
    sample_weight : array-like of shape (n,), optional
        Weights of the rows.

    Returns
    -------
    float
        -2 log L + 2 p, with the likelihood L of the rows and the number p of free parameters.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([1.0], [[0.0]], [1.0], "spherical")
    >>> round(mixture.aic([[0.0], [1.0]]), 4)
    8.6758
    """
    total, weight = _log_likelihood(mixture, X, sample_weight)
    return Criteria(total, weight, mixture.n_parameters).aic


def bic(mixture: BaseMixture, X: Any, sample_weight: Any = None) -> float:
    """Return the Bayesian information criterion (BIC) on X. Lower is better.

    Source: Schwarz 1978 (Annals of Statistics 6). mclust reports the negative of it.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        The rows of the fit. Criteria of different data cannot be compared.
    sample_weight : array-like of shape (n,), optional
        Weights of the rows.

    Returns
    -------
    float
        -2 log L + p log n, with the likelihood L and the number n (or the weight) of the rows, and the number p of free
        parameters.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> X = [[-5.0], [-4.0], [-3.0], [3.0], [4.0], [5.0]]
    >>> one = Mixture([1.0], [[0.0]], [16.7], "spherical")
    >>> two = Mixture([0.5, 0.5], [[-4.0], [4.0]], [0.7, 0.7], "spherical")
    >>> two.bic(X) < one.bic(X)
    True
    """
    total, weight = _log_likelihood(mixture, X, sample_weight)
    return Criteria(total, weight, mixture.n_parameters).bic


def icl(mixture: BaseMixture, X: Any, sample_weight: Any = None) -> float:
    """Return the integrated completed likelihood (ICL) on X. Lower is better.

    It is BIC plus a penalty for rows whose component is uncertain, and so prefers clusters that are well separated.
    Source: Biernacki, Celeux & Govaert 2000 (IEEE PAMI 22), with the most probable labels as in mclust.

    Parameters
    ----------
    X : array-like, Tensor or source of shape (n, d)
        The rows of the fit. Criteria of different data cannot be compared.
    sample_weight : array-like of shape (n,), optional
        Weights of the rows.

    Returns
    -------
    float
        BIC - 2 C, where C is the sum of the log-probabilities of the most probable component of each row.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> clear, unclear = [[0.0], [4.0]], [[1.9], [2.1]]
    >>> round(mixture.icl(clear) - mixture.bic(clear), 3), round(mixture.icl(unclear) - mixture.bic(unclear), 3)
    (0.001, 2.052)
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
        """The integrated completed likelihood."""
        return self.bic - 2 * self.certainty


@standalone()
def weighted(quantity: Quantity, mixture: BaseMixture, X: Any, sample_weight: Any = None) -> tuple[Tensor, Tensor]:
    """Return a quantity of each row and its weight, in one pass: each (n,) float64 on the CPU, in any order."""
    evaluation = Evaluation.of(mixture, X, sample_weight)
    predictor = predictor_of(mixture, evaluation.device)
    parts = [(quantity(predictor, chunk.rows), chunk.own_weights()) for chunk in evaluation.chunks]
    scores, weights = (torch.cat([part.cpu().double() for part in column]) for column in zip(*parts, strict=True))
    return scores, weights


@standalone()
def criteria(mixture: BaseMixture, X: Any, sample_weight: Any = None) -> Criteria:
    """Return all criteria of a mixture on rows, in one pass over them."""
    evaluation = Evaluation.of(mixture, X, sample_weight)
    sums = WeightedSums(predictor_of(mixture, evaluation.device).log_density_and_certainty)
    sums.add_all(evaluation.chunks)
    return _criteria(mixture, sums.result())


def criteria_on(mixture: BaseMixture, data: Data, device: torch.device) -> Criteria:
    """Return all criteria of a mixture on data to learn from, in one pass over it."""
    quantity = predictor_of(mixture, device).log_density_and_certainty
    return _criteria(mixture, data.fold(lambda: WeightedSums(quantity)))


def _criteria(mixture: BaseMixture, totals: Totals) -> Criteria:
    log_likelihood, certainty = totals.values.tolist()
    return Criteria(log_likelihood, totals.checked_weight, mixture.n_parameters, certainty)


@dataclass(frozen=True)
class Totals:
    """Weighted sums over rows of what a quantity is for each, and the sum of the weights, in float64."""

    values: Tensor  # (...)
    weight: float

    def __add__(self, other: Totals) -> Totals:
        """Return the sums over the rows of both."""
        return Totals(self.values + other.values, self.weight + other.weight)

    @property
    def checked_weight(self) -> float:
        """The sum of the weights, or a ValueError where all are 0."""
        if not self.weight > 0:
            raise ValueError(NO_WEIGHT)
        return self.weight


class WeightedSums(Accumulator[Totals]):
    """Gathers the weighted sums of a quantity of each row, (c, ...) of rows (c, d)."""

    n_rows = 1 << 20  # those who evaluate divide further; the quantities of so many rows are kept at a time

    def __init__(self, quantity: Callable[[Tensor], Tensor]) -> None:
        self.quantity = quantity
        self.totals = Totals(torch.zeros((), dtype=torch.float64), 0.0)

    def add(self, chunk: Chunk) -> None:
        """Add the sums over a chunk; rows of weight 0 count for nothing, whatever their quantity."""
        values = self.quantity(chunk.rows).cpu().double()  # (c, ...)
        if chunk.weights is None:
            self.totals += Totals(values.sum(0), values.shape[0])
        else:
            weights = chunk.weights.cpu().double()
            self.totals += Totals(weights[weights > 0] @ values[weights > 0], float(weights.sum()))

    def result(self) -> Totals:
        """Return the sums."""
        return self.totals


@standalone()
def evaluated(mixture: BaseMixture, X: Any, quantity: Quantity, out: Any = None) -> Any:
    """Return a quantity of each row, where and as the user wants it."""
    if isinstance(out, str | PathLike):
        check_apart(expanded(out), *files_of(X))
    data = Evaluation.of(mixture, X)
    if not data.in_order:
        warnings.warn(
            "X does not promise to yield its rows in the order of the data (a loader that shuffles, for example): "
            "results are in the order of this pass. Read the rows in order (shuffle=False) to match them with "
            "other data.",
            stacklevel=2,
        )
    predictor = predictor_of(mixture, data.device)
    if data.rows is not None and out is None:
        return data.rows.give_back(quantity(predictor, data.rows.tensor))
    parts = (quantity(predictor, chunk.rows).cpu().numpy() for chunk in data.chunks)
    return collect(parts, out, data.n_rows)


@standalone()
def _log_likelihood(mixture: BaseMixture, X: Any, sample_weight: Any) -> tuple[float, float]:
    """Return the log-likelihood of rows, and the sum of their weights."""
    data = Evaluation.of(mixture, X, sample_weight)
    sums = WeightedSums(predictor_of(mixture, data.device).log_density)
    sums.add_all(data.chunks)
    totals = sums.result()
    return float(totals.values), totals.checked_weight
