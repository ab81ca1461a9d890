"""Draws from a mixture, exact in every region that distances from the means bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance import Covariances
from tgmm.mixture.base import BaseMixture, own_array
from tgmm.mixture.chi import chi_quantile, truncated_chi_quantiles
from tgmm.model.noise import Noise
from tgmm.model.parameters import Parameters
from tgmm.runtime.checks import check_integer, check_number
from tgmm.runtime.devices import standalone
from tgmm.runtime.generators import RandomState, as_generator, on_device

Interval = tuple[float, float]


@standalone()
def sample(
    mixture: BaseMixture,
    n_samples: int = 1,
    *,
    component: int | None = None,
    confidence: float | None = None,
    std_range: Sequence[float] | None = None,
    random_state: RandomState = None,
) -> tuple[Any, Any]:
    """Draw rows from the mixture, and the components they come from.

    Rows are independent draws. You can restrict them to a component, or to a region around the mean of each component,
    for example to its tails. Draws from an improbable region take no longer, because nothing is rejected.

    Parameters
    ----------
    n_samples : int, default=1
        Number of rows.
    component : int, optional
        Draw only from this component, from 0 to K - 1.
    confidence : float, optional
        Draw each row inside the ellipsoid around its component that holds this probability, in (0, 1).
    std_range : (float, float), optional
        Draw rows whose Mahalanobis distance from the mean of their component, in standard deviations, lies in
        [low, high]. high may be infinite.
    random_state : int, numpy.random.Generator or RandomState, or torch.Generator, optional
        Seed or generator. By default, an estimator uses the `random_state` of its constructor, so an integer there
        gives the same draws at every call, as in scikit-learn. A `Mixture` gives new draws at every call.

    Returns
    -------
    X : array or Tensor of shape (n, d)
        The rows, in the float type of the mixture. They are a NumPy array if the mixture was fitted to arrays or data
        frames, and a tensor on the mixture's device if it was fitted to tensors.
    components : array or Tensor of shape (n,)
        The component of each row, -1 for noise. Noise is drawn from the box around the data along the axes.

    Raises
    ------
    ValueError
        If the component or the region does not exist, or if both `confidence` and `std_range` are given.

    Notes
    -----
    A Gaussian vector is its mean plus a root of the covariance times a uniform direction times a chi-distributed radius
    (Fang, Kotz & Ng 1990, Symmetric Multivariate and Related Distributions, 2.5).

    Examples
    --------
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> X, components = mixture.sample(100, component=1, std_range=(2, float("inf")), random_state=0)
    >>> X.shape, bool((abs(X - 4) >= 2).all()), set(components.tolist())
    ((100, 1), True, {1})
    """
    n_rows = check_integer(n_samples, "n_samples", 1)
    parameters = mixture.parameters
    n_components, n_features = parameters.means.shape
    interval = _check_interval(confidence, std_range, n_features)
    generator = as_generator(random_state)
    if component is None:
        weights = parameters.weights
        if mixture.noise is not None:
            weights = torch.cat([weights, parameters.rest[None]])
        components = draw_components(weights, n_rows, generator)
    else:
        components = torch.full((n_rows,), check_component(component, n_components))
    components = components.to(parameters.means.device)
    radii = None if interval is None else draw_radii(n_rows, n_features, interval, generator)
    if mixture.noise is None:
        rows = draw_rows(parameters, components, generator, radii)
    else:
        is_noise = components == n_components
        rows = draw_rows(parameters, components.clamp(max=n_components - 1), generator, radii)
        rows = torch.where(is_noise[:, None], _draw_noise(mixture.noise, n_rows, generator), rows)
        components = torch.where(is_noise, -1, components)
    return own_array(mixture, rows), mixture.columns.own_array(components)


def _draw_noise(noise: Noise, n_rows: int, generator: torch.Generator) -> Tensor:
    """Return rows (n, d) drawn evenly from the box along the axes."""
    uniform = torch.rand(n_rows, noise.low.shape[0], dtype=torch.float64, generator=generator).to(noise.low.device)
    return noise.low + uniform * (noise.high - noise.low)


def draw_components(weights: Tensor, n_rows: int, generator: torch.Generator) -> Tensor:
    """Return components drawn with these weights (K,) or (n, K), (n_rows,) or (n, n_rows), on the CPU."""
    weights = weights.cpu()
    if n_rows > 1:
        return torch.multinomial(weights, n_rows, replacement=True, generator=generator)
    # The same draw without its checks: of clocks that ring at these rates, each is the first with its weight.
    waits = torch.empty_like(weights).exponential_(generator=generator)
    return weights.div(waits).argmax(-1, keepdim=True)


def draw_radii(n_rows: int, n_features: int, interval: Interval, generator: torch.Generator) -> Tensor:
    """Return Mahalanobis distances drawn from the chi law truncated to the interval, (n_rows,), on the CPU."""
    uniform = torch.rand(n_rows, dtype=torch.float64, generator=generator)
    return torch.from_numpy(truncated_chi_quantiles(uniform.numpy(), n_features, *interval))


def draw_rows(
    parameters: Parameters, components: Tensor, generator: torch.Generator, radii: Tensor | None = None
) -> Tensor:
    """Return a draw from each of components (n,), (n, d) in float64, with Mahalanobis distances radii (n,) if given."""
    deviations = draw_deviations(parameters.covariances, components, generator, radii)
    return deviations.add_(parameters.means.index_select(0, components))


def draw_deviations(
    covariances: Covariances, components: Tensor, generator: torch.Generator, radii: Tensor | None = None
) -> Tensor:
    """Return deviations (n, d) from the means of components (n,), with Mahalanobis distances radii (n,) if given."""
    device = components.device
    shape = (components.shape[0], covariances.n_features)
    white = torch.randn(shape, dtype=torch.float64, device=device, generator=on_device(generator, device))
    if radii is not None:
        white = white * (radii.to(device) / torch.linalg.vector_norm(white, dim=1))[:, None]
    factor = covariances.factor
    n_different = factor.log_det.shape[0]
    if n_different == 1:
        return factor.colour(white[None])[0]
    if shape[0] <= n_different:  # a factor for each row takes no more memory than the mixture's own
        return factor.take(components).colour(white[:, None]).squeeze(1)
    sizes = components.bincount(minlength=n_different).tolist()
    deviations = torch.empty_like(white)
    # Which of the independent standard normals a row gets does not matter: slices in turn need no gathering.
    for k, (rows, part) in enumerate(zip(components.argsort().split(sizes), white.split(sizes), strict=True)):
        deviations[rows] = factor.take(slice(k, k + 1)).colour(part[None])[0]
    return deviations


def check_component(component: Any, n_components: int) -> int:
    """Return the index of a component, or raise a ValueError that says which there are."""
    index = check_integer(component, "component", 0)
    if index >= n_components:
        raise ValueError(f"component must be from 0 to n_components - 1 = {n_components - 1}; got {component!r}.")
    return index


def _check_interval(confidence: Any, std_range: Any, n_features: int) -> Interval | None:
    """Return the Mahalanobis distances asked for, or None for all."""
    if confidence is not None and std_range is not None:
        raise ValueError(
            f"confidence and std_range both bound the distance: give one of them; got {confidence!r} and {std_range!r}."
        )
    if confidence is not None:
        probability = check_number(confidence, "confidence")
        if not 0 < probability < 1:
            raise ValueError(f"confidence must be a probability in (0, 1); got {confidence!r}.")
        return 0.0, chi_quantile(probability, n_features)
    if std_range is None:
        return None
    try:
        low, high = (float(bound) for bound in std_range)
    except (TypeError, ValueError) as error:
        raise ValueError(f"std_range must be a pair (low, high) of numbers; got {std_range!r}.") from error
    if not (0 <= low < high and math.isfinite(low)):
        raise ValueError(
            "std_range must be (low, high) with 0 <= low < high in standard deviations, high may be infinite; "
            f"got {std_range!r}."
        )
    return low, high
