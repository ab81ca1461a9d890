"""One figure for a selection: the best model, and the criteria it was chosen by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgmm.mixture.base import as_mixture
from tgmm.plotting import style
from tgmm.plotting.diagnostics import plot_selection
from tgmm.plotting.display import MixtureDisplay
from tgmm.plotting.style import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tgmm.selection import Selection


def plot_fit(selection: Selection | Model, X: Any = None) -> Figure:
    """Draw the best model of a selection, and beside it the criterion of all cells if there are several.

    Parameters
    ----------
    selection : Selection, or a fitted GaussianMixture or Mixture
        The result of `tgmm.select`, or the model to draw.
    X : array-like or Tensor of shape (n, d), optional
        Rows to draw.

    Returns
    -------
    matplotlib Figure

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import select
    >>> from tgmm.plotting import plot_fit
    >>> X = np.random.default_rng(0).normal(size=(100, 2))
    >>> figure = plot_fit(select(X, [1, 2], "diag", random_state=0), X)
    >>> [ax.get_xlabel() for ax in figure.axes]
    ['feature 0', 'number of components']
    """
    from tgmm.selection import Selection

    model = selection.best_ if isinstance(selection, Selection) else selection
    as_mixture(model, "selection")
    several = isinstance(selection, Selection) and len(selection.cells) > 1
    figure = style.pyplot().figure(figsize=(12.5 if several else 6.8, 4.6), layout="constrained")
    axes = figure.subplots(1, 2 if several else 1, squeeze=False)[0]
    MixtureDisplay.from_estimator(model, X, ax=axes[0])
    if isinstance(selection, Selection) and several:
        plot_selection(selection, ax=axes[1])
    return figure
