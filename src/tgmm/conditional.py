"""The distribution of some features given the others, and regression by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm import settings
from tgmm.kernels.chunking import rows_per_chunk
from tgmm.marginal import check_dims, marginal
from tgmm.mixture import Mixture
from tgmm.mixture_moments import total_covariance, total_mean, total_variance
from tgmm.parameters import Parameters
from tgmm.placement import standalone
from tgmm.precision import widen
from tgmm.prediction import FAR, Predictor
from tgmm.random_state import RandomState, as_generator
from tgmm.sampling import draw_components, draw_deviations
from tgmm.validation import check_rows

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture


@standalone()
def condition(model: GaussianMixture, x_observed: Any, dims: Sequence[int]) -> ConditionalMixture:
    """Return the mixture of the other features, given some.

    Parameters
    ----------
    x_observed : array-like or Tensor of shape (o,) or (n, o)
        One observation, or a batch of them; the columns are the features `dims`.
    dims : sequence of int
        The o observed features.

    Returns
    -------
    ConditionalMixture
        Of the r = d - o other features, in ascending order.

    Raises
    ------
    ValueError
        If `dims` are not distinct features or leave none over, or `x_observed` does not fit them.

    Notes
    -----
    Given the observation each component is Gaussian with the mean and covariance of linear regression (Bishop, PRML,
    2.3.1); its weight is its posterior probability.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.5, 1.0]]])
    >>> conditional = gmm.condition([2.0], dims=[0])
    >>> conditional.mean(), conditional.covariance()
    (tensor([1.], dtype=torch.float64), tensor([[0.7500]], dtype=torch.float64))
    """
    law = _Law.of(model, dims)
    single = _n_dimensions(x_observed) == 1
    rows = check_rows(law.observed, _as_batch(x_observed, single), reset=False)
    log_weights, means = law(rows.tensor)
    return ConditionalMixture(law, log_weights, means, single)


@standalone()
def regress(model: GaussianMixture, X_observed: Any, dims: Sequence[int]) -> tuple[Any, Any]:
    """Predict the other features from some: Gaussian mixture regression.

    Parameters
    ----------
    X_observed : array-like or Tensor of shape (n, o)
        The columns are the features `dims`.
    dims : sequence of int
        The o observed features.

    Returns
    -------
    mean, standard_deviation : arrays or Tensors of shape (n, d - o)
        Of the conditional distribution of each row's other features, in ascending order. NumPy for arrays, tensors for
        tensors.

    Raises
    ------
    ValueError
        If `dims` are not distinct features or leave none over, or `X_observed` does not fit them.

    Notes
    -----
    The regression function is the conditional mean (Ghahramani & Jordan 1994, NIPS 6; Cohn, Ghahramani & Jordan 1996,
    JAIR 4, with the conditional variance).

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [[[1.0, 0.6], [0.6, 1.0]]])
    >>> mean, standard_deviation = gmm.regress([[2.0], [5.0]], dims=[0])
    >>> mean.ravel(), standard_deviation.ravel()
    (array([1.2, 3. ]), array([0.8, 0.8]))
    """
    law = _Law.of(model, dims)
    rows = check_rows(law.observed, X_observed, reset=False)
    parts = []
    for part in rows.tensor.split(law.rows_per_chunk):
        log_weights, means = law(part)
        weights = log_weights.exp()
        variance = total_variance(weights, means, law.variances)
        parts.append((total_mean(weights, means).to(model._dtype), variance.sqrt().to(model._dtype)))
    mean, standard_deviation = (torch.cat(column) for column in zip(*parts, strict=True))
    return rows.give_back(mean), rows.give_back(standard_deviation)


@dataclass(frozen=True)
class _Law:
    """What the conditional mixtures of all observations share, in float64."""

    observed: GaussianMixture  # the marginals of the observed features
    rest: GaussianMixture  # and of the others
    slopes: Tensor  # (B, r, o)
    covariances: Tensor  # (B, ...) of the rest, given the observed

    @classmethod
    def of(cls, model: GaussianMixture, dims: Any) -> _Law:
        """Split the features into observed ones and the rest."""
        check_is_fitted(model)
        parameters = model._parameters
        n_features = parameters.means.shape[1]
        observed = check_dims(dims, n_features)
        rest = torch.tensor([i for i in range(n_features) if i not in observed.tolist()])
        if rest.shape[0] == 0:
            raise ValueError(f"dims must leave a feature to condition; got all {n_features}: {dims!r}.")
        device = parameters.means.device
        slopes, covariances = model._structure.regression(parameters.covariances, observed.to(device), rest.to(device))
        return cls(marginal(model, observed.tolist()), marginal(model, rest.tolist()), slopes, covariances)

    def __call__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log weights (n, K) and the means (n, K, r) given rows (n, o)."""
        structure, parameters = self.observed._structure, self.observed._parameters
        rows = widen(rows).to(parameters.means.device)
        deviations = rows - parameters.means[:, None]  # (K, n, o)
        means = self.rest._parameters.means[:, None] + deviations @ self.slopes.mT  # (K, n, r)
        mixture = Mixture.of(parameters, structure)
        joint = mixture.log_joint(deviations)  # (K, n)
        log_weights = joint.log_softmax(0).T
        far = torch.nonzero(~(joint.amax(0).abs() < FAR / torch.finfo(torch.float64).eps)).flatten()
        if far.numel():
            predictor = Predictor(parameters, structure, torch.float64, rows.device)
            log_weights[far] = predictor.responsibilities(rows[far]).log()
        return log_weights, means.transpose(0, 1)

    @property
    def variances(self) -> Tensor:
        """The variances of the rest, given the observed, (B, r)."""
        return self.rest._structure.variances(self.covariances, self.slopes.shape[1])

    @property
    def rows_per_chunk(self) -> int:
        """How many observations to condition on at a time."""
        n_components, n_observed = self.observed._parameters.means.shape
        return rows_per_chunk(n_components * (n_observed + 3 * self.slopes.shape[1]), 8, self.slopes.device)


