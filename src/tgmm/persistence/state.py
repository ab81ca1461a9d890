"""A fitted model as a flat dict, and back: settings, fit results, float type, version, checksum."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tgmm import settings
from tgmm.estimation import Result
from tgmm.placement import moved
from tgmm.plain import State, plain_settings, stored
from tgmm.precision import float64_device

if TYPE_CHECKING:
    from tgmm.gaussian_mixture import GaussianMixture

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Content:
    """What a state dict says, checked."""

    result: Result  # its parameters on the CPU
    dtype: torch.dtype
    n_features: int
    feature_names: list[str] | None
    settings: State


def state_of(model: GaussianMixture, names: set[str]) -> tuple[State, list[str]]:
    """Return a fitted model's state, and which of the settings ``names`` are not plain data and so not in it."""
    plain, left_out = plain_settings(model, names)
    state: State = {"format_version": FORMAT_VERSION, **plain}
    parameters, structure = model._parameters, model._structure
    state |= {
        "fitted_covariance_type": structure.name,
        "float_type": str(model._dtype).removeprefix("torch."),
        "weights_": stored(parameters.weights),
        "means_": stored(parameters.means),
        "covariances_": stored(structure.to_public(parameters.covariances)),
        "converged_": bool(model.converged_),
        "n_iter_": int(model.n_iter_),
        "lower_bound_": float(model.lower_bound_),
        "objective_history_": torch.tensor(model.objective_history_, dtype=torch.float64),
        "reg_covar_": stored(model.reg_covar_),
        "n_features_in_": int(model.n_features_in_),
    }
    if hasattr(model, "feature_names_in_"):
        state["feature_names_in_"] = json.dumps([str(name) for name in model.feature_names_in_])
    if model._continuation is not None:
        memory = model._continuation.memory
        counts = [float(memory.statistics.weight), memory.seen, memory.n_batches]
        state["memory_"] = torch.tensor(counts, dtype=torch.float64)
    state["checksum"] = checksum(state)
    return state, left_out


def adopt(model: GaussianMixture, content: Content) -> GaussianMixture:
    """Make a model that of a state, on the device that its own setting asks for."""
    device = float64_device(settings.check_device(model.device, torch.empty(0), from_tensor=False))
    parameters = moved(content.result.parameters, device)
    regularisation = content.result.regularisation.to(device)
    model.set_params(**content.settings)
    model.n_features_in_ = content.n_features
    if content.feature_names is not None:
        model.feature_names_in_ = np.array(content.feature_names, dtype=object)
    elif hasattr(model, "feature_names_in_"):
        del model.feature_names_in_
    result = replace(content.result, parameters=parameters, regularisation=regularisation)
    return model._adopt(result, content.dtype)


def checksum(state: State) -> str:
    """Return the SHA-256 of every name and value but the checksum itself, the same on every machine."""
    digest = hashlib.sha256()
    for name in sorted(state.keys() - {"checksum"}):
        value = state[name]
        if isinstance(value, Tensor):
            array = value.cpu().numpy().astype("<f8", copy=False)
            digest.update(json.dumps([name, list(array.shape)]).encode() + b"\n" + array.tobytes())
        else:
            digest.update(json.dumps([name, value, type(value).__name__]).encode() + b"\n")
    return digest.hexdigest()
