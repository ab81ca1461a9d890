"""What a state dict must be before a model is made of it. Every failure is an exception that says what is wrong."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tgmm import settings
from tgmm.covariance import ALIASES, CovarianceStructure, structure_named
from tgmm.em.stepwise import Continuation
from tgmm.estimation import Result
from tgmm.parameters import Parameters
from tgmm.persistence.state import FORMAT_VERSION, Content, checksum
from tgmm.plain import PLAIN, State

FLOAT_TYPES = {"float32": torch.float32, "float64": torch.float64}
KINDS: dict[str, type] = {
    "format_version": int,
    "checksum": str,
    "fitted_covariance_type": str,
    "float_type": str,
    "weights_": Tensor,
    "means_": Tensor,
    "covariances_": Tensor,
    "converged_": bool,
    "n_iter_": int,
    "lower_bound_": float,
    "objective_history_": Tensor,
    "reg_covar_": Tensor,
    "n_features_in_": int,
}
OPTIONAL_KINDS: dict[str, type] = {"feature_names_in_": str, "memory_": Tensor}
PRIORS = (
    "weight_concentration_prior",
    "mean_prior",
    "mean_precision_prior",
    "covariance_prior",
    "degrees_of_freedom_prior",
)
WEIGHTS_TOLERANCE = 1e-6  # weights are stored in float64, as they were normalised


def check_state(state: Any, names: set[str]) -> Content:
    """Return the content of a state dict with settings among ``names``, in memory of its own."""
    _check_kinds(state, names)
    if checksum(state) != state["checksum"]:
        raise ValueError("its checksum does not match: it was damaged or changed.")
    structure = structure_named(state["fitted_covariance_type"])
    parameters = _parameters(state, structure)
    n_components, n_features = parameters.means.shape
    chosen = {name: _copy(value) for name, value in state.items() if name in names}
    _check_settings(chosen, structure, n_components, n_features)
    if state["float_type"] not in FLOAT_TYPES:
        raise ValueError(f"float_type must be one of {', '.join(FLOAT_TYPES)}.")
    return Content(
        result=_result(state, parameters, structure),
        dtype=FLOAT_TYPES[state["float_type"]],
        n_features=n_features,
        feature_names=_feature_names(state.get("feature_names_in_"), n_features),
        settings=chosen,
    )


def _check_kinds(state: Any, names: set[str]) -> None:
    """Raise where the state is no flat dict, of another version, or lacks an entry or has another kind of it."""
    if not isinstance(state, dict):
        raise TypeError(f"a model is a dict; this is a {type(state).__name__}.")
    version = state.get("format_version")
    if type(version) is not int or version < 1:
        raise ValueError("it has no format_version, as every model has.")
    if version > FORMAT_VERSION:
        raise ValueError(f"its format_version is {version}, but this tgmm reads up to {FORMAT_VERSION}: upgrade tgmm.")
    if missing := sorted(KINDS.keys() - state.keys()):
        raise ValueError(f"it lacks {', '.join(missing)}.")
    kinds = KINDS | OPTIONAL_KINDS
    for name, value in state.items():
        if name not in kinds and name not in names:
            raise ValueError(f"it has the unknown entry {name!r}.")
        if type(value) is Tensor:
            _check_tensor(value, name)
        elif type(value) not in PLAIN:
            raise TypeError(f"{name} is a {type(value).__name__}, neither a tensor nor a plain value.")
        if name in kinds and type(value) is not kinds[name]:
            raise TypeError(f"{name} must be a {kinds[name].__name__}; it is a {type(value).__name__}.")


def _check_tensor(tensor: Tensor, name: str) -> None:
    """Raise where a tensor is not an array of float64 numbers in memory, each in its own place."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.dtype != torch.float64 or not tensor.is_contiguous():
        raise ValueError(f"{name} must be a dense, contiguous float64 tensor; its type is {tensor.dtype}.")


