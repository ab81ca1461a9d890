"""Pictures of several features: every pair of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tgmm.plotting import style
from tgmm.plotting.one_feature import draw_histogram
from tgmm.plotting.style import Model
from tgmm.plotting.two_features import LEVELS, draw_components, draw_density
from tgmm.plotting.view import View, feature_indices

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_FEATURES = 12


def plot_pairs(
    model: Model, X: Any = None, *, features: Sequence[int | str] | None = None, ax: Any = None
) -> np.ndarray:
    """Draw every pair of features: components and rows below the diagonal, density above, single features on it.

    Densities are of the components without noise. The legend has the weight of noise, where there is some.

    Parameters
    ----------
    model : GaussianMixture or Mixture
        A fitted model.
    X : array-like or Tensor of shape (n, d), optional
        Rows to draw in the colour of their most probable component. Noise that is so far away that it would squeeze
        the rest is left out; the legend says how many rows that concerns.
    features : sequence of int or str, optional
        The features to draw, by number or name. By default all of them.
    ax : ndarray of matplotlib Axes of shape (m, m), optional
        Axes to draw on. By default a new figure is made.

    Returns
    -------
    ndarray of matplotlib Axes of shape (m, m)

    Raises
    ------
    ValueError
        If there are more than 12 features, or if the axes have another shape.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> from tgmm.plotting import plot_pairs
    >>> means = [[0.0, 0.0, 0.0], [4.0, 4.0, 0.0]]
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], means, [1.0, 1.0], "spherical")
    >>> plot_pairs(gmm).shape
    (3, 3)
    """
    chosen = feature_indices(model, range(style.n_features(model)) if features is None else features)
    size = len(chosen)
    if not 1 <= size <= MOST_FEATURES:
        raise ValueError(f"plot_pairs draws 1 to {MOST_FEATURES} features; got {size}: choose some with features=.")
    grid = _grid(ax, size, style.n_components(model) + 3)
    rows, labels, name = None, None, ""
    if X is not None:
        rows, labels = style.rows_of(model, X), style.labels_of(model, X)
        shown = style.near_rows(rows[:, chosen], labels)
        rows, labels, name = rows[shown], labels[shown], style.data_name(shown)
    for (i, j), cell in np.ndenumerate(grid):
        view = View.of(model, [chosen[j]] if i == j else [chosen[j], chosen[i]])
        points = None if rows is None else view.coordinates(rows)
        cell.spines[["top", "right"]].set_visible(False)
        if i == j:
            draw_histogram(cell, view, None if points is None else points[:, 0], name)
            cell.set_yticks([])
        elif i > j:
            draw_components(cell, view, points, labels, LEVELS)
        else:
            draw_density(cell, view, points, "shading")
    names = style.feature_names(model)
    _tidy(grid, [style.plain(style.narrow(names[j])) for j in chosen])
    grid[0, 0].figure.align_labels(grid.flat)
    style.name_noise(grid[0, 0], model, "no curve", "" if rows is None or size == 1 else "x")
    _add_legend(grid)
    return grid


def _grid(ax: Any, size: int, n_entries: int) -> np.ndarray:
    """Return the axes to draw on: those given, or those of a new figure, with room for the legend."""
    plt = style.pyplot()
    if ax is None:
        side = 1.6 + 1.7 * size
        width = side + 1.4 + style.COLUMN * math.ceil(style.more_columns(n_entries, side))
        _, ax = plt.subplots(size, size, figsize=(width, side), squeeze=False, layout="constrained")
    grid = np.asarray(ax, dtype=object)
    if grid.shape != (size, size):
        raise ValueError(f"ax must be axes of shape ({size}, {size}), one for each pair; got shape {grid.shape}.")
    return grid


def _add_legend(grid: np.ndarray) -> None:
    """Put the legend of the single features to the right of all axes."""
    handles, texts = grid[0, 0].get_legend_handles_labels()
    figure = grid[0, 0].figure
    look = style.legend_look(len(handles), figure, style.TALL)
    figure.legend(handles, texts, loc="outside right upper", frameon=False, **look)


def _tidy(grid: np.ndarray, names: list[str]) -> None:
    """Give each feature the same range in all axes, and only the outer axes names and ticks."""
    size = len(names)
    for j in range(size):
        limits = np.array([grid[i, j].get_xlim() for i in range(size)])
        for i in range(size):
            grid[i, j].set_xlim(limits[:, 0].min(), limits[:, 1].max())
            if i != j:
                grid[j, i].set_ylim(limits[:, 0].min(), limits[:, 1].max())
    for (i, j), cell in np.ndenumerate(grid):
        cell.tick_params(labelbottom=i == size - 1, labelleft=j == 0)
        cell.set_xlabel(names[j] if i == size - 1 else "")
        cell.set_ylabel(names[i] if j == 0 else "")
