"""Fitted mixtures as files and as state dicts: `GaussianMixture.save`, `load`, `save_state_dict`, `load_state_dict`."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from sklearn.utils.validation import check_is_fitted

from tgmm import settings
from tgmm.atomic import replacing
from tgmm.persistence.formats import format_of
from tgmm.persistence.state import adopt, state_of
from tgmm.persistence.validation import check_state
from tgmm.plain import State

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture


class ModelFileError(ValueError):
    """A file or state dict that is not a model: damaged, forged, of another kind, or of a newer version."""


def save(model: GaussianMixture, path: str | os.PathLike[str]) -> None:
    """Write the fitted model to a file: parameters, settings, priors and fit results.

    The write is atomic: the file has the old content or the new, whatever happens in between, and a save that fails
    leaves no other file behind. Parameters are stored in float64 beside the float type of the fit, so that the
    loaded model predicts the same bits.

    Parameters
    ----------
    path : str or path
        ``.pth``: a torch file that ``torch.load(path, weights_only=True)`` reads. ``.safetensors``: needs
        ``pip install tgmm[safetensors]``.

    Warns
    -----
    UserWarning
        Once, naming the settings that are not plain data (a callable, a generator) and so are left out.
        `device`, `distributed` and `checkpoint` are left out silently: they belong to the machine.

    Raises
    ------
    NotFittedError
        Before `fit`.
    ValueError
        For another suffix, and where settings changed since the fit cannot be loaded again.
    OSError
        Where the file cannot be written; an old file at that path is left as it was.

    Examples
    --------
    >>> import tempfile
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     gmm.save(f"{folder}/gmm.pth")
    ...     loaded = GaussianMixture.load(f"{folder}/gmm.pth")
    >>> loaded.predict([[0.5], [3.0]])
    array([0, 1])
    """
    check_is_fitted(model)
    encoding = format_of(path)
    content = encoding.encode(_checked_state(model))
    with replacing(Path(path)) as file:
        file.write(content)


def load(
    cls: type[GaussianMixture], path: str | os.PathLike[str], device: str | torch.device | None = None
) -> GaussianMixture:
    """Return the model in a file that `save` wrote. No code in the file is ever run.

    Settings that were left out of the file have their defaults; those that were arrays are tensors.

    Parameters
    ----------
    path : str or path
    device : str or torch.device, optional
        As in the constructor, whatever device the model was saved from.

    Returns
    -------
    GaussianMixture

    Raises
    ------
    ModelFileError
        Where the file is not such a file, is damaged, or comes from a newer version. A `ValueError`.
    FileNotFoundError
        Where there is none.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from tgmm import GaussianMixture, ModelFileError
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "gmm.pth")
    ...     _ = path.write_bytes(b"something else")
    ...     try:
    ...         GaussianMixture.load(path)
    ...     except ModelFileError:
    ...         print("not a model")
    not a model
    """
    model, encoding = cls(device=device), format_of(path)
    settings.check_device(device, torch.empty(0), from_tensor=False)
    data = read_file(Path(path))
    with model_file_errors(f"{os.fspath(path)!r}"):
        content = check_state(encoding.decode(data), _names(model))
    return adopt(model, content)


def save_state_dict(model: GaussianMixture) -> State:
    """Return what `save` stores as a flat dict: float64 tensors on the CPU, and plain values.

    It shares no memory with the model, and survives ``torch.save`` and ``torch.load`` with their defaults.

    Returns
    -------
    dict
        Settings under the constructor's names, fit results under those of the attributes, ``float_type`` and
        ``fitted_covariance_type`` of the fit, ``format_version``, and a ``checksum`` over all the rest.

    Warns
    -----
    UserWarning
        As `save` does.

    Raises
    ------
    NotFittedError
        Before `fit`.
    ValueError
        Where settings changed since the fit cannot be loaded again.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> gmm.save_state_dict()["means_"].tolist()
    [[0.0], [4.0]]
    """
    check_is_fitted(model)
    return _checked_state(model)


def load_state_dict(model: GaussianMixture, state: State) -> GaussianMixture:
    """Become the model of a state dict, or refuse it and change nothing.

    Settings that the state dict lacks, and `device`, `distributed` and `checkpoint`, stay as they are.

    Parameters
    ----------
    state : dict
        From `save_state_dict`; it is copied.

    Returns
    -------
    self

    Raises
    ------
    ModelFileError
        Where it is not such a dict, or was changed. A `ValueError`.

    Examples
    --------
    >>> from tgmm import GaussianMixture
    >>> gmm = GaussianMixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> GaussianMixture().load_state_dict(gmm.save_state_dict()).predict([[0.5], [3.0]])
    array([0, 1])
    """
    with model_file_errors("The state dict"):
        content = check_state(state, _names(model))
    return adopt(model, content)


def _names(model: GaussianMixture) -> set[str]:
    """Return the names of the settings that are stored: what to fit, not where and by whom."""
    return set(model.get_params(deep=False)) - {"checkpoint", "device", "distributed"}


def _checked_state(model: GaussianMixture) -> State:
    """Return the model's state, which will load again, and warn about what it leaves out."""
    names = _names(model)
    state, left_out = state_of(model, names)
    check_state(state, names)
    if left_out:
        warnings.warn(
            f"Not saved, because they are not plain data: {', '.join(left_out)}. Set them again after load.",
            UserWarning,
            stacklevel=3,
        )
    return state


def read_file(path: Path) -> bytes:
    """Return the content of a regular file: a pipe or a device might never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ModelFileError(f"{str(path)!r} cannot be loaded: it is not a file.")
    return path.read_bytes()


@contextmanager
def model_file_errors(source: str) -> Iterator[None]:
    """Turn whatever goes wrong into a ModelFileError: damaged data can make any part of its reader fail."""
    try:
        yield
    except ImportError:  # of an optional dependency
        raise
    except Exception as error:
        raise ModelFileError(f"{source} cannot be loaded: {str(error) or type(error).__name__}") from error


__all__ = ["ModelFileError", "load", "load_state_dict", "save", "save_state_dict"]
