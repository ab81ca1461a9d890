"""Clustering in one call: a fit to rows, and the labels of the same rows."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from torch import Tensor

from tgmm.data.kinds import Arrays


class FitPredictMixin:
    """The method `fit_predict` of estimators that have `fit` and `predict`."""

    @overload
    def fit_predict(self: Any, X: Tensor, y: Any = None, **fit_params: Any) -> Tensor: ...
    @overload
    def fit_predict(self: Any, X: Arrays, y: Any = None, **fit_params: Any) -> np.ndarray: ...
    @overload
    def fit_predict(self: Any, X: Any, y: Any = None, **fit_params: Any) -> Any: ...
    def fit_predict(self: Any, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit the mixture to X and return the label of each row.

        Parameters
        ----------
        X, y, **fit_params
            As for `fit`.

        Returns
        -------
        labels : array or Tensor of shape (n,)
            The most probable component of each row, as `predict` returns it.

        Examples
        --------
        >>> import numpy as np
        >>> from tgmm import GaussianMixture
        >>> X = np.concatenate([np.linspace(0, 1, 20), np.linspace(5, 6, 30)])[:, None]
        >>> labels = GaussianMixture(n_components=2, random_state=0).fit_predict(X)
        >>> sorted(np.bincount(labels).tolist())
        [20, 30]
        """
        return self.fit(X, y, **fit_params).predict(X)
