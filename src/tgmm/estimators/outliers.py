"""Outliers: the rows that a mixture finds least probable."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.mixture.evaluation import weighted_log_density
from tgmm.runtime.checks import check_flag, check_number


class MixtureOutlierDetector(OutlierMixin, BaseEstimator):
    """Detect outliers as the rows of lowest density under a Gaussian mixture.

    Parameters
    ----------
    contamination : float, default=0.05
        The share of the training data (by weight) that is to be outlying, in (0, 0.5].
    **parameters
        Those of `GaussianMixture`, by name.

    Attributes
    ----------
    mixture_ : GaussianMixture
        The mixture fitted to all rows, outliers among them.
    offset_ : float
        The log-density below which a row is an outlier, in nats.
    n_iter_ : int
        M-steps of the mixture's fit.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the training data named its columns.

    Notes
    -----
    Density level sets: Hartigan 1987 (JASA 82).

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import MixtureOutlierDetector
    >>> X = np.append(np.linspace(-1, 1, 99), 20.0)[:, None]
    >>> detector = MixtureOutlierDetector(contamination=0.01, random_state=0).fit(X)
    >>> detector.predict([[0.5], [20.0]])
    array([ 1, -1])
    """

    warm_start: bool
    distributed: bool

    def __init__(self, contamination: float = 0.05, **parameters: Any) -> None:
        self.contamination = contamination
        for name, value in GaussianMixture(**parameters).get_params(deep=False).items():
            setattr(self, name, value)

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> MixtureOutlierDetector:
        """Fit the mixture to rows X, and find the log-density that `contamination` of them do not reach.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, d)
        y : ignored
        sample_weight : array-like of shape (n,), optional
            Not negative; a weight of 2 equals the row twice.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable data or settings.
        """
        contamination = check_number(self.contamination, "contamination")
        if not 0 < contamination <= 0.5:
            raise ValueError(f"contamination must be a share in (0, 0.5]; got {self.contamination!r}.")
        if check_flag(self.distributed, "distributed"):
            raise ValueError(
                "distributed=True: offset_ would be that of one rank's rows. Fit a GaussianMixture with it, and take a "
                "quantile of score_samples."
            )
        continued = self.warm_start and hasattr(self, "mixture_")
        mixture = self.mixture_ if continued else GaussianMixture()
        mixture.set_params(**{name: getattr(self, name) for name in mixture.get_params(deep=False)})
        self.mixture_ = mixture.fit(X, sample_weight=sample_weight)
        scores, weights = weighted_log_density(mixture.mixture_, X, sample_weight)
        self.offset_ = _quantile(scores, weights, contamination)
        return self

    def score_samples(self, X: Any) -> Any:
        """Return the log-density of each row, (n,), in nats: the higher, the more normal."""
        check_is_fitted(self)
        return self.mixture_.score_samples(X)

    def decision_function(self, X: Any) -> Any:
        """Return by how much each row's log-density exceeds `offset_`, (n,): outliers are below 0."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Any:
        """Return 1 for normal rows and -1 for outliers, (n,)."""
        return 2 * (self.decision_function(X) >= 0) - 1

    @property
    def n_iter_(self) -> int:
        """M-steps of the mixture's fit."""
        return self.mixture_.n_iter_

    @property
    def n_features_in_(self) -> int:
        """The number of features of the training data."""
        return self.mixture_.n_features_in_

    @property
    def feature_names_in_(self) -> Any:
        """The names of the features, where the training data had them."""
        return self.mixture_.feature_names_in_


# scikit-learn, and those who ask for help, read the parameters off the signature.
MixtureOutlierDetector.__init__.__signature__ = inspect.Signature(
    [
        *list(inspect.signature(MixtureOutlierDetector.__init__).parameters.values())[:2],
        *(
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(GaussianMixture).parameters.values()
        ),
    ]
)


def _quantile(scores: Tensor, weights: Tensor, share: float) -> float:
    """Return a threshold with this share of the weight below it, or as much less as whole rows allow.

    It lies halfway between the rows on either side, so that rounding does not move a row across.
    """
    order = scores.argsort()
    order = order[weights[order] > 0]
    cumulative = weights[order].cumsum(0)
    # Shares such as 3 / 10 of 10 rows mean 3 of them, in spite of rounding.
    target = share * cumulative[-1] * (1 + 1e-12)
    first = int(torch.searchsorted(cumulative, target, right=True))
    return float(scores[order[[max(first - 1, 0), first]]].mean())
