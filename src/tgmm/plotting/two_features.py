"""Pictures of two features: points, ellipses and density."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tgmm.plotting import style
from tgmm.plotting.style import Model
from tgmm.plotting.view import Regions, View, ellipse
from tgmm.runtime.checks import is_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

LEVELS = (0.5, 0.95)  # the shares of a component that its ellipses contain
REGIONS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)  # the shares of the mixture that contours contain
GRID = 200
SMALLEST, LARGEST = 6.0, 150.0  # areas of points with no and with the greatest uncertainty


def plot_components(
    model: Model,
    X: Any = None,
    *,
    features: Sequence[int | str] | None = None,
    levels: Sequence[float] = LEVELS,
    ax: Axes | None = None,
) -> Axes:
    """Draw each component's mean and ellipses, and rows in the colour of their most probable component.

    Parameters
    ----------
    model : GaussianMixture or Mixture
        A fitted model of two or more features.
    X : array-like or Tensor of shape (n, d), optional
        Rows to draw. Noise that is so far away that it would squeeze the rest is left out of the picture; the legend
        says how many rows this concerns.
    features : pair of int or str, optional
        The two features to draw, by number or name. By default these are the two features of the model or, if it has
        more, the first two discriminant directions, which separate the components best. The unit of these is the
        standard deviation within components.
    levels : sequence of float, default=(0.5, 0.95)
        Shares of each component that its ellipses contain, seen in these two dimensions.
    ax : matplotlib Axes, optional
        Axes to draw on. By default a new figure is made.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If there are fewer than two features, if a feature does not exist, if a level is not between 0 and 1, or if the
        rows cannot be used.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> from tgmm.plotting import plot_components
    >>> gmm = GaussianMixture.from_parameters([0.3, 0.7], [[0.0, 0.0], [4.0, 4.0]], [1.0, 2.0], "spherical")
    >>> ax = plot_components(gmm, [[0.0, 1.0], [4.0, 3.0]])
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['component 0 (30%)', 'component 1 (70%)', 'holds 50%', 'holds 95%']
    """
    view, levels = _plane(model, features), _checked_levels(levels)
    ax = style.axes_or_new(ax, n_entries=len(view.weights) + len(levels))
    labels = None if X is None else style.labels_of(model, X)
    rows = None if X is None else view.rows(model, X)
    draw_components(ax, view, rows, labels, levels)
    if rows is not None and labels is not None:
        _focus(ax, rows[labels != -1], rows[labels == -1])
    _label(ax, view)
    style.legend_outside(ax, handles=[*_component_handles(view), *_ellipse_handles(levels), *_noise_handles(ax)])
    return ax


def plot_uncertainty(
    model: Model, X: Any, *, features: Sequence[int | str] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw rows in the colour of their most probable component, with larger points for less certain rows.

    The area of a point grows with its uncertainty: 1 minus the largest posterior probability, between 0 and 1 - 1/K.

    Parameters
    ----------
    model, features, ax
        As in `plot_components`.
    X : array-like or Tensor of shape (n, d)
        Rows to draw.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If there are fewer than two features, if a feature does not exist, or if the rows cannot be used.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> from tgmm.plotting import plot_uncertainty
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0, 0.0], [4.0, 4.0]], [1.0, 1.0], "spherical")
    >>> ax = plot_uncertainty(gmm, [[0.0, 0.0], [1.9, 2.0], [4.0, 4.0]])
    >>> sizes = [points.get_sizes().max() for points in ax.collections]
    >>> bool(sizes[0] > 10 * sizes[1])
    True
    """
    view = _plane(model, features)
    ax = style.axes_or_new(ax, n_entries=len(view.weights) + 5)
    rows = view.rows(model, X)
    probabilities = style.probabilities_of(model, X)  # (n, K)
    labels, uncertainty = probabilities.argmax(1), 1 - probabilities.max(1)
    for k in range(view.weights.shape[0]):
        own = labels == k
        ax.scatter(
            *rows[own].T,
            s=_area(uncertainty[own], view),
            color=style.colour(k),
            marker=style.marker(k),
            alpha=0.6,
            linewidths=0,
        )
    is_noise = labels == len(view.weights)
    style.draw_noise(ax, rows[is_noise])
    draw_components(ax, view, None, None, LEVELS[:1])
    _focus(ax, rows[~is_noise], rows[is_noise])
    _label(ax, view)
    handles = [*_component_handles(view), *_ellipse_handles(LEVELS[:1]), *_size_handles(view), *_noise_handles(ax)]
    style.legend_outside(ax, handles=handles, labelspacing=0.8)
    return ax


