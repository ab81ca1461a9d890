"""A mixture as a flat dict and as a file, and back: `Mixture.save`, `Mixture.load`."""

from __future__ import annotations

import json
import math
import os
from typing import Any, TypeVar

import torch

from tgmm.covariance import Covariances, Structure, structure_named
from tgmm.data.columns import ARRAYS, Columns
from tgmm.files.plain import State, stored
from tgmm.files.store import (
    check_checksum,
    check_kinds,
    check_version,
    own,
    read_state,
    require_entries,
    signed,
    write_state,
)
from tgmm.mixture.base import BaseMixture, check_covariances, check_means, check_mixing_weights
from tgmm.model.noise import Noise
from tgmm.model.parameters import Parameters
from tgmm.runtime.checks import require_finite
from tgmm.runtime.devices import check_device, float64_device

M = TypeVar("M", bound=BaseMixture)

FORMAT_VERSION = 1
FLOAT_TYPES = {"float32": torch.float32, "float64": torch.float64}
KINDS: dict[str, type] = {
    "format_version": int,
    "checksum": str,
    "fitted_covariance_type": str,
    "float_type": str,
    "weights_": torch.Tensor,
    "means_": torch.Tensor,
    "covariances_": torch.Tensor,
    "n_features_in_": int,
}
OPTIONAL_KINDS: dict[str, type] = {
    "arrays": str,
    "feature_names_in_": str,
    "may_lack_values": bool,
    "noise_box_": torch.Tensor,
    "noise_log_volume_": float,
}
WEIGHTS_TOLERANCE = 1e-6  # weights are stored in float64, as they were normalised


def save(mixture: BaseMixture, path: str | os.PathLike[str]) -> None:
    """Write the mixture to a file.

    The write is atomic: the file has either the old content or the new one, and a save that fails leaves no other file
    behind. The loaded mixture predicts the same bits. `GaussianMixture.load` can also read the file.

    Parameters
    ----------
    path : str or path
        The name ends in ``.pth``, for a file that ``torch.load(path, weights_only=True)`` reads, or in
        ``.safetensors``, which needs
        ``pip install safetensors``.

    Raises
    ------
    ValueError
        If the name has another suffix.
    OSError
        If the file cannot be written. An old file at that path stays as it was.

    Examples
    --------
    >>> import tempfile
    >>> from tgmm import Mixture
    >>> mixture = Mixture([0.5, 0.5], [[0.0], [4.0]], [1.0, 1.0], "spherical")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mixture.save(f"{folder}/mixture.pth")
    ...     loaded = Mixture.load(f"{folder}/mixture.pth")
    >>> loaded.predict([[0.5], [3.0]])
    array([0, 1])
    """
    write_state(path, signed(state_of(mixture)))


def load(cls: type[M], path: str | os.PathLike[str], device: Any = None) -> M:
    """Return the mixture in a file that `save` wrote, that of a mixture or of an estimator. No code in it is ever run.

    Parameters
    ----------
    path : str or path
    device : str or torch.device, optional
        Where to compute, as for `GaussianMixture`. It does not matter which device the mixture was saved from.

    Returns
    -------
    Mixture

    Raises
    ------
    ModelFileError
        If the file was not written by `save`, is damaged, or comes from a newer version. It is a `ValueError`.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from tgmm import Mixture, ModelFileError
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "mixture.pth")
    ...     _ = path.write_bytes(b"something else")
    ...     try:
    ...         Mixture.load(path)
    ...     except ModelFileError:
    ...         print("not a mixture")
    not a mixture
    """
    place = float64_device(check_device(device))

    def of_state(state: Any) -> M:
        check_entries(state, KINDS, OPTIONAL_KINDS)
        return mixture_of(cls, state, cls.__name__)

    return on_device(read_state(path, of_state), place, device)


def on_device(mixture: M, place: torch.device, device: Any) -> M:
    """Return a mixture with its parameters in a place, that computes on the device of the user's choice."""
    noise = None if mixture.noise is None else mixture.noise.to(place)
    return mixture.changed(parameters=mixture.parameters.to(place), device=device, noise=noise)


def state_of(mixture: BaseMixture) -> State:
    """Return what there is to say of a mixture, without a checksum."""
    parameters = mixture.parameters
    state: State = {
        "format_version": FORMAT_VERSION,
        "fitted_covariance_type": mixture.covariance_type,
        "float_type": str(mixture.dtype).removeprefix("torch."),
        "weights_": stored(parameters.weights),
        "means_": stored(parameters.means),
        "covariances_": stored(parameters.covariances.stored),
        "n_features_in_": mixture.n_features,
        "arrays": mixture.columns.arrays,
    }
    if mixture.noise is not None:
        state["noise_box_"] = stored(torch.stack([mixture.noise.low, mixture.noise.high]))
        state["noise_log_volume_"] = mixture.noise.log_volume
    if mixture.columns.may_lack:
        state["may_lack_values"] = True
    if mixture.columns.names is not None:
        state["feature_names_in_"] = json.dumps([str(name) for name in mixture.columns.names])
    return state


