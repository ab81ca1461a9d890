"""One picture of any mixture: the one that its number of features asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tgmm.plotting import style
from tgmm.plotting.one_feature import plot_histogram
from tgmm.plotting.profiles import plot_profiles
from tgmm.plotting.style import Model
from tgmm.plotting.two_features import plot_components

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(model: Model, X: Any = None, *, ax: Axes | None = None) -> Axes:
    """Draw a mixture by the picture that suits its number of features.

    One feature is drawn by `plot_histogram`, two by `plot_components`, and more by `plot_profiles`. Call these
    yourself for their options. For more than two features, see also `plot_pairs` and `plot_components`, which draws the
    two directions that separate the components best.

    Parameters
    ----------
    model : GaussianMixture or Mixture
        A fitted model.
    X : array-like or Tensor of shape (n, d), optional
        Rows to draw, such as those of the fit.
    ax : matplotlib Axes, optional
        Axes to draw on. By default a new figure is made.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> from tgmm.plotting import plot
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0, 0.0], [4.0, 4.0]], [1.0, 1.0], "spherical")
    >>> plot(gmm, [[0.0, 1.0], [4.0, 3.0]]).get_xlabel()
    'feature 0'
    """
    draw = {1: plot_histogram, 2: plot_components}.get(style.n_features(model), plot_profiles)
    return draw(model, X, ax=ax)
