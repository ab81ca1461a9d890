"""The table that a mixture is fitted to: how many columns it has, their names, and what kind of array it is."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data
from torch import Tensor

from tgmm.runtime.frozen import replace
from tgmm.runtime.words import named

MOST_SAID = 8  # features in one message
ARRAYS = ("numpy", "torch")  # the kinds of arrays in which a mixture can tell of itself


@dataclass(frozen=True)
class Columns:
    """The features of a mixture, and the kind of array of the training data, which fitted attributes follow.

    Parameters
    ----------
    n_features : int or None
        None before the data is seen.
    names : tuple of str, optional
        If the training data had names.
    owner : str
        The estimator that messages name.
    arrays : str
        "torch" if the training data was tensors, otherwise "numpy".
    may_lack : bool
        Whether rows may have missing values, which are NaN.
    """

    n_features: int | None
    names: tuple[str, ...] | None = None
    owner: str = "Mixture"
    arrays: str = "numpy"
    may_lack: bool = False

    def found(self, n_features: int, names: Iterable[Any] | None, arrays: str = "numpy") -> Columns:
        """Return the columns of data that was not seen before, with their names, if any."""
        names = None if names is None else tuple(names)
        return replace(self, n_features=n_features, names=names, arrays=arrays)

    @classmethod
    def of(cls, n_features: int, names: Iterable[Any] | None, owner: str, arrays: str = "numpy") -> Columns:
        """Return columns with these names, if any."""
        return cls(n_features, None if names is None else tuple(names), owner, arrays)

    @property
    def public_names(self) -> np.ndarray | None:
        """The names as scikit-learn's estimators have them, or None."""
        return None if self.names is None else np.array(self.names, dtype=object)

    def index(self, feature: Any, name: str) -> int:
        """Return the index of a feature, given by number or name, or raise a ValueError that names the argument."""
        if isinstance(feature, str) and self.names is not None and feature in self.names:
            return self.names.index(feature)
        is_number = isinstance(feature, numbers.Integral) and not isinstance(feature, bool)
        index, size = int(feature) if is_number else -1, self.n_features or 0
        if 0 <= index < size:
            return index
        known = "" if self.names is None else f", or from {list(self.names)}"
        raise ValueError(f"{name} must be different features from 0 to {size - 1}{known}; got {feature!r}.")

    def indices(self, features: Any, name: str) -> list[int]:
        """Return the indices of features, given by number or name, or raise a ValueError that names the argument."""
        listed = features.tolist() if hasattr(features, "tolist") else features  # an array, tensor, or frame's columns
        if not isinstance(listed, list | tuple | range) or len(listed) == 0:
            raise ValueError(f"{name} must be a sequence of features, such as [0]; got {features!r}.")
        indices = [self.index(feature, name) for feature in listed]
        if len(set(indices)) != len(indices):
            raise ValueError(f"{name} must be different features; got {features!r}.")
        return indices

    def lacking(self) -> Columns:
        """Return the same columns of rows that may lack values."""
        return replace(self, may_lack=True)

    def take(self, indices: Sequence[int]) -> Columns:
        """Return some of the columns."""
        names = None if self.names is None else tuple(self.names[i] for i in indices)
        return replace(self, n_features=len(indices), names=names)

    def own_array(self, values: Tensor) -> Any:
        """Return a copy of a fitted attribute as the kind of array that the mixture was fitted to."""
        return values.clone() if self.arrays == "torch" else values.cpu().numpy().copy()

    def checked_array(self, X: Any, **settings: Any) -> tuple[np.ndarray, Columns]:
        """Return rows as an array that scikit-learn has checked, and their columns.

        After a fit, the number of features must be that of the fit, and the names the same, in the same order.

        Parameters
        ----------
        X : array-like
        **settings
            Arguments of `sklearn.utils.check_array`.
        """
        seat = _seat(self.owner)()
        is_new = self.n_features is None
        if not is_new:
            seat.n_features_in_ = self.n_features
            if self.names is not None:
                seat.feature_names_in_ = self.public_names
        with self.explaining(X):
            array = validate_data(seat, X, reset=is_new, **settings)
        return array, self.found(array.shape[1], getattr(seat, "feature_names_in_", None))

    @contextmanager
    def explaining(self, X: Any) -> Iterator[None]:
        """Add to a ValueError what to do where X has other columns than the fit."""
        try:
            yield
        except ValueError as error:
            remedy = self._remedy(X)
            if remedy is None:
                raise
            raise ValueError(f"{str(error).rstrip()}\n{remedy}") from None

    def _remedy(self, X: Any) -> str | None:
        """Return what to do if X has other column names than the fit; None if it has the same names, or none.

        scikit-learn's message has already said what differs.
        """
        names = list(getattr(X, "columns", ()))
        if self.names is None or not all(isinstance(name, str) for name in names) or names in ([], list(self.names)):
            return None
        if set(self.names) <= set(names):
            choose = "Choose the columns of the fit, in its order: X[model.feature_names_in_]."
        else:
            choose = "Rename the columns, or pass an array with the features of the fit in its order."
        return f"X has the columns {listed(names)}, and the fit had {listed(self.names)}. {choose}"

    def said(self, indices: Sequence[int]) -> str:
        """Return what messages call some features: their names if they have names, otherwise their numbers."""
        called = [index if self.names is None else str(self.names[index]) for index in indices]
        return named("feature", called, listed)

    def where_named(self, X: Any) -> Columns:
        """Return the columns, without their names if X has none."""
        return self if hasattr(X, "columns") else replace(self, names=None)

    def require(self, n_features: int) -> None:
        """Raise a ValueError where rows have another number of features."""
        if self.n_features is not None and n_features != self.n_features:
            message = f"X has {n_features} features, but {self.owner} is expecting {self.n_features} features as input."
            raise ValueError(message if self.names is None else f"{message} The fit had {listed(self.names)}.")

    def require_names(self, names: Sequence[str] | None) -> None:
        """Raise a ValueError if the columns of a source have other names than in the fit, or another order."""
        if names is not None and self.names is not None and list(names) != list(self.names):
            raise ValueError(
                f"The columns of X are {listed(names)}, but the fit had {listed(self.names)}: name the same columns in "
                "the same order, with tgmm.data.TextSource(path, columns=[...]) or another source of tgmm.data."
            )

    def require_order_of(self, values: Any, name: str) -> None:
        """Raise a ValueError if a table of parameters names the features of the data in another order."""
        axes = getattr(values, "axes", [getattr(values, "columns", ())])  # of pandas, and of other tables
        for labels in map(list, axes):
            if self.names is not None and labels != list(self.names) and sorted(map(str, labels)) == sorted(self.names):
                raise ValueError(
                    f"{name} has the features in the order {listed(labels)}, and X in the order "
                    f"{listed(self.names)}: put those of {name} in the order of X."
                )


def listed(names: Sequence[Any]) -> str:
    """Return names or numbers as a message lists them: only the first if there are many."""
    known = list(names)
    return str(known) if len(known) <= MOST_SAID else f"{str(known[:MOST_SAID])[:-1]}, ...] ({len(known)} in all)"


def arrays_of(values: Any) -> str:
    """Return the kind of array that fitted attributes follow: "torch" for tensors, otherwise "numpy"."""
    return "torch" if isinstance(values, Tensor) else "numpy"


@lru_cache(maxsize=16)
def _seat(owner: str) -> type[BaseEstimator]:
    """Return a class that sits in for the owner where scikit-learn checks the features of an estimator."""
    return type(owner, (BaseEstimator,), {"__doc__": "What scikit-learn knows of an estimator's features."})