def _parameters(state: State, structure: CovarianceStructure) -> Parameters:
    """Return the parameters of a valid mixture, bit for bit."""
    weights, means, covariances = (_copy(state[name]) for name in ("weights_", "means_", "covariances_"))
    if weights.ndim != 1 or means.ndim != 2 or len(weights) != len(means) or 0 in means.shape:
        raise ValueError(
            f"weights_ (K,) and means_ (K, d) do not belong together: {tuple(weights.shape)} and {tuple(means.shape)}."
        )
    n_components, n_features = means.shape
    if state["n_features_in_"] != n_features:
        raise ValueError(f"n_features_in_={state['n_features_in_']}, but means_ has {n_features} features.")
    wanted = structure.shape(n_components, n_features)
    if covariances.shape != wanted:
        raise ValueError(f"covariances_ must have shape {wanted}; it has {tuple(covariances.shape)}.")
    settings.check_mixing_weights(weights, n_components, "weights_")
    if abs(float(weights.sum()) - 1) > WEIGHTS_TOLERANCE:
        raise ValueError(f"weights_ must sum to 1; the sum is {float(weights.sum())!r}.")
    settings.check_means(means, n_components, n_features, "means_")
    settings.check_covariances(covariances, structure, n_components, n_features, "covariances_")
    return Parameters(weights, means, structure.from_public(covariances, n_components, n_features).contiguous())


def _result(state: State, parameters: Parameters, structure: CovarianceStructure) -> Result:
    """Return what the fit reported, with its parameters."""
    history, regularisation = _copy(state["objective_history_"]), _copy(state["reg_covar_"])
    if history.ndim != 1 or history.isnan().any():
        raise ValueError("objective_history_ must be a list of numbers.")
    if history.numel() and state["lower_bound_"] != state["lower_bound_"]:
        raise ValueError("lower_bound_ is NaN.")
    if state["n_iter_"] < 0:
        raise ValueError(f"n_iter_ must not be negative; it is {state['n_iter_']}.")
    n_features = parameters.means.shape[1]
    if regularisation.shape not in ((), (n_features,)):
        raise ValueError(f"reg_covar_ must have shape () or ({n_features},); it has {tuple(regularisation.shape)}.")
    if not (torch.isfinite(regularisation).all() and (regularisation >= 0).all()):
        raise ValueError("reg_covar_ must be finite and not negative.")
    return Result(
        parameters=parameters,
        structure=structure,
        converged=state["converged_"],
        n_iter=state["n_iter_"],
        log_likelihood=state["lower_bound_"],
        history=history.tolist(),
        regularisation=regularisation,
        notes=[],
        continuation=_continuation(state, parameters, structure, regularisation),
    )


def _continuation(
    state: State, parameters: Parameters, structure: CovarianceStructure, regularisation: Tensor
) -> Continuation | None:
    """Return what online learning goes on from: the parameters, with the weights and batches they came from."""
    if "memory_" not in state:
        return None
    counts = state["memory_"]
    if counts.shape != (3,) or not (torch.isfinite(counts).all() and (counts > 0).all()):
        raise ValueError(f"memory_ must be three positive numbers; it is {counts.tolist()}.")
    weight, seen, n_batches = counts.tolist()
    found = Continuation.of_parameters(parameters, structure, regularisation, FLOAT_TYPES[state["float_type"]])
    return replace(found, memory=found.memory.weighing(weight, seen, int(n_batches)))


def _feature_names(text: Any, n_features: int) -> list[str] | None:
    """Return the names of the features from JSON, or None where there are none."""
    if text is None:
        return None
    names = json.loads(text)
    if not isinstance(names, list) or len(names) != n_features or any(type(name) is not str for name in names):
        raise ValueError(f"feature_names_in_ must be a list of {n_features} names.")
    return names


def _check_settings(chosen: State, structure: CovarianceStructure, n_components: int, n_features: int) -> None:
    """Raise for numbers that are not finite, and for priors that do not fit the mixture they are meant for."""
    for name, value in chosen.items():
        if isinstance(value, Tensor):
            finite = bool(torch.isfinite(value).all())
        else:
            finite = type(value) is not float or math.isfinite(value)
        if not finite:
            raise ValueError(f"{name} must be finite.")
    covariance_type = str(chosen.get("covariance_type"))
    if chosen.get("n_components") != n_components or ALIASES.get(covariance_type, covariance_type) != structure.name:
        return  # set for the next fit
    priors = {name: chosen.get(name) for name in PRIORS}
    settings.check_priors(structure, n_components, n_features, **priors)


def _copy(value: Any) -> Any:
    """Return a value that shares no memory with the state dict."""
    return value.detach().cpu().clone() if isinstance(value, Tensor) else value
