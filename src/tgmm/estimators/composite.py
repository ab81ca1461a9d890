"""What estimators that are composed of mixtures have in common: the mixture's settings as theirs."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any, TypeVar

from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.estimators.explained import ExplainedEstimator
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.saved import SavedEstimator
from tgmm.estimators.settings import EM, ERROR
from tgmm.runtime.dlpack import imported

C = TypeVar("C", bound="CompositeEstimator")


def as_array(values: Any) -> Any:
    """Return an array of another library, on any device, as NumPy's, and anything else as it is."""
    values = imported(values, "y")
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def may_lack(estimator: Any) -> bool:
    """Whether rows may lack values, as far as what is fitted to them tells."""
    return getattr(estimator, "missing", ERROR) == EM


def fitted_mixture(estimator: Any, X: Any, sample_weight: Any, whose: str = "") -> GaussianMixture:
    """Return a fit to rows by an estimator, which stays as it is, or by a function that fits.

    Parameters
    ----------
    estimator : GaussianMixture or callable
        A function is called as ``f(X, sample_weight=sample_weight)``, and returns a fitted `GaussianMixture` or what
        `select` returns.
    X, sample_weight
        What `GaussianMixture.fit` is given.
    whose : str
        What to call the mixture, where there are several, in errors, and in warnings to the caller of who calls this.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = _fitted(estimator, X, sample_weight)
        except ValueError as error:
            if not whose:
                raise
            raise ValueError(f"{whose} cannot be fitted: {error}") from error
    for note in caught:
        warnings.warn(f"{whose}: {note.message}" if whose else str(note.message), note.category, stacklevel=3)
    return model


def _fitted(estimator: Any, X: Any, sample_weight: Any) -> GaussianMixture:
    """Return a fit to rows."""
    if isinstance(estimator, GaussianMixture):
        return clone(estimator).fit(X, sample_weight=sample_weight)
    if not callable(estimator):
        raise ValueError(f"estimator must be a tgmm.GaussianMixture or a function that fits one; got {estimator!r}.")
    found = estimator(X, sample_weight=sample_weight)
    model = getattr(found, "best_", found)
    if not isinstance(model, GaussianMixture):
        raise ValueError(
            "estimator is a function: it must return a fitted tgmm.GaussianMixture, or what tgmm.select returns; got "
            f"a {type(found).__name__}."
        )
    check_is_fitted(model)
    return model


class CompositeEstimator(SavedEstimator, ExplainedEstimator):
    """An estimator that is composed of mixtures, and has their settings as its own, under ``estimator__...``."""

    estimator: Any

    @staticmethod
    @abstractmethod
    def _default() -> GaussianMixture:
        """Return what takes the place of an `estimator` that is None."""

    @property
    def _template(self) -> Any:
        """What is to be fitted."""
        return self._default() if self.estimator is None else self.estimator

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters of the constructor, and with `deep` the settings of `estimator`."""
        params = super().get_params(deep)
        if deep and self.estimator is None:
            params |= {f"estimator__{name}": value for name, value in self._default().get_params().items()}
        return params

    def set_params(self: C, **params: Any) -> C:
        """Set parameters of the constructor, and settings of `estimator` as ``estimator__...``, and return self."""
        nested = any(name.startswith("estimator__") for name in params)
        if nested and params.get("estimator", self.estimator) is None:
            params["estimator"] = self._default()
        return super().set_params(**params)

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn is to know of the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = may_lack(self._template)
        return tags
