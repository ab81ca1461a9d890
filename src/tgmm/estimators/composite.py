"""What estimators that are composed of mixtures have in common: the mixture's settings as theirs, and files."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeVar

import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.settings import EM, ERROR
from tgmm.files.formats import format_of
from tgmm.files.plain import State
from tgmm.files.store import (
    check_checksum,
    check_kinds,
    check_version,
    model_file_errors,
    read_file,
    signed,
    write_state,
)
from tgmm.runtime.devices import check_device
from tgmm.runtime.dlpack import imported

C = TypeVar("C", bound="CompositeEstimator")

FORMAT_VERSION = 1
ENTRIES: dict[str, type] = {"format_version": int, "kind": str, "checksum": str, "estimator": str}  # of every file


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


class CompositeEstimator(BaseEstimator, ABC):
    """An estimator that is composed of mixtures, and has their settings as its own, under ``estimator__...``."""

    estimator: Any
    _entries: ClassVar[dict[str, type]]  # what a file has besides mixtures and their settings

    @staticmethod
    @abstractmethod
    def _default() -> GaussianMixture:
        """Return what takes the place of an `estimator` that is None."""

    @abstractmethod
    def _content(self) -> tuple[State, list[str]]:
        """Return what is stored of a fitted estimator, and the names of the settings that cannot be."""

    @abstractmethod
    def _become(self, state: State, device: Any) -> None:
        """Become the estimator that a state with a valid checksum is of, or raise an error that says what is wrong."""

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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a file, with its mixtures and all settings.

        The write is atomic, and the loaded estimator predicts the same bits; see `GaussianMixture.save`.

        Parameters
        ----------
        path : str or path
            The name ends in ``.pth``, for a file that ``torch.load(path, weights_only=True)`` reads, or in
            ``.safetensors``, which needs ``pip install safetensors``.

        Warns
        -----
        UserWarning
            If settings are not plain data (a function, a generator) and so are left out. The warning names them.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If the name has another suffix.
        OSError
            If the file cannot be written. An old file at that path stays as it was.
        """
        check_is_fitted(self)
        format_of(path)  # before anything is said about the settings
        content, left_out = self._content()
        state = signed({**content, "format_version": FORMAT_VERSION, "kind": type(self).__name__})
        type(self)()._become(state, None)  # what is written will load again
        if left_out:
            warnings.warn(
                f"Not saved, because they are not plain data: {', '.join(left_out)}. Set them again after load.",
                UserWarning,
                stacklevel=2,
            )
        write_state(path, state)

    @classmethod
    def load(cls: type[C], path: str | os.PathLike[str], device: str | torch.device | None = None) -> C:
        """Return the estimator in a file that `save` wrote. No code in the file is run.

        Settings that were left out of the file have their defaults. Settings that were arrays are tensors.

        Parameters
        ----------
        path : str or path
        device : str or torch.device, optional
            Where to compute, as for `GaussianMixture`. It does not matter which device the mixtures were saved from.

        Raises
        ------
        ModelFileError
            If the file was not written by `save`, is damaged, or comes from a newer version. It is a `ValueError`.
        FileNotFoundError
            If there is no such file.
        """
        model, encoding = cls(), format_of(path)
        check_device(device)
        data = read_file(path)
        with model_file_errors(f"{os.fspath(path)!r}"):
            state = encoding.decode(data)
            cls._check(state)
            model._become(state, device)
        return model

    @classmethod
    def _check(cls, state: Any) -> None:
        """Raise where a state is none of this kind of estimator, lacks an entry, has a wrong one, or was changed."""
        check_version(state, "format_version", FORMAT_VERSION)
        if (kind := state.get("kind", "mixture")) != cls.__name__:
            raise ValueError(f"it holds no {cls.__name__}, but a {kind}.")
        kinds = ENTRIES | cls._entries
        if missing := sorted(kinds.keys() - state.keys()):
            raise ValueError(f"it lacks {', '.join(missing)}.")
        if unknown := sorted(name for name in state.keys() - kinds.keys() if "." not in name):
            raise ValueError(f"it has the unknown entry {unknown[0]!r}.")
        check_kinds(state, kinds)
        check_checksum(state)
