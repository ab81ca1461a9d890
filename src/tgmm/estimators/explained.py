"""Estimators that tell what a fit came to, where they are printed and where a notebook shows them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from tgmm.mixture.summary import Summary


class ExplainedEstimator(BaseEstimator, ABC):
    """An estimator with a summary."""

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """Return the names of the settings, in a list that subclasses may add to."""
        kind: Any = cls
        return list(_names_of_settings(kind))

    @abstractmethod
    def summary(self) -> Summary:
        """Explain the fitted model."""

    @abstractmethod
    def _essentials(self) -> str:
        """Return in a few lines what the fit came to."""

    def __str__(self) -> str:
        """Return the settings, and after a fit what it came to."""
        return f"{self!r}\n{self._essentials()}" if self._is_fitted() else repr(self)

    def _repr_html_inner(self) -> str:
        """Return scikit-learn's diagram, and after a fit the summary below it, for notebooks."""
        diagram = super()._repr_html_inner()
        return diagram + self.summary()._repr_html_() if self._is_fitted() else diagram

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        """Return what notebooks show."""
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/html": self._repr_html_inner()} if "text/html" in bundle else bundle

    def _is_fitted(self) -> bool:
        try:
            check_is_fitted(self)
        except NotFittedError:
            return False
        return True


@cache
def _names_of_settings(kind: Any) -> tuple[str, ...]:
    """Return the names of the settings, for which scikit-learn inspects the constructor each time."""
    return tuple(super(ExplainedEstimator, kind)._get_param_names())
