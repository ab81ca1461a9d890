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
    """Detect outliers as the rows with the lowest density under a Gaussian mixture.

    Use it if normal rows form one or several clusters, and outliers are the rows that no cluster explains.

    Parameters
    ----------
    contamination : float, default=0.05
        Share of the training rows to call outliers, in (0, 0.5]. Set it to the share that you expect.
    **parameters
        Parameters of `GaussianMixture`, by name, such as ``n_components=3``.

    Attributes
    ----------
    mixture_ : GaussianMixture
        The mixture, fitted to all rows including the outliers. ``mixture_.summary()`` explains it.
    offset_ : float
        Log-density in nats below which a row is an outlier.
    n_iter_ : int
        Number of EM iterations of the fit.
    n_features_in_ : int
        Number of features of the training data.
    feature_names_in_ : ndarray of str
        Names of the features, if the training data had them.

    See Also
    --------
    GaussianMixture : With ``noise=True``, outliers do not influence the fit of the clusters.

    Notes
    -----
    Normal rows lie in a level set of the density (Hartigan 1987, JASA 82).

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
        """Fit the mixture to X, and set the threshold `offset_` so that `contamination` of the rows are outliers.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, d)
            The rows to learn from.
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
            If data or settings cannot be used.
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
        """Return the log-density of each row, (n,), in nats. Higher is more normal."""
        check_is_fitted(self)
        return self.mixture_.score_samples(X)

    def decision_function(self, X: Any) -> Any:
        """Return the log-density of each row minus `offset_`, (n,). Outliers are below 0."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Any:
        """Return 1 for normal rows and -1 for outliers, (n,)."""
        return 2 * (self.decision_function(X) >= 0) - 1

    @property
    def n_iter_(self) -> int:
        """Number of EM iterations of the fit."""
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
