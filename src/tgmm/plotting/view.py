"""A mixture in two dimensions, or in one: its linear projections are mixtures, too."""

from __future__ import annotations

import math
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigh

from tgmm.mixture.base import as_mixture
from tgmm.mixture.mixture import Mixture
from tgmm.plotting import style
from tgmm.plotting.style import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

LINE = 44  # characters in a line of an axis label


@dataclass(frozen=True)
class View:
    """The mixture of A'x, where x is a row of the model's data.

    Parameters
    ----------
    directions : ndarray of shape (d, m)
        A.
    names : tuple of str
        Labels of the m coordinates.
    weights, means, covariances : ndarrays of shape (K,), (K, m) and (K, m, m)
        The weights, the means A'mu_k, and the covariances A'Sigma_k A.
    """

    directions: np.ndarray
    names: tuple[str, ...]
    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @classmethod
    def of(cls, model: Model, features: Sequence[int | str] | None) -> View:
        """Return the view of these features. By default, two features or the first two discriminants."""
        if features is None and style.n_features(model) > 2:
            directions = discriminants(model)
            return cls._along(model, directions, discriminant_names(model, directions))
        chosen = range(style.n_features(model)) if features is None else feature_indices(model, features)
        names = style.feature_names(model)
        return cls._along(model, np.eye(len(names))[:, chosen], tuple(names[j] for j in chosen))

    @classmethod
    def _along(cls, model: Model, directions: np.ndarray, names: tuple[str, ...]) -> View:
        weights, means, covariances = dense_parameters(model)
        names = tuple(style.plain(name) for name in names)
        return cls(directions, names, weights, means @ directions, directions.T @ covariances @ directions)

    def rows(self, model: Model, X: Any) -> np.ndarray:
        """Return the coordinates of rows of data, (n, m)."""
        return self.coordinates(style.rows_of(model, X))

    def coordinates(self, rows: np.ndarray) -> np.ndarray:
        """Return A'x of rows (n, d), (n, m), which is NaN only where a feature is missing that takes part in it."""
        used = (self.directions != 0).any(1)
        return rows[:, used] @ self.directions[used]

    def mixture(self) -> Mixture:
        """Return the view as a mixture. With noise, it is that of the components alone."""
        return Mixture(self.weights / self.weights.sum(), self.means, self.covariances)

    def deviations(self) -> np.ndarray:
        """Return the standard deviations of the components, (K, m)."""
        return np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2))


def dense_parameters(model: Model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights (K,), means (K, d) and covariance matrices (K, d, d) of any structure, in float64."""
    parameters = as_mixture(model, "model").parameters
    covariances = parameters.covariances.dense.expand(parameters.n_components, -1, -1)
    weights, means, covariances = (t.cpu().numpy() for t in (parameters.weights, parameters.means, covariances))
    return weights, means, covariances


def discriminants(model: Model) -> np.ndarray:
    """Return the two directions (d, 2) that separate the components best.

    They have the largest ratios of the variance between the means of the components to the pooled variance within,
    which is scaled to 1 (Fisher 1936, Annals of Eugenics 7; Rao 1948, JRSS B 10). The largest entry of each is
    positive. Noise has no part in them.
    """
    weights, means, covariances = dense_parameters(model)
    weights = weights / weights.sum()
    centred = means - weights @ means
    between = (weights[:, None] * centred).T @ centred
    within = np.einsum("k,kij->ij", weights, covariances)
    _, directions = eigh(between, within)
    directions = directions[:, :-3:-1]
    return directions * np.sign(directions[np.abs(directions).argmax(0), [0, 1]])


def discriminant_names(model: Model, directions: np.ndarray) -> tuple[str, ...]:
    """Return labels for discriminant directions (d, 2), with their unit and their most important features."""
    weights, _, covariances = dense_parameters(model)
    deviations = np.sqrt(np.einsum("k,kii->i", weights, covariances))  # (d,), within components
    names = [name.replace(" ", "\N{NO-BREAK SPACE}") for name in style.feature_names(model)]  # lines break elsewhere
    most = np.abs(directions * deviations[:, None]).argsort(0)[:-3:-1]  # (2, 2), the greatest first
    unit = "(in standard deviations within components)"
    return tuple(
        fill(f"discriminant {j}, mostly {names[first]} and {names[second]}", LINE) + f"\n{unit}"
        for j, (first, second) in enumerate(most.T)
    )


def feature_indices(model: Model, features: Sequence[int | str]) -> list[int]:
    """Return the numbers of features given by number or name, or raise a ValueError that lists them."""
    return as_mixture(model, "model").columns.indices(features, "features")


def ellipse(covariance: np.ndarray, probability: float) -> tuple[float, float, float]:
    """Return the width, height and angle (degrees) of the ellipse that contains a share of a Gaussian, (2, 2).

    In two dimensions, the squared Mahalanobis distance has an exponential distribution with mean 2, so the radius is
    sqrt(-2 log(1 - probability)).
    """
    variances, axes = np.linalg.eigh(covariance)
    radius = math.sqrt(-2 * math.log1p(-probability))
    width, height = 2 * radius * np.sqrt(variances[::-1])
    return float(width), float(height), math.degrees(math.atan2(axes[1, 1], axes[0, 1]))


class Regions:
    """The regions of highest density of a mixture, estimated from the densities of random draws.

    Source: Hyndman 1996, The American Statistician 50.
    """

    def __init__(self, mixture: Model) -> None:
        self.mixture = mixture
        draws = np.asarray(mixture.sample(20_000, random_state=0)[0])
        densities = mixture.score_samples(draws)
        order = np.argsort(densities)
        self.draws, self.densities = draws[order], densities[order]  # the densest last

    def shares(self, rows: np.ndarray) -> np.ndarray:
        """Return the probability (n,) of the region on whose boundary each row lies."""
        return 1 - np.searchsorted(self.densities, self.mixture.score_samples(rows)) / len(self.densities)

    def box(self, probability: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the corners (m,) of a box around the region of this probability."""
        inside = self.draws[int((1 - probability) * len(self.draws)) :]
        low, high = inside.min(0), inside.max(0)
        margin = 0.05 * (high - low)
        return low - margin, high + margin
