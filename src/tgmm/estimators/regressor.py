"""Regression by a mixture of the features and the targets together: Gaussian mixture regression."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.data.columns import Columns
from tgmm.data.opening import as_source
from tgmm.data.validation import Rows, check_finite, check_rows, check_weights
from tgmm.estimators import explaining
from tgmm.estimators.composite import CompositeEstimator, as_array, checking, fitted_mixture, may_lack
from tgmm.estimators.explaining_composites import LINEAR, linear_functions
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.nesting import fitted_model, fitted_state, part_of, prefixed, template_of, template_state
from tgmm.files.plain import State
from tgmm.mixture.summary import FEATURES, Summary, retitled
from tgmm.runtime.checks import as_float64, refuse_masked
from tgmm.runtime.devices import working_type
from tgmm.runtime.dlpack import imported

NO_NOISE = (
    "MixtureRegressor does not support noise=True: the noise component carries no information about the targets. Leave "
    "noise out of the estimator; to remove outliers first, see MixtureOutlierDetector."
)
MAY_LACK = ", or fit a mixture with missing='em', such as MixtureRegressor(GaussianMixture(3, missing='em'))"


class MixtureRegressor(RegressorMixin, CompositeEstimator):
    """Regression by a Gaussian mixture of features and targets together.

    A mixture is fitted to the rows (x, y), and the prediction is the mean of y given x (Gaussian mixture regression).
    Each component contributes a linear function, weighted by how probable the component is at x, so the prediction can
    follow a curve. It can also return a standard deviation that varies with x.

    Parameters
    ----------
    estimator : GaussianMixture or callable, optional
        The mixture to fit to features and targets together, by default
        ``GaussianMixture(3, reg_covar=1e-6, random_state=0)``. Use more components for a curve with more bends. You can
        also give a function ``f(X, sample_weight=...)`` that returns a fitted mixture or the result of `select`, for
        example ``functools.partial(tgmm.select, n_components=range(1, 6), covariance_types="full")``. Covariance types
        in which the features of a component are independent, such as "diag", give step functions.

    Attributes
    ----------
    estimator_ : GaussianMixture
        The fitted mixture of features and targets, in this order.
    n_features_in_ : int
        Number of features of the training data.
    feature_names_in_ : ndarray of str
        Names of the features, if the training data had them.

    Notes
    -----
    Ghahramani & Jordan 1994 (NIPS 6); Sung 2004 (Gaussian mixture regression and classification, Rice University).

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import MixtureRegressor
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> y = np.abs(X[:, 0]) + 0.01 * np.cos(np.arange(200))
    >>> model = MixtureRegressor().set_params(estimator__n_components=2).fit(X, y)
    >>> model.predict([[-0.5], [0.5]]).round(1)
    array([0.5, 0.5])
    """

    _entries: ClassVar = {"n_features_in_": int, "feature_names_in_": str, "targets_are_columns": bool}
    estimator_: GaussianMixture
    n_features_in_: int
    feature_names_in_: np.ndarray
    _targets_are_columns: bool

    @checking
    def __init__(self, estimator: Any = None) -> None:
        self.estimator = estimator

    @staticmethod
    def _default() -> GaussianMixture:
        """Return three components with full covariances.

        Slopes divide by variances: where rows are no more than features, and variances are left to `reg_covar`, the
        default that densities need would let rounding decide on the slopes.
        """
        return GaussianMixture(3, reg_covar=1e-6, random_state=0)

    def fit(self, X: Any, y: Any, *, sample_weight: Any = None) -> MixtureRegressor:
        """Fit a mixture to features and targets together.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, d)
            Features.
        y : array-like or Tensor of shape (n,) or (n, t)
            One target or several. Features and targets may have missing values if the estimator has
            ``missing="em"``.
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
        Two targets at once:

        >>> import numpy as np
        >>> from tgmm import GaussianMixture, MixtureRegressor
        >>> X = np.linspace(0, 1, 20)[:, None]
        >>> Y = np.column_stack([X[:, 0], 1 - X[:, 0]]) + 0.01 * np.cos(np.arange(40)).reshape(20, 2)
        >>> MixtureRegressor(GaussianMixture(1)).fit(X, Y).predict([[0.5]]).round(1)
        array([[0.5, 0.5]])
        """
        if getattr(self._template, "noise", False):
            raise ValueError(NO_NOISE)
        joint, columns, targets = self._joint(X, y, Columns(None, None, type(self).__name__), may_lack(self._template))
        model = fitted_mixture(self._template, joint, sample_weight)
        if model.mixture_.noise is not None:
            raise ValueError(NO_NOISE)
        self.estimator_ = model
        self._set_columns(columns.n_features or 0, columns.names, targets_are_columns=targets.ndim == 2)
        return self

    def _joint(self, X: Any, y: Any, columns: Columns, lacks: bool) -> tuple[Any, Columns, Tensor]:
        """Return features and targets side by side, the columns of the features, and the targets."""
        if not isinstance(X, np.ndarray) and as_source(X) is not None:
            raise ValueError(
                f"X is a {type(X).__name__}, a source that is read in batches, which have no targets beside the rows: "
                "pass rows in memory, or fit a GaussianMixture to a source that has the targets among its columns, and "
                "predict with regress."
            )
        rows, found = check_rows(X, columns, may_lack=lacks)
        targets = _check_targets(y, type(self).__name__, may_lack=lacks)
        check_consistent_length(rows.tensor, targets)
        return rows.give_back(_joined(rows, targets)), found, targets

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the mean of the targets given each row, and with `return_std` their standard deviation.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, d)
            Features.
        return_std : bool, default=False
            If True, also return the standard deviation.

        Returns
        -------
        mean : array or Tensor of shape (n,) or (n, t)
            Predictions, in the shape that the targets had in `fit`.
        standard_deviation : array or Tensor of the same shape
            Standard deviation of the targets given the row. Only with `return_std`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X has other features or values that cannot be used, or if values are missing and `return_std` is True.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import GaussianMixture, MixtureRegressor
        >>> X = np.linspace(0, 1, 100)[:, None]
        >>> y = X[:, 0] + 0.1 * (-1.0) ** np.arange(100)
        >>> mean, standard_deviation = MixtureRegressor(GaussianMixture(1)).fit(X, y).predict([[0.5]], return_std=True)
        >>> mean.round(2), standard_deviation.round(2)
        (array([0.5]), array([0.1]))
        """
        check_is_fitted(self)
        n_features = self.n_features_in_
        rows, _ = check_rows(X, self._columns, may_lack=may_lack(self.estimator_))
        if torch.isnan(rows.tensor).any():
            if return_std:
                raise ValueError("return_std=True needs complete rows: impute X first, or leave return_std out.")
            found = [_expected(self.estimator_, rows.tensor)]
        else:
            found = self.estimator_.regress(rows.tensor, dims=range(n_features))
        mean, *deviation = (rows.give_back(part if self._targets_are_columns else part[:, 0]) for part in found)
        return (mean, *deviation) if return_std else mean

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the coefficient of determination R^2 of the predictions, the mean over targets.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, d)
            Features.
        y : array-like or Tensor of shape (n,) or (n, t)
            Their targets.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        float
            1 for perfect predictions, and 0 for predictions as good as the mean of y. It can be negative.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import GaussianMixture, MixtureRegressor
        >>> X = np.linspace(0, 1, 100)[:, None]
        >>> y = X[:, 0] + 0.1 * (-1.0) ** np.arange(100)
        >>> round(MixtureRegressor(GaussianMixture(1)).fit(X, y).score(X, y), 2)
        0.89
        """
        targets = as_array(_check_targets(y, type(self).__name__, may_lack=False))
        weights = as_array(check_weights(sample_weight, len(targets)))
        return r2_score(targets, as_array(self.predict(X)), sample_weight=weights)

    def summary(
        self, X: Any = None, y: Any = None, *, sample_weight: Any = None, max_features: int | None = FEATURES
    ) -> Summary:
        """Explain the fitted regressor: the linear function of each component, and the mixture that weights these.

        Parameters
        ----------
        X : array-like or Tensor of shape (n, d), optional
            Features of data to describe the model on. Give the targets, too. With them, the summary also has the R^2 of
            the predictions, the ICL and the number of rows of each component.
        y : array-like or Tensor of shape (n,) or (n, t), optional
            Targets of these rows.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows.
        max_features : int, default=6
            How many features to show at most, those in which the components differ most. None shows all of them.

        Returns
        -------
        Summary
            ``print`` it to read it as text; a notebook shows it as tables. ``to_frame()`` gives all numbers to pandas.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If only one of X and y is given, or if they cannot be used.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import GaussianMixture, MixtureRegressor
        >>> X = np.linspace(0, 1, 100)[:, None]
        >>> y = X[:, 0] + 0.1 * (-1.0) ** np.arange(100)
        >>> model = MixtureRegressor(GaussianMixture(1)).fit(X, y)
        >>> print(model.summary().tables[1].text())
        target: the linear function of each component
        component  intercept  feature 0  standard deviation
        0            0.00297     0.9941             0.09998
        """
        check_is_fitted(self)
        if (X is None) != (y is None):
            raise ValueError("summary describes the model on features and targets together: give X and y, or neither.")
        model, names, n_targets = self.estimator_, self._names(), self.estimator_.n_features_in_ - self.n_features_in_
        facts: dict[str, Any] = {"Features": self.n_features_in_, "Targets": n_targets}
        joint = None
        if X is not None:
            joint, *_ = self._joint(X, y, self._columns, may_lack(model))
            facts["R^2"] = self.score(X, y, sample_weight)
        found = explaining.explained(model, joint, sample_weight, max_features, names)
        tables = linear_functions(model.mixture_, names, n_targets, max_features)
        return retitled(found, "Regression by a Gaussian mixture", facts, [LINEAR], tables)

    def _essentials(self) -> str:
        """Return what the fit of the mixture came to."""
        return explaining.essentials(self.estimator_)

    def _names(self) -> list[str]:
        """Return what to call the features and targets."""
        n_features = self.n_features_in_
        n_targets = self.estimator_.n_features_in_ - n_features
        features = getattr(self, "feature_names_in_", [f"feature {j}" for j in range(n_features)])
        targets = ["target"] if n_targets == 1 else [f"target {j}" for j in range(n_targets)]
        while not set(targets).isdisjoint(map(str, features)):
            targets = [f"{target} (y)" for target in targets]
        return [*map(str, features), *targets]

    @property
    def _columns(self) -> Columns:
        """The columns of the features."""
        return Columns.of(self.n_features_in_, getattr(self, "feature_names_in_", None), type(self).__name__)

    def _set_columns(self, n_features: int, names: Any, *, targets_are_columns: bool) -> None:
        """Remember what the training data looked like."""
        self.n_features_in_, self._targets_are_columns = n_features, targets_are_columns
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_

    def _content(self) -> tuple[State, list[str]]:
        """Return settings, the fitted mixture and what the training data looked like."""
        template, left_out = template_state(self.estimator)
        names = getattr(self, "feature_names_in_", None)
        layout = {
            "n_features_in_": int(self.n_features_in_),
            "feature_names_in_": json.dumps(None if names is None else [str(name) for name in names]),
            "targets_are_columns": self._targets_are_columns,
        }
        return {**template, **layout, **prefixed(fitted_state(self.estimator_), "estimator_")}, left_out

    def _become(self, state: State, device: Any) -> None:
        """Become the regressor of a state dict."""
        model = fitted_model(part_of(state, "estimator_"), device, type(self).__name__)
        n_features, targets_are_columns = state["n_features_in_"], state["targets_are_columns"]
        n_targets = model.n_features_in_ - n_features
        if n_features < 1 or n_targets < 1 or not (targets_are_columns or n_targets == 1):
            raise ValueError(f"n_features_in_={n_features} does not fit a mixture of {model.n_features_in_} features.")
        names = json.loads(state["feature_names_in_"])
        if names is not None and (
            not isinstance(names, list) or len(names) != n_features or any(type(name) is not str for name in names)
        ):
            raise ValueError(f"feature_names_in_ must be a list of {n_features} names.")
        self.estimator, self.estimator_ = template_of(state, (), device), model
        self._set_columns(n_features, names, targets_are_columns=targets_are_columns)

    def __sklearn_tags__(self) -> Any:
        """Say that there may be several targets."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _expected(model: GaussianMixture, rows: Tensor) -> Tensor:
    """Return the expected targets (n, t) of rows (n, d) that lack values, given those that they have."""
    n_targets = model.n_features_in_ - rows.shape[1]
    return model.impute(torch.cat([rows, rows.new_full((rows.shape[0], n_targets), torch.nan)], 1))[:, -n_targets:]


