"""Outliers: the rows that a mixture finds least probable."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import torch
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.estimators import explaining
from tgmm.estimators.explained import ExplainedEstimator
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.hints import hinting
from tgmm.estimators.nesting import fitted_model, fitted_state, part_of, prefixed, template_of, template_state
from tgmm.estimators.saved import SavedEstimator
from tgmm.files.plain import State
from tgmm.mixture.comparable import comparable_log_density
from tgmm.mixture.densities import Predictor
from tgmm.mixture.evaluation import evaluated, weighted
from tgmm.mixture.mixture import Mixture
from tgmm.mixture.summary import FEATURES, Summary, retitled
from tgmm.runtime.checks import check_flag, is_number
from tgmm.runtime.frozen import replace

SAME = 1e-6  # relative difference of the scores of copies of a row, which rounding makes


class MixtureOutlierDetector(OutlierMixin, SavedEstimator, ExplainedEstimator):
    """Detect outliers as the rows with the lowest density under a Gaussian mixture.

    Use it if normal rows form one or several clusters, and outliers are the rows that no cluster explains.

    Parameters
    ----------
    contamination : float, default=0.05
        Share of the training rows to call outliers, in (0, 0.5]. Set it to the share that you expect. It is not the
        rate of false alarms among new rows, which is higher.
    **parameters
        Parameters of `GaussianMixture`, by name, such as ``n_components=3``. With ``noise=True``, outliers hardly
        distort the clusters.

    Attributes
    ----------
    estimator_ : GaussianMixture
        The mixture, fitted to all rows including the outliers.
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
    GaussianMixture : With ``noise=True``, outliers hardly influence the fit of the clusters.

    Notes
    -----
    Normal rows lie in a level set of the density (Hartigan 1987, JASA 82).

    Outliers that are far away, or close together, can attract a component, and are then not found. Fit with
    ``noise=True`` where that is possible.

    With ``missing="em"``, rows can lack values. The density of the observed values cannot be compared between such
    rows: it has fewer dimensions than that of a complete row, and depends on the units of the features that are
    observed. A row with gaps therefore gets the log-density of a complete row that is equally far out. This is the row
    whose distance from each component is exceeded by the same share of the rows of that component, according to the
    chi-square distribution. The same share of normal rows then lies below the threshold, whatever values they lack.
    This is exact for one component. For several components the share is smaller if the observed values do not show
    which component a row belongs to.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import MixtureOutlierDetector
    >>> X = np.append(np.linspace(-1, 1, 99), 20.0)[:, None]
    >>> detector = MixtureOutlierDetector(contamination=0.01, random_state=0).fit(X)
    >>> detector.predict([[0.5], [20.0]])
    array([ 1, -1])
    """

    _entries: ClassVar = {"contamination": float, "offset_": float}
    estimator_: GaussianMixture
    offset_: float
    warm_start: bool
    distributed: bool

    @hinting
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

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import MixtureOutlierDetector
        >>> X = np.append(np.linspace(-1, 1, 18), [9.0, -9.0])[:, None]
        >>> detector = MixtureOutlierDetector(contamination=0.1, random_state=0).fit(X)
        >>> int((detector.predict(X) == -1).sum())
        2
        """
        contamination = _check_contamination(self.contamination)
        if check_flag(self.distributed, "distributed"):
            raise ValueError(
                "distributed=True is not supported: offset_ would come from the rows of one rank. Fit a "
                "GaussianMixture with it, and take a quantile of score_samples."
            )
        continued = self.warm_start and hasattr(self, "estimator_")
        mixture = self.estimator_ if continued else GaussianMixture()
        mixture.set_params(**self._settings())
        self.estimator_ = mixture.fit(X, sample_weight=sample_weight)
        scores, weights = weighted(comparable_log_density, mixture.mixture_, X, sample_weight)
        self.offset_ = _quantile(scores, weights, contamination)
        return self

    def score_samples(self, X: Any) -> Any:
        """Return the log-density of each row. Higher is more normal.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            The rows, as `GaussianMixture.fit` accepts them.

        Returns
        -------
        array or Tensor of shape (n,)
            In nats. A row that lacks values has the log-density of complete rows that are as far from the components.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import MixtureOutlierDetector
        >>> detector = MixtureOutlierDetector(random_state=0).fit(np.linspace(-1, 1, 100)[:, None])
        >>> scores = detector.score_samples([[0.0], [0.5], [3.0]])
        >>> scores.argsort().tolist()
        [2, 1, 0]
        """
        check_is_fitted(self)
        return evaluated(self._judge, X, comparable_log_density)

    def decision_function(self, X: Any) -> Any:
        """Return the log-density of each row minus `offset_`.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            The rows, as `GaussianMixture.fit` accepts them.

        Returns
        -------
        array or Tensor of shape (n,)
            In nats; below 0 for outliers. The lower, the less normal.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import MixtureOutlierDetector
        >>> detector = MixtureOutlierDetector(random_state=0).fit(np.linspace(-1, 1, 100)[:, None])
        >>> detector.decision_function([[0.0], [0.5], [3.0]]) < 0
        array([False, False,  True])
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Any:
        """Return which rows are outliers.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d)
            The rows, as `GaussianMixture.fit` accepts them.

        Returns
        -------
        array or Tensor of shape (n,)
            1 for normal rows and -1 for outliers.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import MixtureOutlierDetector
        >>> detector = MixtureOutlierDetector(random_state=0).fit(np.linspace(-1, 1, 100)[:, None])
        >>> detector.predict([[0.0], [0.5], [3.0]])
        array([ 1,  1, -1])
        """
        check_is_fitted(self)

        def labels(predictor: Predictor, rows: Tensor) -> Tensor:
            return torch.where(comparable_log_density(predictor, rows) - self.offset_ >= 0, 1, -1)

        return evaluated(self._judge, X, labels)

    def summary(self, X: Any = None, *, sample_weight: Any = None, max_features: int | None = FEATURES) -> Summary:
        """Explain the fitted detector: its threshold, and the mixture that describes the rows.

        Parameters
        ----------
        X : array-like, Tensor or source of shape (n, d), optional
            Data to describe the detector on. With it, the summary also has the number of outliers.
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
        >>> from tgmm import MixtureOutlierDetector
        >>> X = np.linspace(-1, 1, 100)[:, None]
        >>> facts = MixtureOutlierDetector(contamination=0.1, random_state=0).fit(X).summary(X).facts
        >>> facts["Contamination"], facts["Outliers"]
        (0.1, 10.0)
        """
        check_is_fitted(self)
        facts: dict[str, Any] = {"Contamination": self.contamination, "Threshold": self.offset_}
        if X is not None:
            scores, weights = weighted(comparable_log_density, self._judge, X, sample_weight)
            facts["Outliers"] = float(weights[scores < self.offset_].sum())
        found = self.estimator_.summary(X, sample_weight=sample_weight, max_features=max_features)
        note = "Rows with a log-density below the threshold are outliers."
        return retitled(found, "Outlier detection by a Gaussian mixture", facts, [note])

    def _essentials(self) -> str:
        """Return the threshold, and what the fit of the mixture came to."""
        return f"{explaining.essentials(self.estimator_)}\nOutliers: rows with a log-density below {self.offset_:.6g}."

    def _settings(self) -> dict[str, Any]:
        """Return the settings of the mixture."""
        return {name: value for name, value in self.get_params(deep=False).items() if name != "contamination"}

    def _content(self) -> tuple[State, list[str]]:
        """Return settings, threshold and the fitted mixture."""
        template, left_out = template_state(GaussianMixture(**self._settings()))
        own = {"contamination": _check_contamination(self.contamination), "offset_": float(self.offset_)}
        state = {**template, **own, **prefixed(fitted_state(self.estimator_), "mixture_")}
        return state, [name.removeprefix("estimator__") for name in left_out]

    def _become(self, state: State, device: Any) -> None:
        """Become the detector of a state dict."""
        model = fitted_model(part_of(state, "mixture_"), device, type(self).__name__)
        template, offset = template_of(state, (), device), state["offset_"]
        if not isinstance(template, GaussianMixture):
            raise ValueError("estimator must be the settings of one mixture.")
        if offset != offset:
            raise ValueError("offset_ must be a number; it is NaN.")
        self.set_params(contamination=_check_contamination(state["contamination"]), **template.get_params(deep=False))
        self.estimator_, self.offset_ = model, offset

    @property
    def _judge(self) -> Mixture:
        """The fitted mixture under the detector's name, by which errors call what rows do not fit to."""
        return self.estimator_.mixture_.derived(_called, type(self).__name__)

    @property
    def n_iter_(self) -> int:
        """Number of EM iterations of the fit."""
        return self.estimator_.n_iter_

    @property
    def n_features_in_(self) -> int:
        """The number of features of the training data."""
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self) -> Any:
        """The names of the features, where the training data had them."""
        return self.estimator_.feature_names_in_


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


