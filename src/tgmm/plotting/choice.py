"""One picture of any model: the one that its kind and its number of features ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from tgmm.estimators.classifier import MixtureClassifier
from tgmm.estimators.imputer import MixtureImputer
from tgmm.estimators.outliers import MixtureOutlierDetector
from tgmm.estimators.regressor import MixtureRegressor
from tgmm.plotting import style
from tgmm.plotting.diagnostics import plot_selection
from tgmm.plotting.one_feature import plot_histogram
from tgmm.plotting.profiles import plot_profiles
from tgmm.plotting.style import Model
from tgmm.plotting.two_features import plot_components
from tgmm.selection import Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(
    model: Model | Selection | MixtureOutlierDetector | MixtureImputer, X: Any = None, *, ax: Axes | None = None
) -> Axes:
    """Draw a model by the picture that suits it.

    A mixture of one feature is drawn by `plot_histogram`, of two by `plot_components`, and of more by `plot_profiles`.
    Call these yourself for their options. For more than two features, see also `plot_pairs` and `plot_components`,
    which draws the two directions that separate the components best.

    Parameters
    ----------
    model : GaussianMixture, Mixture, MixtureOutlierDetector, MixtureImputer or Selection
        A fitted model. A detector and an imputer are drawn by their mixture. A selection is drawn by the criterion of
        its cells (`plot_selection`), or with `X` by its best model.
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
    if isinstance(model, Selection):
        if X is None:
            return plot_selection(model, ax=ax)
        model = model.best_
    model = _mixture_of(model)
    draw = {1: plot_histogram, 2: plot_components}.get(style.n_features(model), plot_profiles)
    return draw(model, X, ax=ax)


def _mixture_of(model: Any) -> Model:
    """Return the mixture to draw, or raise a ValueError that says which to give instead."""
    if isinstance(model, MixtureClassifier):
        raise ValueError(
            "model is a MixtureClassifier, which has a mixture for each class: draw one of them, for example "
            "plot(model.estimators_[0], X[y == model.classes_[0]])."
        )
    if isinstance(model, MixtureRegressor):
        raise ValueError(
            "model is a MixtureRegressor, whose mixture is of features and targets together: draw "
            "plot(model.estimator_, numpy.column_stack([X, y]))."
        )
    if isinstance(model, MixtureOutlierDetector | MixtureImputer):
        check_is_fitted(model)
        return model.estimator_
    return model
