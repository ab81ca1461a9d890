"""Pictures of one feature: a histogram, the components and their sum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from tgmm.plotting import style
from tgmm.plotting.style import Model
from tgmm.plotting.view import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS_PER_COMPONENT = 101


def plot_histogram(model: Model, X: Any = None, *, feature: int | str = 0, ax: Axes | None = None) -> Axes:
    """Draw the density of one feature: a histogram of the rows, the weighted components, and their sum.

    Noise has no curve and is not part of the sum, so the area below the sum is 1 minus the weight of the noise. The
    legend gives this weight.

    Parameters
    ----------
    model : GaussianMixture or Mixture
        A fitted model.
    X : array-like or Tensor of shape (n, d), optional
        Rows for the histogram, whose area is 1. Noise that is so far away that it would squeeze the rest is left out;
        the legend says how many rows that concerns.
    feature : int or str, default=0
        The feature to draw, by number or name. If there are several, its marginal distribution is drawn.
    ax : matplotlib Axes, optional
        Axes to draw on. By default a new figure is made.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> from tgmm.plotting import plot_histogram
    >>> gmm = GaussianMixture.from_parameters([0.3, 0.7], [[0.0], [4.0]], [1.0, 2.0], "spherical")
    >>> ax = plot_histogram(gmm)
    >>> [line.get_label() for line in ax.lines]
    ['component 0 (30%)', 'component 1 (70%)', 'mixture']
    """
    view = View.of(model, [feature])
    ax = style.axes_or_new(ax, n_entries=len(view.weights) + 3)
    if X is None:
        draw_histogram(ax, view)
    else:
        rows = view.rows(model, X)
        shown = style.near_rows(rows, style.labels_of(model, X))
        draw_histogram(ax, view, rows[shown, 0], style.data_name(shown))
    ax.set_xlabel(view.names[0])
    ax.set_ylabel("density")
    style.name_noise(ax, model, "no curve")
    style.legend_outside(ax)
    return ax


def draw_histogram(ax: Axes, view: View, values: np.ndarray | None = None, name: str = "data") -> None:
    """Draw values (n,), of which some may be missing, under a name, and the densities of a view of one dimension."""
    values = np.empty(0) if values is None else values[~np.isnan(values)]
    if values.size:
        ax.hist(values, bins="auto", density=True, color="0.85", edgecolor="white", linewidth=0.5, label=name)
    means, deviations = view.means[:, 0], view.deviations()[:, 0]
    x = _abscissae(means, deviations, view.weights, values)
    densities = view.weights * norm.pdf(x[:, None], means, deviations)  # (points, K)
    for k in range(len(means)):
        look = {"color": style.colour(k), "linestyle": style.line(k), "zorder": 2.2}
        ax.plot(x, densities[:, k], label=style.component_name(view.weights, k), **look)
    # Wider and behind the others, so that both are visible where one component is the whole mixture.
    ax.plot(x, densities.sum(1), color="black", linewidth=3.5, zorder=2.1, label="mixture")
    ax.set_ylim(bottom=0)


def _abscissae(means: np.ndarray, deviations: np.ndarray, weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return points at which to draw curves, dense wherever some component is narrow."""
    steps = np.linspace(-4, 4, POINTS_PER_COMPONENT)
    x = (means + steps[:, None] * deviations)[:, weights > 0].ravel()
    return np.unique(np.concatenate([x, [values.min(), values.max()]]) if values.size else x)
