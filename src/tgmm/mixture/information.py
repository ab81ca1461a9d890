"""Entropy of a mixture and divergence between two, which have no closed form: Monte Carlo, and a bound."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tgmm.data.columns import listed
from tgmm.mixture.base import COMPONENTS_ALONE, BaseMixture, as_mixture
from tgmm.mixture.densities import exact_predictor_of
from tgmm.mixture.sampling import draw_components, draw_rows
from tgmm.model.parameters import Parameters
from tgmm.runtime.checks import check_integer
from tgmm.runtime.devices import standalone
from tgmm.runtime.generators import RandomState, as_generator

# The bound falls in every sweep; it has settled when a sweep changes it by less than this, relatively.
SETTLED = 1e-10
SWEEPS = 10_000


class Estimate(NamedTuple):
    """A Monte Carlo estimate, with its standard error.

    Attributes
    ----------
    value : float
        The estimate, in nats.
    standard_error : float
        Its standard error, in nats. It falls with the square root of the number of draws.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> estimate = Mixture([1.0], [[0.0]], [1.0], "spherical").entropy(random_state=0)
    >>> round(estimate.value, 1), round(estimate.standard_error, 2)
    (1.4, 0.01)
    """

    value: float
    standard_error: float


@standalone()
def entropy(mixture: BaseMixture, n_samples: int = 10_000, *, random_state: RandomState = None) -> Estimate:
    """Estimate the differential entropy of the mixture, -E[log p(x)] in nats, by Monte Carlo.

    Parameters
    ----------
    n_samples : int, default=10000
        Number of draws from the mixture, at least 2.
    random_state : int, numpy.random.Generator or RandomState, or torch.Generator, optional
        Seed or generator. Give an integer for results that you can repeat.

    Returns
    -------
    Estimate
        ``value`` and ``standard_error``, which falls with the square root of `n_samples`.

    Notes
    -----
    The entropy of a mixture has no closed form (Huber et al. 2008, IEEE MFI).

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([1.0], [[0.0]], [1.0], "spherical")
    >>> value, standard_error = mixture.entropy(random_state=0)
    >>> bool(abs(value - 1.4189) < 3 * standard_error)
    True
    """
    rows = _draw(mixture, n_samples, random_state)
    return _estimate(-exact_predictor_of(mixture).log_density(rows))


@standalone()
def kl_divergence(
    mixture: BaseMixture, other: Any, n_samples: int = 10_000, *, random_state: RandomState = None
) -> Estimate:
    """Estimate the Kullback-Leibler divergence of another mixture from this one, in nats, by Monte Carlo.

    Parameters
    ----------
    other : Mixture or fitted GaussianMixture
        A mixture of the same number of features, with any covariance type.
    n_samples : int, default=10000
        Number of draws from this mixture, at least 2.
    random_state : int, numpy.random.Generator or RandomState, or torch.Generator, optional
        Seed or generator. Give an integer for results that you can repeat.

    Returns
    -------
    Estimate
        ``value`` estimates E[log p(x) - log q(x)] for x from this mixture p; ``standard_error`` is its error. The
        estimate can be negative if the divergence is smaller than the error.

    Raises
    ------
    ValueError
        If `other` is not a mixture of the same features, where both have names in the same order.

    Notes
    -----
    Hershey & Olsen 2007 (IEEE ICASSP).

    Examples
    --------
    >>> from tgmm import Mixture
    >>> p = Mixture([1.0], [[0.0]], [1.0], "spherical")
    >>> q = Mixture([1.0], [[1.0]], [1.0], "spherical")
    >>> value, standard_error = p.kl_divergence(q, random_state=0)
    >>> bool(abs(value - 0.5) < 3 * standard_error)
    True
    """
    other = _check_other(mixture, other)
    rows = _draw(mixture, n_samples, random_state)
    theirs = exact_predictor_of(other).log_density(rows).to(rows.device)
    return _estimate(exact_predictor_of(mixture).log_density(rows) - theirs)


@standalone()
def kl_upper_bound(mixture: BaseMixture, other: Any) -> float:
    """Return the variational upper bound of the Kullback-Leibler divergence of another mixture from this one, in nats.

    It uses no random numbers. It is exact between two Gaussians, and 0 between a mixture and itself.

    Parameters
    ----------
    other : Mixture or fitted GaussianMixture
        A mixture of the same number of features, with any covariance type.

    Returns
    -------
    float
        A number that the divergence does not exceed, at least 0. It can be infinite.

    Raises
    ------
    ValueError
        If `other` is not a mixture of the same features, where both have names in the same order.

    Notes
    -----
    The variational upper bound of Hershey & Olsen 2007 (IEEE ICASSP): each component is cut into parts, phi[a, b] of
    this mixture's a and psi[a, b] of the other's b, and parts are compared pairwise; phi and psi are optimised in turn.

    Examples
    --------
    >>> from tgmm import Mixture
    >>> p = Mixture([1.0], [[0.0]], [1.0], "spherical")
    >>> q = Mixture([0.5, 0.5], [[1.0], [1.0]], [1.0, 1.0], "spherical")
    >>> round(p.kl_upper_bound(q), 6)
    0.5
    """
    other = _check_other(mixture, other)
    ours, theirs = _positive_part(mixture.parameters), _positive_part(other.parameters)
    theirs = theirs.to(ours.means.device)
    divergences = _pairwise_divergences(ours, theirs)
    log_ours = ours.weights.log()[:, None]  # (A, 1)
    log_theirs = theirs.weights.log()[None, :]  # (1, B)
    log_psi = log_ours + log_theirs
    bound = math.inf
    for _ in range(SWEEPS):
        log_phi = log_ours + (log_psi - divergences).log_softmax(1)
        value = float((log_phi.exp() * (log_phi - log_psi + divergences)).sum())
        if not bound - value > SETTLED * abs(value):  # so too where every divergence is infinite, and the value NaN
            break
        bound = value
        log_psi = log_theirs + log_phi.log_softmax(0)
    return max(bound, 0.0)


def _check_other(mixture: BaseMixture, other: Any) -> BaseMixture:
    """Return another mixture of the same features, or raise a ValueError."""
    found = as_mixture(other, "other")
    if found.noise is not None:
        raise ValueError(f"other must be a mixture without noise. {COMPONENTS_ALONE}")
    ours, theirs = mixture.n_features, found.n_features
    if ours != theirs:
        raise ValueError(f"other must be a mixture of {ours} features, as this one; it has {theirs}.")
    own, its = mixture.columns.names, found.columns.names
    if own is not None and its is not None and list(own) != list(its):
        raise ValueError(
            f"other must be a mixture of the features {listed(own)}, in this order; it has {listed(its)}: put those of "
            "one mixture in the order of the other by marginal."
        )
    return found


def _draw(mixture: BaseMixture, n_samples: int, random_state: RandomState) -> Tensor:
    """Return draws from the mixture in float64, (n, d), whatever its float type."""
    n_rows = check_integer(n_samples, "n_samples", 2)
    generator, parameters = as_generator(random_state), mixture.parameters
    components = draw_components(parameters.weights, n_rows, generator).to(parameters.means.device)
    return draw_rows(parameters, components, generator)


def _estimate(values: Tensor) -> Estimate:
    """Return the mean of independent values (n,) and its standard error; both are infinite where values are."""
    size = float(values.abs().amax())
    if math.isinf(size):
        return Estimate(float(values.sum()), math.inf)
    unit = values / size if size > 1 else values  # whose squares do not overflow
    size = max(size, 1.0)
    return Estimate(size * float(unit.mean()), size * float(unit.std()) / math.sqrt(values.shape[0]))


def _positive_part(parameters: Parameters) -> Parameters:
    """Return the parameters without those of components of weight 0."""
    keep = parameters.weights > 0
    return Parameters(parameters.weights[keep], parameters.means[keep], parameters.covariances.take(keep))


def _pairwise_divergences(ours: Parameters, theirs: Parameters) -> Tensor:
    """Return the Kullback-Leibler divergences between the components of two mixtures, (A, B).

    The closed form between Gaussians (Kullback 1959, Information Theory and Statistics, 9.1); the trace is the sum of
    squares of the whitened root.
    """
    identity = torch.eye(ours.n_features, dtype=torch.float64, device=ours.means.device)
    our_factor, columns = ours.covariances.factor, []
    roots = our_factor.colour(identity.expand(our_factor.log_det.shape[0], -1, -1))  # (1 or A, d, d)
    for k in range(theirs.n_components):
        factor = theirs.covariances.take(slice(k, k + 1)).factor
        distances = factor.distances((ours.means - theirs.means[k])[None])[0]  # (A,)
        traces = factor.distances(roots).sum(-1)  # (1 or A,)
        columns.append(0.5 * (factor.log_det - our_factor.log_det + traces - ours.n_features + distances))
    return torch.stack(columns, 1).clamp(min=0.0)
