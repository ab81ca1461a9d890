"""The distribution of some features given the others, and regression by it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tgmm.covariance import Covariances
from tgmm.data.validation import Rows, as_batch_of_one, check_rows
from tgmm.kernels.chunking import rows_per_chunk
from tgmm.mixture.base import BaseMixture
from tgmm.mixture.densities import FAR, exact_predictor_of
from tgmm.mixture.marginal import check_dims, marginal, total_covariance, total_mean, total_variance
from tgmm.mixture.sampling import draw_components, draw_deviations
from tgmm.runtime.checks import check_integer
from tgmm.runtime.devices import standalone, widen
from tgmm.runtime.generators import RandomState, as_generator


@standalone()
def condition(mixture: BaseMixture, x_observed: Any, dims: Sequence[int | str]) -> ConditionalMixture:
    """Return the distribution of the other features given observed values of some, as a mixture.

    Parameters
    ----------
    x_observed : array-like or Tensor of shape (o,) or (n, o)
        One observation or a batch of observations. The columns are the features `dims`; names of a data frame or a
        series must be those of `dims`. After a fit with ``missing="em"``, values may be missing, the same ones in all
        rows of a batch.
    dims : sequence of int or str
        The observed features, by number or name.

    Returns
    -------
    ConditionalMixture
        The mixture of the other features, r = d - o of them, in ascending order.

    Raises
    ------
    ValueError
        If `dims` are not different features, if they leave no other feature, or if `x_observed` does not fit them.

    Notes
    -----
    Given the observation each component is Gaussian with the mean and covariance of linear regression (Bishop, PRML,
    2.3.1); its weight is its posterior probability.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.5, 1.0]]])
    >>> conditional = mixture.condition([2.0], dims=[0])
    >>> conditional.mean(), conditional.covariance()
    (tensor([1.], dtype=torch.float64), tensor([[0.7500]], dtype=torch.float64))
    """
    law = _law(mixture, dims)
    single, may_lack = _n_dimensions(x_observed) == 1, mixture.columns.may_lack
    rows = _check_some(as_batch_of_one(x_observed) if single else x_observed, law.observed, may_lack=may_lack).tensor
    if torch.isnan(rows).any():
        law, rows = _law_of_some(mixture, dims, rows)
    log_weights, means = law(rows)
    return ConditionalMixture(law, log_weights, means, single)


@standalone()
def regress(mixture: BaseMixture, X_observed: Any, dims: Sequence[int | str]) -> tuple[Any, Any]:
    """Predict the other features from observed ones (Gaussian mixture regression).

    Parameters
    ----------
    X_observed : array-like or Tensor of shape (n, o)
        The observed values. The columns are the features `dims`.
    dims : sequence of int or str
        The observed features, by number or name.

    Returns
    -------
    mean, standard_deviation : arrays or Tensors of shape (n, d - o)
        Mean and standard deviation of the other features of each row, in ascending order of the features, in the type
        of `X_observed`.

    Raises
    ------
    ValueError
        If `dims` are not different features, if they leave no other feature, or if `X_observed` does not fit them.

    Notes
    -----
    The regression function is the conditional mean (Ghahramani & Jordan 1994, NIPS 6; Cohn, Ghahramani & Jordan 1996,
    JAIR 4, with the conditional variance).

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([1.0], [[0.0, 0.0]], [[[1.0, 0.6], [0.6, 1.0]]])
    >>> mean, standard_deviation = mixture.regress([[2.0], [5.0]], dims=[0])
    >>> mean.ravel(), standard_deviation.ravel()
    (array([1.2, 3. ]), array([0.8, 0.8]))
    """
    law = _law(mixture, dims)
    rows = _check_some(X_observed, law.observed)
    parts = []
    for part in rows.tensor.split(law.rows_per_chunk):
        log_weights, means = law(part)
        weights = log_weights.exp()
        variance = total_variance(weights, means, law.covariances.variances)
        parts.append((total_mean(weights, means).to(mixture.dtype), variance.sqrt().to(mixture.dtype)))
    mean, standard_deviation = (torch.cat(column) for column in zip(*parts, strict=True))
    return rows.give_back(mean), rows.give_back(standard_deviation)


@dataclass(frozen=True)
class _Law:
    """What the conditional mixtures of all observations share, in float64."""

    observed: BaseMixture  # the marginals of the observed features
    rest: BaseMixture  # and of the others
    slopes: Tensor  # (B, r, o)
    covariances: Covariances  # of the rest, given the observed

    @classmethod
    def of(cls, mixture: BaseMixture, observed: tuple[int, ...], rest: tuple[int, ...]) -> _Law:
        """Split the features into observed ones and the rest."""
        device = mixture.parameters.means.device
        indices = (torch.tensor(part, device=device) for part in (observed, rest))
        slopes, covariances = mixture.parameters.covariances.regression(*indices)
        return cls(marginal(mixture, observed), marginal(mixture, rest), slopes, covariances)

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log weights (n, K) and the means (n, K, r) given rows (n, o)."""
        parameters = self.observed.parameters
        rows = widen(rows).to(parameters.means.device)
        deviations = rows - parameters.means[:, None]  # (K, n, o)
        means = self.rest.parameters.means[:, None] + deviations @ self.slopes.mT  # (K, n, r)
        joint = parameters.log_joint(deviations)  # (K, n)
        log_weights = joint.log_softmax(0).T
        far = torch.nonzero(~(joint.amax(0).abs() < FAR / torch.finfo(torch.float64).eps)).flatten()
        if far.numel():
            log_weights[far] = exact_predictor_of(self.observed).far_log_responsibilities(rows[far])
        return log_weights, means.transpose(0, 1)

    @property
    def rows_per_chunk(self) -> int:
        """How many observations to condition on at a time."""
        n_components, n_observed = self.observed.parameters.means.shape
        return rows_per_chunk(n_components * (n_observed + 3 * self.slopes.shape[1]), 8, self.slopes.device)