class ConditionalMixture:
    """The mixture of r features given the others, for one observation or for each of a batch of n.

    For a batch every result has one more dimension in front, n. Tensors are on the model's device, in its float type.
    `GaussianMixture.condition` makes them.

    Attributes
    ----------
    weights_ : Tensor of shape (K,) or (n, K)
        The posterior probabilities of the components, given the observed features.
    means_ : Tensor of shape (K, r) or (n, K, r)
    covariances_ : Tensor
        In the shape of the model's type for r features; they do not depend on the observation.
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
        rest = self._law.rest
        return rest._structure.to_public(self._law.covariances).to(rest._dtype)

    def mean(self) -> Tensor:
        """Return the conditional mean, (r,) or (n, r): the regression function."""
        return self._public(total_mean(self._log_weights.exp(), self._means))

    def covariance(self) -> Tensor:
        """Return the conditional covariance, (r, r) or (n, r, r), within and between the components."""
        dense = self._law.rest._structure.dense(self._law.covariances, self._means.shape[2])
        return self._public(total_covariance(self._log_weights.exp(), self._means, dense))

    @standalone()
    def log_prob(self, X: Any) -> Any:
        """Return the conditional log-density of values of the unobserved features, in nats.

        Parameters
        ----------
        X : array-like or Tensor of shape (m, r)
            For one observation, any number of values; for a batch of n, one value each: (n, r).

        Returns
        -------
        array or Tensor of shape (m,)
            NumPy for arrays, a tensor for tensors.

        Examples
        --------
        >>> from tgmm import GaussianMixture
        >>> gmm = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [1.0], "spherical")
        >>> gmm.condition([3.0], dims=[0]).log_prob([[0.0], [1.0]]).round(4)
        array([-0.9189, -1.4189])
        """
        rows = check_rows(self._law.rest, X, reset=False)
        if not self._single and rows.tensor.shape[0] != self._means.shape[0]:
            raise ValueError(
                f"X must have one row for each of the {self._means.shape[0]} observations; got {rows.tensor.shape[0]}."
            )
        deviations = widen(rows.tensor).to(self._means.device)[:, None] - self._means  # (m, K, r)
        joint = self._log_weights.T + self._unweighted().log_joint(deviations.transpose(0, 1))  # (K, m)
        return rows.give_back(joint.logsumexp(0).to(self._law.rest._dtype))

    @standalone()
    def sample(self, n_samples: int = 1, *, random_state: RandomState = None) -> tuple[Tensor, Tensor]:
        """Draw values of the unobserved features, and the components they come from.

        Parameters
        ----------
        n_samples : int, default=1
            m, for each observation.
        random_state : int, numpy.random.RandomState or torch.Generator, optional

        Returns
        -------
        X : Tensor of shape (m, r) or (n, m, r)
        components : Tensor of shape (m,) or (n, m)

        Examples
        --------
        >>> from tgmm import GaussianMixture
        >>> gmm = GaussianMixture.from_parameters([1.0], [[0.0, 0.0]], [1.0], "spherical")
        >>> X, components = gmm.condition([[3.0], [4.0]], dims=[0]).sample(5, random_state=0)
        >>> X.shape
        torch.Size([2, 5, 1])
        """
        n_samples = settings.check_integer(n_samples, "n_samples", 1)
        generator = as_generator(random_state)
        components = draw_components(self._log_weights.exp(), n_samples, generator).to(self._means.device)  # (n, m)
        means = torch.take_along_dim(self._means, components[..., None], 1)  # (n, m, r)
        factor, n_features = self._unweighted().factor, means.shape[2]
        deviations = draw_deviations(factor, n_features, components.flatten(), generator).reshape(means.shape)
        return self._public(means + deviations), (components[0] if self._single else components)

    def _unweighted(self) -> Mixture:
        """Return the components with their covariances factored, about 0 and of weight 1."""
        means = torch.zeros_like(self._means[0])
        return Mixture.of(
            Parameters(means.new_ones(means.shape[0]), means, self._law.covariances), self._law.rest._structure
        )

    def _public(self, values: Tensor) -> Tensor:
        """Return values (n, ...) in the model's float type, without the n of one observation."""
        return (values[0] if self._single else values).to(self._law.rest._dtype)


def _n_dimensions(values: Any) -> int:
    return values.ndim if hasattr(values, "ndim") else np.ndim(values)


def _as_batch(values: Any, single: bool) -> Any:
    """Return one observation (o,) as a batch (1, o); anything else as it is."""
    if not single:
        return values
    return values[None] if isinstance(values, Tensor) else np.asarray(values)[None]