def plot_density(
    model: Model,
    X: Any = None,
    *,
    features: Sequence[int | str] | None = None,
    kind: Literal["contour", "shading"] = "contour",
    ax: Axes | None = None,
) -> Axes:
    """Draw the density of the mixture: the regions of highest density that contain 10% to 99% of it, without noise.

    Parameters
    ----------
    model, features, ax
        As in `plot_components`.
    X : array-like or Tensor of shape (n, d), optional
        Rows to draw. Noise that is so far away that it would squeeze the rest is left out; a title says how many rows
        that concerns.
    kind : {"contour", "shading"}, default="contour"
        Draw lines, or shades with a scale.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If `kind` is another one, if there are fewer than two features, if a feature does not exist, or if the rows
        cannot be used.

    Notes
    -----
    Regions of highest density: Hyndman 1996, The American Statistician 50.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> from tgmm.plotting import plot_density
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0, 0.0], [4.0, 4.0]], [1.0, 1.0], "spherical")
    >>> ax = plot_density(gmm, kind="shading")
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('feature 0', 'feature 1')
    """
    if kind not in ("contour", "shading"):
        raise ValueError(f"kind must be 'contour' or 'shading'; got {kind!r}.")
    view = _plane(model, features)
    ax = style.axes_or_new(ax)
    rows = None if X is None else _near_rows(ax, model, view.rows(model, X), X)
    drawn = draw_density(ax, view, rows, kind)
    if rows is not None:
        ax.scatter(*rows.T, color="0.15", marker="o", zorder=2, **style.point_style(len(rows)) | {"s": 5})
    if kind == "shading":
        bar = ax.figure.colorbar(drawn, ax=ax, label="share of the mixture inside", spacing="uniform")
        bar.set_ticks(REGIONS, labels=[f"{share:.0%}" for share in REGIONS])
    else:
        ax.clabel(drawn, fmt=lambda share: f"{share:.0%}", fontsize=7)
    _label(ax, view)
    return ax


def draw_components(
    ax: Axes, view: View, rows: np.ndarray | None, labels: np.ndarray | None, levels: Sequence[float]
) -> None:
    """Draw labelled rows (n, 2), and the means and ellipses of a view."""
    from matplotlib.patches import Ellipse
    from matplotlib.patheffects import withStroke

    on_points = [withStroke(linewidth=3.5, foreground="white", alpha=0.8)]  # visible on points of the same colour, too
    for k in range(view.weights.shape[0]):
        if rows is not None and labels is not None:
            points = {"color": style.colour(k), "marker": style.marker(k), **style.point_style(len(rows))}
            ax.scatter(*rows[labels == k].T, zorder=2, **points)
        if view.weights[k] == 0:
            continue
        x, y = view.means[k]
        for level, line in zip(levels, _line_styles(levels), strict=True):
            width, height, angle = ellipse(view.covariances[k], level)
            outline = {
                "edgecolor": style.colour(k),
                "facecolor": "none",
                "linestyle": line,
                "linewidth": 1.5,
                "path_effects": on_points,
            }
            ax.add_patch(Ellipse((x, y), width, height, angle=angle, zorder=3, **outline))
        ax.plot(x, y, marker="+", color="black", markersize=8, markeredgewidth=1.5, zorder=4)
    if rows is not None and labels is not None:
        style.draw_noise(ax, rows[labels == -1])
    ax.autoscale_view()


def _focus(ax: Axes, rows: np.ndarray, noise: np.ndarray) -> None:
    """Leave noise (m, 2) outside the axes that would squeeze the other rows (n, 2) and the ellipses, and say so."""
    ellipses = [patch.get_path().get_extents(patch.get_patch_transform()) for patch in ax.patches]
    inner = [*(box.get_points() for box in ellipses), rows[~np.isnan(rows).any(1)]]
    if not len(noise) or not sum(map(len, inner)):
        return
    low, high = style.room(np.concatenate(inner))
    outside = int(((noise < low) | (noise > high)).any(1).sum())
    if outside:
        ax.set_xlim(max(ax.get_xlim()[0], low[0]), min(ax.get_xlim()[1], high[0]))
        ax.set_ylim(max(ax.get_ylim()[0], low[1]), min(ax.get_ylim()[1], high[1]))
        for points in _noise_handles(ax):
            points.set_label(f"noise ({outside} of {len(noise)} outside)")


