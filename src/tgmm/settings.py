"""Constructor parameters, checked against the data: priors, starts, numbers."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tgmm.covariance import CovarianceCollapse, CovarianceStructure, structure_named
from tgmm.dlpack import imported
from tgmm.parameters import Parameters
from tgmm.priors import Priors
from tgmm.start import STARTS
from tgmm.validation import as_float64


def check_integer(value: Any, name: str, least: int) -> int:
    """Return an integer parameter, or raise a ValueError that names it."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer >= {least}; got {value!r}.")
    return int(value)


def check_number(value: Any, name: str, least: float = 0.0) -> float:
    """Return a finite real parameter, or raise a ValueError that names it."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
    if not real or not np.isfinite(float(value)) or float(value) < least:
        raise ValueError(f"{name} must be a finite number >= {least:g}; got {value!r}.")
    return float(value)


def check_flag(value: Any, name: str) -> bool:
    """Return a parameter that is True or False, or raise a ValueError that names it."""
    if not isinstance(value, bool | np.bool_ | numbers.Integral) or value not in (0, 1):
        raise ValueError(f"{name} must be True or False; got {value!r}.")
    return bool(value)


def check_verbose(value: Any) -> bool:
    """Return whether to report progress, for a bool or a level as an integer, or raise a ValueError."""
    return value if isinstance(value, bool) else check_integer(value, "verbose", 0) > 0


def check_accelerate(value: Any) -> bool:
    """Return whether EM is to be accelerated, or raise a ValueError that names the choices."""
    if value is not None and value != "squarem":
        raise ValueError(f"accelerate must be None or 'squarem'; got {value!r}.")
    return value is not None


def check_device(device: Any, rows: Tensor, *, from_tensor: bool) -> torch.device:
    """Return the device to compute on: the one asked for, the tensor's own, else CUDA where there is one."""
    if device is None:
        return rows.device if from_tensor else default_device()
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).item()  # a device that only describes tensors has no values
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"device={device!r} cannot be used: {error}") from error
    return chosen


def default_device() -> torch.device:
    """Return CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_init_means(init_means: Any, n_components: int, n_features: int) -> str | Callable | Tensor:
    """Return the name of a start, a callable, or centres (K, d) in the user's units."""
    if isinstance(init_means, str):
        if init_means not in STARTS:
            choices = ", ".join(repr(name) for name in STARTS)
            raise ValueError(f"init_means must be one of {choices}, an array or a callable; got {init_means!r}.")
        return init_means
    return init_means if callable(init_means) else check_means(init_means, n_components, n_features, "init_means")


def check_means(value: Any, n_components: int, n_features: int, name: str) -> Tensor:
    """Return (K, d) finite means, or raise a ValueError that names the parameter."""
    means = as_float64(value, name)
    if means.shape != (n_components, n_features):
        raise ValueError(
            f"{name} must have shape (n_components, n_features) = ({n_components}, {n_features}); "
            f"got shape {tuple(means.shape)}."
        )
    _require_finite(means, name)
    return means


def check_mixing_weights(value: Any, n_components: int, name: str) -> Tensor:
    """Return weights (K,) that sum to 1, or raise a ValueError that names the parameter."""
    weights = as_float64(value, name)
    if weights.shape != (n_components,):
        raise ValueError(
            f"{name} must have shape (n_components,) = ({n_components},); got shape {tuple(weights.shape)}."
        )
    if not (torch.isfinite(weights).all() and (weights >= 0).all() and abs(float(weights.sum()) - 1) < 1e-3):
        raise ValueError(f"{name} must be >= 0 and sum to 1; got {weights.tolist()}.")
    return weights / weights.sum()


def check_parameters(
    weights: Any, means: Any, covariances: Any, covariance_type: str
) -> tuple[Parameters, torch.dtype]:
    """Return the parameters of a mixture in float64 and the float type they came in.

    They stay on the device of the means.
    """
    structure = structure_named(covariance_type)
    means = imported(means, "means")
    dtype = means.dtype if isinstance(means, Tensor) else np.asarray(means).dtype
    device = means.device if isinstance(means, Tensor) else torch.device("cpu")
    checked = as_float64(means, "means")
    if checked.ndim != 2 or 0 in checked.shape:
        raise ValueError(f"means must have shape (n_components, n_features); got shape {tuple(checked.shape)}.")
    n_components, n_features = checked.shape
    parameters = Parameters(
        check_mixing_weights(weights, n_components, "weights").to(device),
        check_means(means, n_components, n_features, "means").to(device),
        check_covariances(covariances, structure, n_components, n_features, "covariances").to(device),
    )
    return parameters, torch.float32 if str(dtype).endswith(("float32", "float16")) else torch.float64


