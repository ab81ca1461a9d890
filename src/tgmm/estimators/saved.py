"""Estimators that are made of fitted mixtures, as files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeVar

import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from tgmm.files.formats import format_of
from tgmm.files.plain import State, warn_of_unsaved
from tgmm.files.store import check_parts, read_state, signed, write_state
from tgmm.runtime.devices import check_device

S = TypeVar("S", bound="SavedEstimator")

FORMAT_VERSION = 1
ENTRIES: dict[str, type] = {"format_version": int, "kind": str, "checksum": str, "estimator": str}  # of every file


class SavedEstimator(BaseEstimator, ABC):
    """An estimator that is made of fitted mixtures and can be saved with them."""

    _entries: ClassVar[dict[str, type]]  # what a file has besides mixtures and their settings

    @abstractmethod
    def _content(self) -> tuple[State, list[str]]:
        """Return what is stored of a fitted estimator, and the names of the settings that cannot be."""

    @abstractmethod
    def _become(self, state: State, device: Any) -> None:
        """Become the estimator that a state with a valid checksum is of, or raise an error that says what is wrong."""

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

        Examples
        --------
        >>> import tempfile
        >>> from tgmm import MixtureClassifier
        >>> classifier = MixtureClassifier().fit([[-2.0], [-1.0], [1.0], [2.0]], ["a", "a", "b", "b"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     classifier.save(f"{folder}/classifier.pth")
        ...     loaded = MixtureClassifier.load(f"{folder}/classifier.pth")
        >>> loaded.predict([[-1.5], [1.5]]).tolist()
        ['a', 'b']
        """
        check_is_fitted(self)
        format_of(path)  # before anything is said about the settings
        content, left_out = self._content()
        state = signed({**content, "format_version": FORMAT_VERSION, "kind": type(self).__name__})
        type(self)()._become(state, None)  # what is written will load again
        warn_of_unsaved(left_out)
        write_state(path, state)

    @classmethod
    def load(cls: type[S], path: str | os.PathLike[str], device: str | torch.device | None = None) -> S:
        """Return the estimator in a file that `save` wrote. No code in the file is run.

        Settings that were left out of the file have their defaults. Settings that were arrays are tensors.

        Parameters
        ----------
        path : str or path
            The file.
        device : str or torch.device, optional
            Where to compute, as for `GaussianMixture`. It does not matter which device the mixtures were saved from.

        Returns
        -------
        estimator
            A fitted estimator of the class that `load` was called on.

        Raises
        ------
        ModelFileError
            If the file was not written by `save`, is damaged, or comes from a newer version. It is a `ValueError`.
        FileNotFoundError
            If there is no such file.
        """
        check_device(device)
        return read_state(path, lambda state: cls._of_state(state, device))

    @classmethod
    def _of_state(cls: type[S], state: Any, device: Any) -> S:
        """Return the estimator of a state dict, or raise an error that says what is wrong with it."""
        check_parts(state, cls.__name__, ENTRIES | cls._entries, FORMAT_VERSION)
        model = cls()
        model._become(state, device)
        return model