def check_entries(state: Any, kinds: dict[str, type], optional: dict[str, type]) -> None:
    """Raise where a state is no flat dict, of another version, or lacks an entry, has a wrong one, or was changed."""
    check_version(state, FORMAT_VERSION)
    if type(kind := state.get("kind")) is str:  # of an estimator that is composed of mixtures
        raise ValueError(f"it contains a {kind}: use {kind}.load.")
    require_entries(state, kinds)
    check_kinds(state, kinds | optional)
    check_checksum(state)


def mixture_of(cls: type[M], state: State, owner: str) -> M:
    """Return the mixture of a state with the right entries, on the CPU, in memory of its own."""
    structure = structure_named(state["fitted_covariance_type"]).of_stored(state["covariances_"])
    parameters = _parameters(state, structure)
    if state["float_type"] not in FLOAT_TYPES:
        raise ValueError(f"float_type must be one of {', '.join(FLOAT_TYPES)}.")
    names = _feature_names(state.get("feature_names_in_"), parameters.n_features)
    arrays = state.get("arrays", "numpy")
    if arrays not in ARRAYS:
        raise ValueError(f"arrays must be one of {', '.join(ARRAYS)}.")
    columns = Columns(None, owner=owner, may_lack=state.get("may_lack_values", False))
    columns = columns.found(parameters.n_features, names, arrays)
    noise = _noise(state, parameters.n_features)
    return cls.of(parameters, structure, FLOAT_TYPES[state["float_type"]], columns, noise=noise)


def _parameters(state: State, structure: Structure) -> Parameters:
    """Return the parameters of a valid mixture, bit for bit."""
    weights, means, covariances = (own(state[name]) for name in ("weights_", "means_", "covariances_"))
    if weights.ndim != 1 or means.ndim != 2 or len(weights) != len(means) or 0 in means.shape:
        raise ValueError(
            f"weights_ (K,) and means_ (K, d) do not match: {tuple(weights.shape)} and {tuple(means.shape)}."
        )
    n_components, n_features = means.shape
    if state["n_features_in_"] != n_features:
        raise ValueError(f"n_features_in_={state['n_features_in_']}, but means_ has {n_features} features.")
    wanted = structure.stored_shape(n_components, n_features)
    if covariances.shape != wanted:
        raise ValueError(f"covariances_ must have shape {wanted}; it has {tuple(covariances.shape)}.")
    rest = max(0.0, 1 - float(weights.sum())) if "noise_box_" in state else 0.0
    check_mixing_weights(torch.cat([weights, weights.new_tensor([rest])]), n_components + 1, "weights_")
    if abs(float(weights.sum()) + rest - 1) > WEIGHTS_TOLERANCE:
        raise ValueError(f"weights_ must sum to 1; the sum is {float(weights.sum())!r}.")
    check_means(means, n_components, n_features, "means_")
    if structure.n_factors is None:
        check_covariances(covariances, structure, n_components, n_features, "covariances_")
        return Parameters(weights, means, structure.from_public(covariances, n_components, n_features))
    return Parameters(weights, means, _of_factors(covariances, structure))


def _of_factors(values: torch.Tensor, structure: Structure) -> Covariances:
    """Return the covariances with stored loadings and noise variances (K, d, q + 1)."""
    require_finite(values, "covariances_")
    covariances = structure.form(values, values.shape[1])
    if not structure.contains(covariances) or not bool((values[..., -1] > 0).all()):
        raise ValueError(
            f"covariances_ must be loadings and, last, positive noise variances of covariance_type={structure.name!r}."
        )
    return covariances


def _noise(state: State, n_features: int) -> Noise | None:
    """Return the noise of a mixture, or None where it has none."""
    if "noise_box_" not in state:
        return None
    box, log_volume = own(state["noise_box_"]), state.get("noise_log_volume_", math.nan)
    right = box.shape == (2, n_features) and bool(torch.isfinite(box).all()) and math.isfinite(log_volume)
    if not (right and bool((box[0] < box[1]).all())):
        raise ValueError(f"noise_box_ must be the corners of a box, (2, {n_features}), beside noise_log_volume_.")
    return Noise(box[0], box[1], log_volume)


def _feature_names(text: Any, n_features: int) -> list[str] | None:
    """Return the names of the features from JSON, or None where there are none."""
    if text is None:
        return None
    names = json.loads(text)
    if not isinstance(names, list) or len(names) != n_features or any(type(name) is not str for name in names):
        raise ValueError(f"feature_names_in_ must be a list of {n_features} names.")
    return names