def _law(mixture: BaseMixture, dims: Any) -> _Law:
    """Return what conditioning on features needs, made once, or raise a ValueError that names `dims`."""
    observed = tuple(check_dims(dims, mixture.columns).tolist())
    rest = tuple(i for i in range(mixture.n_features) if i not in observed)
    if not rest:
        raise ValueError(f"dims must leave a feature to condition; got all {mixture.n_features}: {dims!r}.")
    return mixture.derived(_Law.of, observed, rest)


def _law_of_some(mixture: BaseMixture, dims: Any, rows: Tensor) -> tuple[_Law, Tensor]:
    """Return what conditioning on the values that rows (n, o) have needs, and these values."""
    lacks = torch.isnan(rows)
    if (lacks != lacks[0]).any():
        raise ValueError("x_observed lacks different values in different rows: condition on such rows separately.")
    observed = check_dims(dims, mixture.columns)
    missing = observed[lacks[0].to(observed.device)].tolist()
    there = [index for index in observed.tolist() if index not in missing]
    if not there:
        raise ValueError("x_observed has no value at all: use marginal, which conditions on nothing.")
    kept = [index for index in range(mixture.n_features) if index not in missing]
    return _law(marginal(mixture, kept), [kept.index(index) for index in there]), rows[:, ~lacks[0]]