def _check_targets(y: Any, owner: str, *, may_lack: bool) -> Tensor:
    """Return targets (n,) or (n, t) as a tensor of finite numbers, or raise a ValueError that says what is wrong.

    Those that may be missing are NaN.
    """
    if y is None:
        raise ValueError(f"{owner} requires y to be passed, but the target y is None.")
    given = imported(y, "y")
    if not isinstance(given, Tensor):
        refuse_masked(y, "y")
        given = check_array(y, ensure_2d=False, dtype="numeric", input_name="y", ensure_all_finite=False)
        given = given if given.dtype in (np.float32, np.float64) else as_float64(given, "y").numpy()
        given = torch.from_numpy(np.array(given))
    if given.ndim not in (1, 2) or 0 in given.shape:
        raise ValueError(f"y must have shape (n_samples,) or (n_samples, n_targets); got shape {tuple(given.shape)}.")
    if given.is_complex():
        raise ValueError("y must be real numbers: it has complex numbers.")
    given = given.detach()
    check_finite(given.reshape(len(given), -1), None, may_lack=may_lack, hint=MAY_LACK, what="y")
    return given


def _joined(rows: Rows, targets: Tensor) -> Tensor:
    """Return features and targets side by side, in the wider of their float types."""
    columns = targets[:, None] if targets.ndim == 1 else targets
    dtype = torch.promote_types(working_type(rows.tensor.dtype), working_type(columns.dtype))
    return torch.cat([rows.tensor.to(dtype), columns.to(rows.tensor.device, dtype)], 1)
