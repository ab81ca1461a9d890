"""`tgmm.MixtureImputer`: missing values filled in by a mixture fitted to what is there."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.base import OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from tgmm.estimators import explaining
from tgmm.estimators.composite import CompositeEstimator, checking, fitted_mixture, instead_of
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.nesting import fitted_model, fitted_state, part_of, prefixed, template_of, template_state
from tgmm.estimators.settings import EM
from tgmm.files.plain import State
from tgmm.mixture.summary import FEATURES, Summary, retitled


class MixtureImputer(OneToOneFeatureMixin, TransformerMixin, CompositeEstimator):
    """Fill in missing values by a Gaussian mixture.

    The mixture is fitted to all rows, including those with missing values. Each missing value is replaced by its
    expected value given the other values of its row. This assumes that values are missing at random: whether a value is
    missing may depend on the observed values, but not on the missing value itself.

    Parameters
    ----------
    estimator : GaussianMixture, optional
        The mixture to fit, ``GaussianMixture(3, random_state=0)`` by default. Its `missing` is set to "em". Use more
        components if the relations between features are not linear and you have many rows. Settings can be changed as
        ``estimator__n_components`` and so on.

    Attributes
    ----------
    estimator_ : GaussianMixture
        The fitted mixture. For multiple imputation, ``estimator_.impute(X, random_state=...)`` draws values instead.
    n_features_in_ : int
        Number of features of the training data.
    feature_names_in_ : ndarray of str
        Names of the features, if the training data had them.

    See Also
    --------
    GaussianMixture.impute : The same for a mixture that is already fitted.

    Notes
    -----
    Ghahramani & Jordan 1994 (NIPS 6); Little & Rubin 2019 (Statistical Analysis with Missing Data, 3rd edition).

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import GaussianMixture, MixtureImputer
    >>> X = np.array([[0.0, 0.1], [1.0, 0.9], [2.0, 2.1], [3.0, 2.9], [4.0, np.nan]])
    >>> MixtureImputer(GaussianMixture(1)).fit_transform(X)[-1].round(1)
    array([4. , 3.9])
    """

    _entries: ClassVar[dict[str, type]] = {}
    estimator_: GaussianMixture

    @checking
    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    @staticmethod
    def _default() -> GaussianMixture:
        """Return three components with full covariances."""
        return GaussianMixture(3, random_state=0)

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> MixtureImputer:
        """Fit the mixture to rows X.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            Rows with NaN for missing values.
        y : ignored
            Present for compatibility with scikit-learn.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows, not negative. A weight of 2 counts as the row twice.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If data or settings cannot be used, or if a column has no value at all.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import GaussianMixture, MixtureImputer
        >>> X = np.array([[0.0, 0.1], [1.0, 0.9], [2.0, 2.1], [3.0, np.nan]])
        >>> MixtureImputer(GaussianMixture(1)).fit(X).estimator_.means_.round(1)
        array([[1.5, 1.5]])
        """
        template = self._template
        if not isinstance(template, GaussianMixture):
            raise ValueError(f"estimator must be a tgmm.GaussianMixture; got {template!r}.{instead_of(template)}")
        self.estimator_ = fitted_mixture(clone(template).set_params(missing=EM), X, sample_weight)
        return self

    def transform(self, X: Any) -> Any:
        """Return X with its missing values replaced by their expected values.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, d)
            Rows with NaN for missing values.

        Returns
        -------
        array or Tensor of shape (n, d)
            In the type of X. Observed values are unchanged.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import GaussianMixture, MixtureImputer
        >>> X = np.array([[0.0, 0.1], [1.0, 0.9], [2.0, 2.1], [3.0, 2.9]])
        >>> MixtureImputer(GaussianMixture(1)).fit(X).transform([[np.nan, 5.0], [7.0, 7.0]]).round(0)
        array([[5., 5.],
               [7., 7.]])
        """
        check_is_fitted(self)
        return self.estimator_.impute(X)

    def summary(self, X: Any = None, *, sample_weight: Any = None, max_features: int | None = FEATURES) -> Summary:
        """Explain the fitted imputer: the mixture that missing values are predicted by.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d), optional
            Data to describe the mixture on; it may have missing values.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.
        max_features : int, default=6
            How many features to show at most, those in which the components differ most. None shows all of them.

        Returns
        -------
        Summary
            ``print`` it to read it as text; a notebook shows it as tables. ``to_frame()`` gives all numbers to pandas.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import GaussianMixture, MixtureImputer
        >>> X = np.array([[0.0, 0.1], [1.0, 0.9], [2.0, 2.1], [3.0, np.nan]])
        >>> MixtureImputer(GaussianMixture(1)).fit(X).summary(X).title
        'Imputation by a Gaussian mixture'
        """
        check_is_fitted(self)
        found = self.estimator_.summary(X, sample_weight=sample_weight, max_features=max_features)
        note = "A missing value is replaced by its expected value, given the other values of its row."
        return retitled(found, "Imputation by a Gaussian mixture", {}, [note])

    def _essentials(self) -> str:
        """Return what the fit of the mixture came to."""
        return explaining.essentials(self.estimator_)

    @property
    def n_features_in_(self) -> int:
        """The number of features of the training data."""
        check_is_fitted(self)
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> Any:
        """The names of the features, where the training data had them."""
        check_is_fitted(self)
        return self.estimator_.feature_names_in_

    def _content(self) -> tuple[State, list[str]]:
        """Return settings and the fitted mixture."""
        template, left_out = template_state(self.estimator)
        return {**template, **prefixed(fitted_state(self.estimator_), "estimator_")}, left_out

    def _become(self, state: State, device: Any) -> None:
        """Become the imputer of a state dict."""
        model = fitted_model(part_of(state, "estimator_"), device, type(self).__name__)
        self.estimator, self.estimator_ = template_of(state, (), device), model

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there was a fit."""
        return "estimator_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn is to know of the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
