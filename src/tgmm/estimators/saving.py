"""A fitted estimator as a flat dict and back: its mixture, what the fit reported, and its settings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance import ALIASES
from tgmm.em.solution import Solution
from tgmm.em.state import FollowedRun
from tgmm.estimators.default_priors import without_defaults
from tgmm.estimators.saved_memory import KINDS, continuation_of, memory_state
from tgmm.estimators.settings import PRIORS, check_priors
from tgmm.files.plain import State, stored
from tgmm.files.store import own, signed
from tgmm.mixture import saving
from tgmm.mixture.mixture import Mixture
from tgmm.runtime.checks import as_float64

RECORD: dict[str, type] = {
    "converged_": bool,
    "n_iter_": int,
    "lower_bound_": float,
    "objective_history_": Tensor,
    "reg_covar_": Tensor,
}
OPTIONAL: dict[str, type] = {**saving.OPTIONAL_KINDS, **KINDS, "runs_": str, "component_names_": str}


@dataclass(frozen=True)
class Content:
    """What a state dict says, checked."""

    solution: Solution  # its parameters on the CPU
    settings: State


def state_of(solution: Solution, settings: State) -> State:
    """Return the state of a solution with settings as plain data."""
    state: State = {
        **settings,
        **saving.state_of(solution.mixture),
        "converged_": bool(solution.converged),
        "n_iter_": int(solution.n_iter),
        "lower_bound_": float(solution.log_likelihood),
        "objective_history_": as_float64(solution.history, "objective_history_"),
        "reg_covar_": stored(solution.regularisation),
    }
    if solution.runs:
        state["runs_"] = json.dumps(solution.runs)
    if solution.component_names:
        state["component_names_"] = json.dumps(solution.component_names)
    if solution.continuation is not None:
        state |= memory_state(solution.continuation, solution.mixture)
    return signed(state)


def content_of(
    state: Any, names: set[str], owner: str, check: Callable[[State, Mixture], None] | None = None
) -> Content:
    """Return the content of a state dict with settings among ``names``, in memory of its own.

    Settings are checked as `GaussianMixture`'s unless another check is given. A dict that holds a mixture alone, as
    `Mixture.save` writes it, is an estimator as if fitted.
    """
    is_record = isinstance(state, dict) and not RECORD.keys().isdisjoint(state)
    saving.check_entries(state, saving.KINDS | (RECORD if is_record else {}), OPTIONAL)
    for name in state:
        if name not in saving.KINDS | RECORD | OPTIONAL and name not in names:
            raise ValueError(
                f"it has the unknown entry {name!r}: another estimator than {owner}, or a newer tgmm, saved it."
            )
    mixture = saving.mixture_of(Mixture, state, owner)
    if not is_record:
        own_settings = {"n_components": mixture.n_components, "covariance_type": mixture.covariance_type}
        if mixture.structure.n_factors is not None:
            own_settings["n_factors"] = mixture.structure.n_factors
        return Content(Solution(mixture), own_settings)
    chosen = as_given({name: own(value) for name, value in state.items() if name in names})
    check_finite(chosen)
    (check_own_priors if check is None else check)(chosen, mixture)
    return Content(_solution(state, mixture), chosen)


def as_given(settings: State) -> State:
    """Return settings with lists and dicts of names, which are stored as JSON, as they were given."""
    fixed = settings.get("fixed")
    if isinstance(fixed, str) and fixed.startswith(("[", "{")):
        return settings | {"fixed": json.loads(fixed)}
    return settings


def on_device(solution: Solution, place: torch.device, device: Any) -> Solution:
    """Return a solution with its parameters in a place, that computes on the device of the user's choice."""
    mixture = saving.on_device(solution.mixture, place, device)
    return replace(solution, mixture=mixture, regularisation=solution.regularisation.to(place))


def _solution(state: State, mixture: Mixture) -> Solution:
    """Return what the fit reported, with its mixture."""
    history, regularisation = own(state["objective_history_"]), own(state["reg_covar_"])
    if history.ndim != 1 or history.isnan().any():
        raise ValueError("objective_history_ must be a list of numbers.")
    if history.numel() and state["lower_bound_"] != state["lower_bound_"]:
        raise ValueError("lower_bound_ is NaN.")
    if state["n_iter_"] < 0:
        raise ValueError(f"n_iter_ must not be negative; it is {state['n_iter_']}.")
    n_features = mixture.n_features
    if regularisation.shape not in ((), (n_features,)):
        raise ValueError(f"reg_covar_ must have shape () or ({n_features},); it has {tuple(regularisation.shape)}.")
    if not (torch.isfinite(regularisation).all() and (regularisation >= 0).all()):
        raise ValueError("reg_covar_ must be finite and not negative.")
    return Solution(
        mixture=mixture,
        converged=state["converged_"],
        n_iter=state["n_iter_"],
        log_likelihood=state["lower_bound_"],
        history=tuple(history.tolist()),
        regularisation=regularisation,
        continuation=continuation_of(state, mixture, regularisation, state["lower_bound_"]),
        runs=_runs(state),
        component_names=_component_names(state, mixture.n_components),
    )


def _runs(state: State) -> tuple[FollowedRun, ...]:
    """Return the runs that were followed to the end."""
    try:
        return tuple(FollowedRun(float(a), str(b), int(c)) for a, b, c in json.loads(state.get("runs_", "[]")))
    except (TypeError, ValueError) as error:
        raise ValueError("runs_ must be a list of objectives, starts and seeds as JSON.") from error


def _component_names(state: State, n_components: int) -> tuple[str, ...]:
    """Return what the components are called; nothing where they have numbers alone."""
    if "component_names_" not in state:
        return ()
    names = json.loads(state["component_names_"])
    if not isinstance(names, list) or len(names) != n_components or any(type(name) is not str for name in names):
        raise ValueError(f"component_names_ must be a list of {n_components} names.")
    return tuple(names)


def check_finite(chosen: State) -> None:
    """Raise for settings that are numbers, but not finite."""
    for name, value in chosen.items():
        if isinstance(value, Tensor):
            finite = bool(torch.isfinite(value).all())
        else:
            finite = type(value) is not float or math.isfinite(value)
        if not finite:
            raise ValueError(f"{name} must be finite.")


def check_own_priors(chosen: State, mixture: Mixture) -> None:
    """Raise for priors that do not fit the mixture they are meant for."""
    if is_of(chosen, mixture):
        priors = without_defaults({name: chosen.get(name) for name in PRIORS})
        check_priors(mixture.structure, mixture.n_components, mixture.n_features, **priors)


def is_of(chosen: State, mixture: Mixture) -> bool:
    """Whether settings are those of a fit to such a mixture, rather than set for the next fit."""
    covariance_type = str(chosen.get("covariance_type"))
    same_type = ALIASES.get(covariance_type, covariance_type) == mixture.covariance_type
    return chosen.get("n_components") == mixture.n_components and same_type