class ConditionalMixture:
    """The mixture of r features given the others: the result of `Mixture.condition`.

    For a batch of n observations, every result has a leading dimension n. Results are tensors on the device and in the
    float type of the mixture.

    Attributes
    ----------
    weights_ : Tensor of shape (K,) or (n, K)
        Probabilities of the components given the observed features.
    means_ : Tensor of shape (K, r) or (n, K, r)
        Means of the components given the observed features.
    covariances_ : Tensor
        Covariances of the components, in the shape of the covariance type for r features. They do not depend on the
        observation.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0, 0.0], [4.0, 4.0]], [1.0, 1.0], "spherical")
    >>> conditional = mixture.condition([[0.0], [2.0], [4.0]], dims=[0])
    >>> conditional.weights_.numpy().round(3).tolist()
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    >>> conditional.means_.shape
    torch.Size([3, 2, 1])
    """

    def __init__(self, law: _Law, log_weights: Tensor, means: Tensor, single: bool) -> None:
        self._law, self._log_weights, self._means, self._single = law, log_weights, means, single

    @property
    def weights_(self) -> Tensor:
        """Weights of the components."""
        return self._public(self._log_weights.exp())

    @property
    def means_(self) -> Tensor:
        """Means of the components."""
        return self._public(self._means)

    @property
    def covariances_(self) -> Tensor:
        """Covariances of the components, in the shape of the type."""
        return self._law.covariances.public.to(self._law.rest.dtype, copy=True)

    def mean(self) -> Tensor:
        """Return the mean of the unobserved features given the observed ones: the regression function.

        Returns
        -------
        Tensor of shape (r,) or (n, r)
            In the units of the data.

        Examples
        --------
        >>> from tgmm import Mixture
        >>> mixture = Mixture([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.5, 1.0]]])
        >>> mixture.condition([[2.0], [4.0]], dims=[0]).mean().tolist()
        [[1.0], [2.0]]
        """
        return self._public(total_mean(self._log_weights.exp(), self._means))

    def covariance(self) -> Tensor:
        """Return the covariance of the unobserved features given the observed ones, within and between components.

        Returns
        -------
        Tensor of shape (r, r) or (n, r, r)
            In squared units of the data.

        Examples
        --------
        >>> from tgmm import Mixture
        >>> mixture = Mixture([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.5, 1.0]]])
        >>> mixture.condition([2.0], dims=[0]).covariance().tolist()
        [[0.75]]
        """
        return self._public(total_covariance(self._log_weights.exp(), self._means, self._law.covariances.dense))

    @standalone()
    def log_prob(self, X: Any) -> Any:
        """Return the conditional log-density of values of the unobserved features, in nats.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, r)
            Values of the unobserved features: any number of rows for one observation, one row each for a batch.

        Returns
        -------
        array or Tensor of shape (m,)
            In the type of X.

        Raises
        ------
        ValueError
            If X has other features, missing or infinite values, or not one row for each observation of a batch.

        Examples
        --------
        >>> from tgmm import Mixture
        >>> mixture = Mixture([1.0], [[0.0, 0.0]], [1.0], "spherical")
        >>> mixture.condition([3.0], dims=[0]).log_prob([[0.0], [1.0]]).round(4)
        array([-0.9189, -1.4189])
        """
        rows = _check_some(X, self._law.rest)
        if self._means.shape[0] not in (1, rows.tensor.shape[0]):
            raise ValueError(
                f"X must have one row for each of the {self._means.shape[0]} observations; got {rows.tensor.shape[0]}."
            )
        deviations = widen(rows.tensor).to(self._means.device)[:, None] - self._means  # (m, K, r)
        factor, n_features = self._law.covariances.factor, self._means.shape[2]
        distances = factor.distances(deviations.transpose(0, 1))  # (K, m)
        constants = factor.log_det + n_features * math.log(2 * math.pi)  # (B,)
        joint = self._log_weights.T - 0.5 * (constants[:, None] + distances)
        return rows.give_back(joint.logsumexp(0).to(self._law.rest.dtype))

    @standalone()
    def sample(self, n_samples: int = 1, *, random_state: RandomState = None) -> tuple[Tensor, Tensor]:
        """Draw values of the unobserved features, and the components they come from.

        Parameters
        ----------
        n_samples : int, default=1
            Number of draws for each observation.
        random_state : int, numpy.random.Generator or RandomState, or torch.Generator, optional
            Seed or generator. Give an integer for draws that you can repeat.

        Returns
        -------
        X : Tensor of shape (m, r) or (n, m, r)
            Draws of the unobserved features.
        components : Tensor of shape (m,) or (n, m)
            The component of each draw.

        Examples
        --------
        >>> from tgmm import Mixture
        >>> mixture = Mixture([1.0], [[0.0, 0.0]], [1.0], "spherical")
        >>> X, components = mixture.condition([[3.0], [4.0]], dims=[0]).sample(5, random_state=0)
        >>> X.shape
        torch.Size([2, 5, 1])
        """
        n_samples = check_integer(n_samples, "n_samples", 1)
        generator = as_generator(random_state)
        components = draw_components(self._log_weights.exp(), n_samples, generator).to(self._means.device)  # (n, m)
        means = torch.take_along_dim(self._means, components[..., None], 1)  # (n, m, r)
        deviations = draw_deviations(self._law.covariances, components.flatten(), generator).reshape(means.shape)
        return self._public(means + deviations), (components[0] if self._single else components)

    def _public(self, values: Tensor) -> Tensor:
        """Return a copy of values (n, ...) in the mixture's float type, without the n of one observation."""
        return (values[0] if self._single else values).to(self._law.rest.dtype, copy=True)


def _check_some(X: Any, some: BaseMixture, *, may_lack: bool = False) -> Rows:
    """Return checked rows of some of the features; whoever names which these are need not name them in the rows."""
    rows, _ = check_rows(X, some.columns.where_named(X), may_lack=may_lack)
    return rows


def _n_dimensions(values: Any) -> int:
    return values.ndim if hasattr(values, "ndim") else np.ndim(values)
