"""What estimators that are composed of mixtures have in common: the mixture's settings as theirs."""

from __future__ import annotations

import inspect
import numbers
import warnings
from abc import abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.estimators.explained import ExplainedEstimator
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.saved import SavedEstimator
from tgmm.estimators.settings import EM, ERROR
from tgmm.runtime.dlpack import imported

P = ParamSpec("P")
C = TypeVar("C", bound="CompositeEstimator")
MIXTURE_PARAMETERS = inspect.signature(GaussianMixture).parameters


def as_array(values: Any) -> Any:
    """Return an array of another library, on any device, as NumPy's, and anything else as it is."""
    values = imported(values, "y")
    if not isinstance(values, Tensor):
        return values
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # of which NumPy knows nothing


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
    _check_fits(estimator)
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


def _check_fits(estimator: Any) -> None:
    """Raise a ValueError where an estimator is neither a mixture nor a function that fits one."""
    if isinstance(estimator, GaussianMixture) or (callable(estimator) and not isinstance(estimator, type)):
        return
    raise ValueError(
        f"estimator must be a tgmm.GaussianMixture or a function that fits one; got {estimator!r}."
        f"{instead_of(estimator)}"
    )


def instead_of(estimator: Any) -> str:
    """Return the mixture to write instead of a number of components, or of the class."""
    if isinstance(estimator, numbers.Integral):
        return f" For {estimator} components, give GaussianMixture({estimator})."
    return " Give an object, such as GaussianMixture()." if estimator is GaussianMixture else ""


def checking(init: Callable[Concatenate[Any, P], None]) -> Callable[Concatenate[Any, P], None]:
    """Return a constructor that says where to give the settings of the mixtures."""

    @wraps(init)
    def checked(self: Any, *args: P.args, **kwargs: P.kwargs) -> None:
        settings = {name: kwargs[name] for name in kwargs if name in MIXTURE_PARAMETERS}
        if settings:
            owner, given = type(self).__name__, ", ".join(f"{name}={value!r}" for name, value in settings.items())
            raise TypeError(
                f"{owner} has no parameter {next(iter(settings))!r}: it belongs to the mixture, so write "
                f"{owner}(GaussianMixture({given}))."
            )
        init(self, *args, **kwargs)

    return checked


def _fitted(estimator: Any, X: Any, sample_weight: Any) -> GaussianMixture:
    """Return a fit to rows."""
    if isinstance(estimator, GaussianMixture):
        return clone(estimator).fit(X, sample_weight=sample_weight)
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
        """Return the parameters of the constructor.

        Parameters
        ----------
        deep : bool, default=True
            If True, also return the settings of `estimator`, as ``estimator__n_components`` and so on. Without an
            `estimator`, these are the settings of the default one.

        Returns
        -------
        dict
            Values by name.
        """
        params = super().get_params(deep)
        if deep and self.estimator is None:
            params |= {f"estimator__{name}": value for name, value in self._default().get_params().items()}
        return params

    def set_params(self: C, **params: Any) -> C:
        """Set parameters of the constructor, and settings of `estimator`.

        Parameters
        ----------
        **params
            New values by name. Settings of `estimator` have the prefix ``estimator__``, as in
            ``estimator__n_components=3``; without an `estimator`, the default one is made first.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there is no parameter of that name.
        """
        nested = any(name.startswith("estimator__") for name in params)
        if nested and params.get("estimator", self.estimator) is None:
            params["estimator"] = self._default()
        return super().set_params(**params)

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn is to know of the estimator."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = may_lack(self._template)
        return tags
