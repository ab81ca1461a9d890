"""Entropy of a mixture and divergence between two, which have no closed form: Monte Carlo, and a bound."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm import settings
from tgmm.mixture import Mixture
from tgmm.parameters import Parameters
from tgmm.placement import standalone
from tgmm.prediction import Predictor
from tgmm.random_state import RandomState, as_generator
from tgmm.sampling import draw_components, draw_rows

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture

# The bound falls in every sweep; it has settled when a sweep changes it by less than this, relatively.
SETTLED = 1e-10
SWEEPS = 10_000


class Estimate(NamedTuple):
    """A Monte Carlo estimate, in nats, and its standard error."""

    value: float
    standard_error: float


@standalone()
def entropy(model: GaussianMixture, n_samples: int = 10_000, *, random_state: RandomState = None) -> Estimate:
    """Estimate the differential entropy of the mixture, -E[log p(x)] in nats, by Monte Carlo.

    Parameters
    ----------
    n_samples : int, default=10000
        Draws from the mixture, 2 or more.
    random_state : int, numpy.random.RandomState or torch.Generator, optional

    Returns
    -------
    Estimate
        ``value`` and ``standard_error``, which falls with the square root of `n_samples`.

    Notes
    -----
    The entropy of a mixture has no closed form (Huber et al. 2008, IEEE MFI).

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([1.0], [[0.0]], [1.0], "spherical")
    >>> value, standard_error = gmm.entropy(random_state=0)
    >>> bool(abs(value - 1.4189) < 3 * standard_error)
    True
    """
    check_is_fitted(model)
    rows = _draw(model, n_samples, random_state)
    return _estimate(-_log_density(model, rows))


@standalone()
def kl_divergence(
    model: GaussianMixture, other: GaussianMixture, n_samples: int = 10_000, *, random_state: RandomState = None
) -> Estimate:
    """Estimate the Kullback-Leibler divergence of another mixture from this one, in nats, by Monte Carlo.

    Parameters
    ----------
    other : GaussianMixture
        A fitted mixture of as many features, of any type.
    n_samples : int, default=10000
        Draws from this mixture, 2 or more.
    random_state : int, numpy.random.RandomState or torch.Generator, optional

    Returns
    -------
    Estimate
        ``value``, of E[log p(x) - log q(x)] for x from this mixture p, and ``standard_error``. The estimate can be
        negative where the divergence is smaller than the error.

    Raises
    ------
    ValueError
        If `other` is not a mixture of as many features.

    Notes
    -----
    Hershey & Olsen 2007 (IEEE ICASSP).

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> p = GaussianMixture.from_parameters([1.0], [[0.0]], [1.0], "spherical")
    >>> q = GaussianMixture.from_parameters([1.0], [[1.0]], [1.0], "spherical")
    >>> value, standard_error = p.kl_divergence(q, random_state=0)
    >>> bool(abs(value - 0.5) < 3 * standard_error)
    True
    """
    check_is_fitted(model)
    _check_other(model, other)
    rows = _draw(model, n_samples, random_state)
    return _estimate(_log_density(model, rows) - _log_density(other, rows))


@standalone()
def kl_upper_bound(model: GaussianMixture, other: GaussianMixture) -> float:
    """Return the variational upper bound of the Kullback-Leibler divergence of another mixture from this one, in nats.

    Without random numbers; exact between two Gaussians, and 0 between a mixture and itself.

    Parameters
    ----------
    other : GaussianMixture
        A fitted mixture of as many features, of any type.

    Raises
    ------
    ValueError
        If `other` is not a mixture of as many features.

    Notes
    -----
    The variational upper bound of Hershey & Olsen 2007 (IEEE ICASSP): each component is cut into parts, phi[a, b] of
    this mixture's a and psi[a, b] of the other's b, and parts are compared pairwise; phi and psi are optimised in turn.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> p = GaussianMixture.from_parameters([1.0], [[0.0]], [1.0], "spherical")
    >>> q = GaussianMixture.from_parameters([0.5, 0.5], [[1.0], [1.0]], [1.0, 1.0], "spherical")
    >>> round(p.kl_upper_bound(q), 6)
    0.5
    """
    check_is_fitted(model)
    _check_other(model, other)
    ours, theirs = _positive_part(model), _positive_part(other)
    divergences = _pairwise_divergences(ours, theirs)
    log_ours = ours.parameters.weights.log()[:, None]  # (A, 1)
    log_theirs = theirs.parameters.weights.log()[None, :].to(log_ours.device)  # (1, B)
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


def _check_other(model: GaussianMixture, other: Any) -> None:
    if not hasattr(type(other), "kl_divergence"):
        raise ValueError(f"other must be a tgmm.GaussianMixture; got {other!r}.")
    check_is_fitted(other)
    ours, theirs = model._parameters.means.shape[1], other._parameters.means.shape[1]
    if ours != theirs:
        raise ValueError(f"other must be a mixture of {ours} features, as this one; it has {theirs}.")


def _draw(model: GaussianMixture, n_samples: int, random_state: RandomState) -> Tensor:
    """Return draws from the mixture in float64, (n, d), whatever its float type."""
    n_rows = settings.check_integer(n_samples, "n_samples", 2)
    generator = as_generator(random_state)
    parameters = model._parameters
    components = draw_components(parameters.weights, n_rows, generator).to(parameters.means.device)
    return draw_rows(Mixture.of(parameters, model._structure), components, generator)


def _log_density(model: GaussianMixture, rows: Tensor) -> Tensor:
    """Return the log-densities of rows in float64, (n,)."""
    return Predictor(model._parameters, model._structure, torch.float64, rows.device).log_density(rows)


def _estimate(values: Tensor) -> Estimate:
    """Return the mean of independent values (n,) and its standard error."""
    return Estimate(float(values.mean()), float(values.std()) / math.sqrt(values.shape[0]))


def _positive_part(model: GaussianMixture) -> Mixture:
    """Return the mixture without its components of weight 0."""
    parameters, structure = model._parameters, model._structure
    keep = parameters.weights > 0
    covariances = parameters.covariances if structure.pooled else parameters.covariances[keep]
    return Mixture.of(Parameters(parameters.weights[keep], parameters.means[keep], covariances), structure)


def _pairwise_divergences(ours: Mixture, theirs: Mixture) -> Tensor:
    """Return the Kullback-Leibler divergences between the components of two mixtures, (A, B).

    The closed form between Gaussians (Kullback 1959, Information Theory and Statistics, 9.1); the trace is the sum of
    squares of the whitened root.
    """
    n_theirs, n_features = theirs.parameters.means.shape
    identity = torch.eye(n_features, dtype=torch.float64, device=ours.parameters.means.device)
    columns = []
    roots = ours.factor.colour(identity.expand(ours.factor.log_det.shape[0], -1, -1))  # (1 or A, d, d)
    for k in range(n_theirs):
        factor = theirs.factor.select(0 if theirs.structure.pooled else k)
        deviations = (ours.parameters.means - theirs.parameters.means[k])[None]  # (1, A, d)
        distances = factor.whiten(deviations)[0].square().sum(-1)  # (A,)
        traces = factor.whiten(roots).square().sum((-2, -1))  # (1 or A,)
        columns.append(0.5 * (factor.log_det - ours.factor.log_det + traces - n_features + distances))
    return torch.stack(columns, 1).clamp(min=0.0)
