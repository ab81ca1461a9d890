"""A display object for the pictures of a mixture, as in scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tgmm.plotting.grid import plot_pairs
from tgmm.plotting.one_feature import plot_histogram
from tgmm.plotting.profiles import plot_profiles
from tgmm.plotting.style import Model, n_features
from tgmm.plotting.two_features import plot_components, plot_density, plot_uncertainty

Kind = Literal["components", "uncertainty", "density", "histogram", "pairs", "profiles"]
KINDS: dict[str, Callable[..., Any]] = {
    "components": plot_components,
    "uncertainty": plot_uncertainty,
    "density": plot_density,
    "histogram": plot_histogram,
    "pairs": plot_pairs,
    "profiles": plot_profiles,
}


class MixtureDisplay:
    """A picture of a fitted mixture that can be drawn again, as scikit-learn's displays can.

    Parameters
    ----------
    estimator : GaussianMixture or Mixture
        A fitted model.
    X : array-like or Tensor of shape (n, d), or None
        Rows to draw.
    kind : {"components", "uncertainty", "density", "histogram", "pairs", "profiles"}
        Kind of picture. The function ``plot_<kind>`` draws it.

    Attributes
    ----------
    ax_ : matplotlib Axes, or ndarray of them for "pairs"
        The axes that were last drawn on.
    figure_ : matplotlib Figure
        Their figure.

    Raises
    ------
    ValueError
        If there is no such kind of picture.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> from tgmm.plotting import MixtureDisplay
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0, 0.0], [4.0, 4.0]], [1.0, 1.0], "spherical")
    >>> display = MixtureDisplay.from_estimator(gmm, [[0.0, 1.0], [4.0, 3.0]])
    >>> display.ax_.get_xlabel()
    'feature 0'
    """

    def __init__(self, estimator: Model, X: Any, *, kind: Kind) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}; got {kind!r}.")
        self.estimator, self.X, self.kind = estimator, X, kind

    @classmethod
    def from_estimator(
        cls, estimator: Model, X: Any = None, *, kind: Kind | None = None, ax: Any = None, **settings: Any
    ) -> MixtureDisplay:
        """Draw a fitted mixture, and rows if you give them.

        Parameters
        ----------
        estimator : GaussianMixture or Mixture
            A fitted model.
        X : array-like or Tensor of shape (n, d), optional
            Rows to draw.
        kind : str, optional
            Kind of picture. By default "histogram" for one feature, otherwise "components".
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **settings
            Other arguments of the function that draws, such as `features` or `levels`.

        Returns
        -------
        MixtureDisplay

        Raises
        ------
        ValueError
            If the model or the rows cannot be drawn as this kind of picture.

        Examples
        --------
        >>> from tgmm import GaussianMixture
        >>> from tgmm.plotting import MixtureDisplay
        >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0, 0.0], [4.0, 4.0]], [1.0, 1.0], "spherical")
        >>> display = MixtureDisplay.from_estimator(gmm, kind="histogram", feature=1)
        >>> display.ax_.get_xlabel()
        'feature 1'
        """
        if kind is None:
            kind = "histogram" if n_features(estimator) == 1 else "components"
        return cls(estimator, X, kind=kind).plot(ax=ax, **settings)

    def plot(self, *, ax: Any = None, **settings: Any) -> MixtureDisplay:
        """Draw the picture, or draw it again.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Axes to draw on. By default a new figure is made.
        **settings
            Other arguments of the function that draws, such as `features` or `levels`.

        Returns
        -------
        self

        Examples
        --------
        >>> from tgmm import GaussianMixture
        >>> from tgmm.plotting import MixtureDisplay
        >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0, 0.0], [4.0, 4.0]], [1.0, 1.0], "spherical")
        >>> display = MixtureDisplay(gmm, None, kind="components")
        >>> display.plot(levels=[0.9]).figure_ is display.ax_.figure
        True
        """
        self.ax_ = KINDS[self.kind](self.estimator, self.X, ax=ax, **settings)
        self.figure_ = np.ravel(self.ax_)[0].figure
        return self
