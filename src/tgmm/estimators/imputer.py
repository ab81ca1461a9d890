"""`tgmm.MixtureImputer`: missing values filled in by a mixture fitted to what is there."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.base import OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from tgmm.estimators.composite import CompositeEstimator, fitted_mixture
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.nesting import fitted_model, fitted_state, part_of, prefixed, template_of, template_state
from tgmm.estimators.settings import EM
from tgmm.files.plain import State


class MixtureImputer(OneToOneFeatureMixin, TransformerMixin, CompositeEstimator):
    """Fill in missing values by a Gaussian mixture.

    The mixture is fitted to all rows, with whatever values they have; a missing value becomes what the mixture expects
    of it, given the others of its row. Values may be missing for reasons that the observed ones tell, but not for
    reasons that hang on the missing values themselves.

    Parameters
    ----------
    estimator : GaussianMixture, optional
        What to fit, ``GaussianMixture(3, random_state=0)`` where None; its settings are reached as
        ``estimator__n_components`` and so on. `missing` is set to "em". More components follow relations that are not
        linear, and need more rows.

    Attributes
    ----------
    estimator_ : GaussianMixture
        Fitted. ``estimator_.impute(X, random_state=...)`` draws values instead, for multiple imputation.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the training data had names.

    See Also
    --------
    GaussianMixture.impute : the same for a mixture that is fitted already.

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
            NaN where a value is missing.
        y : ignored
        sample_weight : array-like of shape (n,), optional
            Not negative; a weight of 2 equals the row twice.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable data or settings, and a column without any value.
        """
        template = self._template
        if not isinstance(template, GaussianMixture):
            raise ValueError(f"estimator must be a tgmm.GaussianMixture; got {template!r}.")
        self.estimator_ = fitted_mixture(clone(template).set_params(missing=EM), X, sample_weight)
        return self

    def transform(self, X: Any) -> Any:
        """Return X with expected values in the place of missing ones, (n, d), of the kind of X."""
        check_is_fitted(self)
        return self.estimator_.impute(X)

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
