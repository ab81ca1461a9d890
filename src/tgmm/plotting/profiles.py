"""Mixtures of many features: the means of the components with their spread, feature by feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tgmm.mixture.base import as_mixture
from tgmm.mixture.profiles import Profiles
from tgmm.plotting import style
from tgmm.plotting.style import Model
from tgmm.plotting.view import feature_indices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

FEATURES, PAGE = 20, 8.0  # features drawn by default, and the height that they may take, in inches
ROWS = 300  # rows drawn at most, because more would hide each other
LETTER = 0.08  # width of a letter of a name, in inches
BAR = {"markersize": 5, "linestyle": "none", "elinewidth": 1.8}
SAME = 1e-3  # of the standard deviation of the mixture, from a mean to a value that it is
BAND = 0.8  # of the distance of two features, for all components together


def plot_profiles(
    model: Model, X: Any = None, *, features: Sequence[int | str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the means of the components in each of many features, with bars of one standard deviation.

    The features are listed from top to bottom. Values are in standard deviations of the whole mixture from its mean, so
    that features with different units can be compared. A title says if not all features are drawn, and the legend has
    the weight of noise, where there is some. A feature that is constant in the rows has no spread, and is called so.

    Parameters
    ----------
    model : GaussianMixture or Mixture
        A fitted model.
    X : array-like or Tensor of shape (n, d), optional
        Rows to draw beside the bar of their most probable component. Of more than 300 rows, an evenly spaced part is
        drawn.
    features : sequence of int or str, optional
        The features to draw, by number or name. By default these are the features in which the components differ most,
        as many as fit on a page: 20, or fewer if there are many components.
    ax : matplotlib Axes, optional
        Axes to draw on. By default a new figure is made.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> from tgmm.plotting import plot_profiles
    >>> means = [[0.0, 0.0, 1.0], [4.0, -2.0, 1.0]]
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], means, [1.0, 1.0], "spherical")
    >>> ax = plot_profiles(gmm)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['feature 0', 'feature 1', 'feature 2']
    """
    profiles = Profiles.of(as_mixture(model, "model"))
    n_components = len(profiles.weights)
    height = max(0.3, 0.07 * n_components)  # of one feature
    n_features = min(FEATURES, max(1, int(PAGE / height)))
    chosen = profiles.distinct(n_features) if features is None else feature_indices(model, features)
    centre, scale = (values[chosen] for values in profiles.total())
    rows = None if X is None else (style.rows_of(model, X)[:, chosen] - centre) / scale
    means = (profiles.means[:, chosen] - centre) / scale
    constant = _are_constant(rows, means[profiles.weights > 0])
    deviations = np.where(constant, 0.0, profiles.deviations[:, chosen] / scale)
    names = [profiles.names[j] + " (constant)" * bool(alone) for j, alone in zip(chosen, constant, strict=True)]
    size = {"width": 5.6 + LETTER * max(map(len, names)), "height": max(2.6, 1.0 + height * len(chosen))}
    ax = style.axes_or_new(ax, **size, n_entries=n_components)
    for place in range(0, len(chosen), 2):
        ax.axhspan(place - 0.5, place + 0.5, color="0.96", zorder=0)
    ax.axvline(0.0, color="0.85", linewidth=0.8, zorder=0)
    offsets = BAND * ((np.arange(n_components) + 0.5) / n_components - 0.5)
    if rows is not None:
        _draw_rows(ax, rows, style.labels_of(model, X), offsets)
    places = np.arange(len(chosen))
    for k in np.flatnonzero(profiles.weights > 0).tolist():
        look = {"color": style.colour(k), "marker": style.marker(k), **BAR}
        name = style.component_name(profiles.weights, k)
        ax.errorbar(means[k], places + offsets[k], xerr=deviations[k], label=name, **look)
    style.name_noise(ax, model, "not drawn")
    if features is None and len(chosen) < len(profiles.names):
        ax.set_title(
            f"{len(chosen)} of {len(profiles.names)} features, where components differ most", fontsize="medium"
        )
    ax.set_yticks(places, [style.plain(name) for name in names])
    ax.set_ylim(len(chosen) - 0.5, -0.5)
    ax.set_xlabel("standard deviations from the mean")
    style.legend_outside(ax)
    return ax


def _are_constant(rows: np.ndarray | None, means: np.ndarray) -> np.ndarray:
    """Return which features have one value in all rows (n, m), which is that of all means (K, m) too, (m,).

    What spread the model has there is not that of rows.
    """
    if rows is None or len(rows) < 2:
        return np.zeros(means.shape[1], dtype=bool)
    low, high = np.fmin.reduce(rows), np.fmax.reduce(rows)  # of the values that are there
    return (low == high) & (np.abs(means - low) < SAME).all(0)


def _draw_rows(ax: Axes, rows: np.ndarray, labels: np.ndarray, offsets: np.ndarray) -> None:
    """Draw rows (n, m), each feature at its place, beside the bars of their components."""
    drawn = slice(None, None, -(-len(rows) // ROWS))
    rows, labels = rows[drawn], labels[drawn]
    for k, offset in enumerate(offsets):
        own = rows[labels == k]
        y = np.broadcast_to(np.arange(own.shape[1]) + offset, own.shape)
        ax.scatter(own, y, color=style.colour(k), s=5, alpha=0.25, linewidths=0, zorder=1)