def _noise_handles(ax: Axes) -> list[Any]:
    """Return the legend entry of noise, if there is some."""
    return [points for points in ax.collections if str(points.get_label()).startswith("noise")]


def _near_rows(ax: Axes, model: Model, rows: np.ndarray, X: Any) -> np.ndarray:
    """Return the coordinates (n, 2) of the rows of X that are no far noise, and say in a title if that is not all."""
    shown = style.near_rows(rows, style.labels_of(model, X))
    if not shown.all():
        ax.set_title(style.data_name(shown), loc="right", fontsize="medium")
    return rows[shown]


def draw_density(ax: Axes, view: View, rows: np.ndarray | None, kind: str) -> Any:
    """Draw the regions of highest density of a view around its components and rows (n, 2)."""
    regions = Regions(view.mixture())
    low, high = regions.box(REGIONS[-1])
    if rows is not None:
        low, high = np.fmin(low, np.fmin.reduce(rows)), np.fmax(high, np.fmax.reduce(rows))
    x, y = np.meshgrid(*np.linspace(low, high, GRID).T)
    shares = regions.shares(np.column_stack([x.ravel(), y.ravel()])).reshape(x.shape)
    if kind == "contour":
        return ax.contour(x, y, shares, levels=REGIONS, cmap="viridis", vmax=1.1, linewidths=1.1, zorder=1)
    shades = ax.contourf(x, y, shares, levels=[0, *REGIONS], cmap="Blues_r", vmin=-0.2, zorder=0)
    ax.contour(x, y, shares, levels=REGIONS, colors="white", linewidths=0.4, zorder=1)
    return shades


def _plane(model: Model, features: Sequence[int | str] | None) -> View:
    """Return a view of two dimensions, or raise a ValueError."""
    view = View.of(model, features)
    if len(view.names) != 2:
        wanted = "the model has one feature" if features is None else f"features={list(features)!r}"
        raise ValueError(f"This picture needs two features, but {wanted}: use plot_histogram, or choose two.")
    return view


def _checked_levels(levels: Any) -> list[float]:
    """Return shares above 0 and below 1, or raise a ValueError that says how to write them."""
    listed = levels.tolist() if hasattr(levels, "tolist") else levels
    shares = list(listed) if isinstance(listed, list | tuple) else [listed]
    if not all(is_number(share) and 0 < share < 1 for share in shares):
        raise ValueError(f"levels must be shares above 0 and below 1, such as 0.95 for 95%; got {levels!r}.")
    if not isinstance(listed, list | tuple):
        raise ValueError(f"levels must be a sequence of shares; got {levels!r}: write [{levels!r}].")
    return shares


def _label(ax: Axes, view: View) -> None:
    ax.set_xlabel(view.names[0])
    ax.set_ylabel(view.names[1])


def _line_styles(levels: Sequence[float]) -> list[Any]:
    """Return a line style for each level: solid, dashed, dotted, and so on."""
    return [("-", "--", ":", "-.")[i % 4] for i in range(len(levels))]


def _area(uncertainty: np.ndarray, view: View) -> np.ndarray:
    """Return the areas of points, in points squared."""
    greatest = 1 - 1 / max(view.weights.shape[0], 2)
    return SMALLEST + (LARGEST - SMALLEST) * uncertainty / greatest


def _component_handles(view: View) -> list[Any]:
    from matplotlib.lines import Line2D

    names = [style.component_name(view.weights, k) for k in range(len(view.weights))]
    return [
        Line2D([], [], color=style.colour(k), marker=style.marker(k), linestyle="none", label=name)
        for k, name in enumerate(names)
    ]


def _ellipse_handles(levels: Sequence[float]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=style.GREY, linestyle=line, label=f"holds {level:.0%}")
        for level, line in zip(levels, _line_styles(levels), strict=True)
    ]


def _size_handles(view: View) -> list[Any]:
    from matplotlib.lines import Line2D

    greatest = 1 - 1 / max(view.weights.shape[0], 2)
    common = {"color": style.GREY, "marker": "o", "markeredgewidth": 0, "linestyle": "none"}
    return [
        Line2D([], [], markersize=float(np.sqrt(_area(np.array(u), view))), label=f"uncertainty {u:.2g}", **common)
        for u in (0.0, greatest / 2, greatest)
    ]