def _called(mixture: Mixture, owner: str) -> Mixture:
    """Return the mixture with another owner of its columns."""
    return mixture.changed(columns=replace(mixture.columns, owner=owner))


def _check_contamination(given: Any) -> float:
    """Return the share of outliers, or raise a ValueError."""
    if not is_number(given) or not 0 < given <= 0.5:
        hint = " It is not estimated from the rows: give the share that you expect." * isinstance(given, str)
        raise ValueError(f"contamination must be a share in (0, 0.5]; got {given!r}.{hint}")
    return float(given)


def _quantile(scores: Tensor, weights: Tensor, share: float) -> float:
    """Return a threshold with this share of the weight below it, or as much less as whole rows allow.

    It lies halfway between the rows on either side, copies of a row being on one side, so that rounding does not move
    a row across.
    """
    order = scores.argsort()
    order = order[weights[order] > 0]
    cumulative = weights[order].cumsum(0)
    # Shares such as 3 / 10 of 10 rows mean 3 of them, in spite of rounding.
    target = share * cumulative[-1] * (1 + 1e-12)
    first = int(torch.searchsorted(cumulative, target, right=True))
    above = scores[order[first]]
    apart = SAME * above.abs().clamp(min=1)
    below = scores[order[:first]]
    below = below[below < above - apart]
    return float((above + (below[-1] if len(below) else above - 2 * apart)) / 2)
