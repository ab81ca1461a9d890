"""Diagnostic pictures: a selection, the progress of a fit, the probabilities of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tgmm.data.validation import as_batch_of_one
from tgmm.estimators.base import MixtureEstimator
from tgmm.mixture.base import as_mixture
from tgmm.plotting import style
from tgmm.plotting.style import Model
from tgmm.runtime.options import Criterion

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tgmm.selection import Cell, Selection

DECISIVE = 10  # a difference that counts as very strong (Kass & Raftery 1995, JASA 90)


def plot_selection(selection: Selection, *, criterion: Criterion | str | None = None, ax: Axes | None = None) -> Axes:
    """Draw a criterion against the number of components, with one curve for each covariance type.

    The best cell has a ring, degenerate cells are hollow, and cells that failed are missing. BIC, AIC and ICL are shown
    as differences from the best. The scale is linear up to 10, a decisive difference, and logarithmic beyond.

    Parameters
    ----------
    selection : Selection
        The result of `tgmm.select`.
    criterion : {"bic", "aic", "icl", "held_out"}, optional
        The criterion to draw. By default the one that the selection used.
    ax : matplotlib Axes, optional
        Axes to draw on. By default a new figure is made.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the criterion does not exist, or was not computed by `select`.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import select
    >>> from tgmm.plotting import plot_selection
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> ax = plot_selection(select(X, [1, 2], ["diag", "spherical"], random_state=0))
    >>> ax.get_ylabel()
    'BIC above its best, ... (lower is better)'
    """
    from matplotlib.ticker import MaxNLocator

    from tgmm.selection import CRITERIA, Selection, ranked

    if not isinstance(selection, Selection):
        raise ValueError(
            f"selection must be what tgmm.select returns; got a {type(selection).__name__}: draw it by plot."
        )
    criterion = criterion or selection.criterion
    if criterion not in CRITERIA:
        raise ValueError(f"criterion must be one of {list(CRITERIA)}; got {criterion!r}.")
    order = ranked(selection.cells, criterion)
    if not order:
        raise ValueError(f"criterion={criterion!r} was not computed: pass it to select.")
    ax = style.axes_or_new(ax)
    best, name = order[0], "held-out log-likelihood" if criterion == "held_out" else criterion.upper()
    top = getattr(best, criterion)
    base = 0.0 if CRITERIA[criterion] else top
    for i, structure in enumerate(dict.fromkeys(cell.structure for cell in selection.cells)):
        _draw_curve(ax, [c for c in selection.cells if c.structure == structure], criterion, base, i)
    if any(cell.status == "degenerate" for cell in order):
        ax.scatter([], [], facecolors="white", edgecolors=style.GREY, s=26, label="hollow: degenerate")
    ring = {"facecolors": "none", "edgecolors": "black", "s": 150, "linewidths": 1.5, "zorder": 3, "clip_on": False}
    ax.scatter(best.n_components, top - base, label=f"best: {best.structure}, {best.n_components}", **ring)
    ax.set_xlabel("number of components")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if CRITERIA[criterion]:
        ax.set_ylabel(f"{name} (higher is better)")
    else:
        ax.set_ylabel(f"{name} above its best, {top:.2f} (lower is better)")
        ax.set_yscale("symlog", linthresh=DECISIVE, linscale=1.0)
        ax.yaxis.set_major_formatter("{x:g}")
        low, high = ax.get_ylim()
        ax.set_ylim(min(-1.0, low), max(1.1 * DECISIVE, high))  # 0 and 10 are in view
    style.legend_outside(ax)
    return ax


def _draw_curve(ax: Axes, cells: list[Cell], criterion: str, base: float, i: int) -> None:
    """Draw the cells of the i-th structure, relative to `base`."""
    cells = sorted(cells, key=lambda cell: cell.n_components)
    counts, values = [c.n_components for c in cells], [getattr(c, criterion) - base for c in cells]
    faces = ["white" if c.status == "degenerate" else style.colour(i) for c in cells]
    points = {"edgecolors": style.colour(i), "marker": style.marker(i), "s": 26, "zorder": 2}
    ax.plot(counts, values, color=style.colour(i), linewidth=1.2, zorder=1)
    ax.scatter(counts, values, c=faces, label=cells[0].structure, **points)


def plot_history(model: MixtureEstimator, *, ax: Axes | None = None) -> Axes:
    """Draw the average objective after each iteration of the fit.

    Parameters
    ----------
    model : GaussianMixture
        A model that was fitted to data.
    ax : matplotlib Axes, optional
        Axes to draw on. By default a new figure is made.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the model has no history: a `Mixture`, or a model whose parameters were given.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import GaussianMixture
    >>> from tgmm.plotting import plot_history
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> gmm = GaussianMixture(2, random_state=0).fit(X)
    >>> ax = plot_history(gmm)
    >>> len(ax.lines[0].get_xdata()) == gmm.n_iter_ + 1
    True
    """
    from matplotlib.ticker import MaxNLocator

    if not isinstance(model, MixtureEstimator):
        kind = type(model).__name__
        raise ValueError(
            f"model must be a GaussianMixture or a BayesianGaussianMixture, which has a history; got a {kind}."
        )
    history = np.asarray(model.objective_history_)
    if not history.size:
        raise ValueError("The model has no history: its parameters were given, not fitted.")
    ax = style.axes_or_new(ax)
    end = "converged" if model.converged_ else "stopped before it converged"
    ax.plot(history, color=style.COLOURS[0], marker="." if history.size <= 50 else None)
    ax.set_title(f"{end}: {history[-1]:.4f}", loc="right", fontsize="medium")
    ax.set_xlabel("iteration")
    ax.set_ylabel("average objective (nats)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.ticklabel_format(axis="y", useOffset=False)
    return ax


def plot_responsibilities(model: Model, row: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the posterior probabilities of the components for one row as bars.

    Parameters
    ----------
    model : GaussianMixture or Mixture
        A fitted model.
    row : array-like or Tensor of shape (d,) or (1, d)
        The row. It can be a series, such as a row of a data frame.
    ax : matplotlib Axes, optional
        Axes to draw on. By default a new figure is made.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If `row` is not one row of the features of the model.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> from tgmm.plotting import plot_responsibilities
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> [round(float(bar.get_width()), 3) for bar in plot_responsibilities(gmm, [2.0]).patches]
    [0.5, 0.5]
    """
    rows = as_batch_of_one(row) if np.ndim(row) == 1 else row
    mixture = as_mixture(model, "model")
    mixture = mixture.changed(columns=mixture.columns.where_named(rows))
    probabilities = style.probabilities_of(mixture, rows)
    if len(probabilities) != 1:
        raise ValueError(f"row must be one row; got {len(probabilities)}.")
    weights = mixture.parameters.weights.cpu().numpy()
    ax = style.axes_or_new(ax, height=1.2 + 0.35 * len(weights))
    names = [style.component_name(weights, k) for k in range(len(weights))]
    colours = [style.colour(k) for k in range(len(weights))]
    if mixture.noise is not None:
        names, colours = [*names, "noise"], [*colours, style.GREY]
    bars = ax.barh(names, probabilities[0], color=colours)
    ax.bar_label(bars, labels=[style.shown(p) for p in probabilities[0]], padding=3)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
    ax.set_xlabel("posterior probability")
    return ax