def check_covariances(
    value: Any, structure: CovarianceStructure, n_components: int, n_features: int, name: str
) -> Tensor:
    """Return positive definite covariances (B, ...), broadcast over K, or raise a ValueError that names them."""
    covariances = as_float64(value, name)
    wanted = structure.shape(n_components, n_features)
    alone = structure.shape_of_one(n_features)
    if covariances.shape not in (wanted, alone):
        either = f"{wanted}" if wanted == alone else f"{wanted} or {alone}"
        raise ValueError(
            f"{name} must have shape {either} for covariance_type={structure.name!r}, K={n_components} and "
            f"d={n_features}; got shape {tuple(covariances.shape)}."
        )
    _require_finite(covariances, name)
    covariances = structure.from_public(covariances, n_components, n_features)
    symmetric = structure.unpack(structure.pack(covariances), n_features)
    if not torch.allclose(covariances, symmetric, rtol=1e-6, atol=1e-8 * float(covariances.abs().amax())):
        raise ValueError(f"{name} must be symmetric.")
    try:
        structure.factor(covariances, n_features)
    except CovarianceCollapse as error:
        raise ValueError(f"{name} must be positive definite; that of component {error.component} is not.") from error
    return symmetric


def check_priors(
    structure: CovarianceStructure,
    n_components: int,
    n_features: int,
    *,
    weight_concentration_prior: Any,
    mean_prior: Any,
    mean_precision_prior: Any,
    covariance_prior: Any,
    degrees_of_freedom_prior: Any,
) -> Priors:
    """Return the priors in the user's units, or raise a ValueError that names the parameter at fault."""
    _require_pair(mean_prior, "mean_prior", mean_precision_prior, "mean_precision_prior")
    _require_pair(covariance_prior, "covariance_prior", degrees_of_freedom_prior, "degrees_of_freedom_prior")
    concentration = mean = mean_precision = scatter = degrees_of_freedom = None
    if weight_concentration_prior is not None:
        concentration = _check_vector(weight_concentration_prior, n_components, "weight_concentration_prior", 0.0)
    if mean_prior is not None:
        mean = as_float64(mean_prior, "mean_prior")
        if mean.shape not in ((n_features,), (n_components, n_features)):
            raise ValueError(
                f"mean_prior must have shape (n_features,) = ({n_features},) or (n_components, n_features) = "
                f"({n_components}, {n_features}); got shape {tuple(mean.shape)}."
            )
        _require_finite(mean, "mean_prior")
        mean = mean.expand(n_components, n_features)
        mean_precision = _check_vector(mean_precision_prior, n_components, "mean_precision_prior", 0.0)
    if covariance_prior is not None:
        covariances = check_covariances(covariance_prior, structure, n_components, n_features, "covariance_prior")
        scatter = structure.pack(covariances)
        least = float(structure.prior_constant(n_features) - 2)  # d - 1 for full types, 0 for others
        degrees_of_freedom = _check_vector(
            degrees_of_freedom_prior, structure.n_covariances(n_components), "degrees_of_freedom_prior", least
        )
    return Priors(concentration, mean, mean_precision, scatter, degrees_of_freedom)


def _check_vector(value: Any, size: int, name: str, above: float) -> Tensor:
    """Return (size,) numbers, all > above, from a scalar or a vector."""
    vector = as_float64(value, name)
    if vector.ndim == 0:
        vector = vector.expand(size)
    if vector.shape != (size,):
        raise ValueError(f"{name} must be a scalar or have shape ({size},); got shape {tuple(vector.shape)}.")
    if not (torch.isfinite(vector).all() and (vector > above).all()):
        raise ValueError(f"{name} must be finite and > {above:g}; got {vector.tolist()}.")
    return vector


def _require_pair(first: Any, first_name: str, second: Any, second_name: str) -> None:
    for given, missing, given_name, missing_name in (
        (first, second, first_name, second_name),
        (second, first, second_name, first_name),
    ):
        if given is not None and missing is None:
            raise ValueError(f"{given_name} needs {missing_name}: give both or neither.")


def _require_finite(values: Tensor, name: str) -> None:
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} must be finite; got {values.tolist()}.")
