"""Mixtures within the flat dict of an estimator that is composed of them, under prefixes, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tgmm.estimators import saving
from tgmm.estimators.base import OF_THE_MACHINE, settings_of, solution_of
from tgmm.estimators.gaussian_mixture import GaussianMixture, fitted_as
from tgmm.files.plain import State
from tgmm.files.store import own
from tgmm.runtime.devices import check_device, float64_device

SETTINGS = GaussianMixture().get_params(deep=False).keys() - OF_THE_MACHINE


def prefixed(state: State, prefix: str) -> State:
    """Return a state dict as a part of another."""
    return {f"{prefix}.{name}": value for name, value in state.items()}


def part_of(state: State, prefix: str) -> State:
    """Return the part of a state dict that has a prefix, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def fitted_state(model: GaussianMixture) -> State:
    """Return what is stored of a fitted mixture, with those of its settings that are plain data."""
    return saving.state_of(solution_of(model), settings_of(model)[0])


def fitted_model(state: State, device: Any, owner: str) -> GaussianMixture:
    """Return the fitted mixture of a state dict, which computes on a device of the user's choice."""
    content = saving.content_of(state, set(SETTINGS), owner)
    solution = saving.on_device(content.solution, float64_device(check_device(device)), device)
    return fitted_as(solution, {**content.settings, "device": device})


def template_state(estimator: Any, classes: Sequence[Any] = ()) -> tuple[State, list[str]]:
    """Return the state of the parameter `estimator`, and the names of the settings that cannot be stored.

    Parameters
    ----------
    estimator
        None, a `GaussianMixture`, a list of them, or a dict of them by class.
    classes : sequence
        The keys of a dict.
    """
    arrangement, models = _arrangement(estimator, classes)
    state: State = {"estimator": json.dumps([arrangement, len(models)])}
    left_out: list[str] = ["estimator"] if arrangement == "left out" else []
    for i, model in enumerate(models):
        settings, others = settings_of(model)
        state |= prefixed(settings, f"estimator.{i}")
        left_out += [f"estimator__{name}" for name in others]
    return state, list(dict.fromkeys(left_out))


def template_of(state: State, classes: Sequence[Any], device: Any) -> Any:
    """Return the parameter `estimator` of a state dict, whose mixtures compute on a device of the user's choice."""
    arrangement, count = json.loads(state["estimator"])
    if count not in (0, 1, len(classes)):
        raise ValueError(f"estimator must be one mixture, or one for each class; there are {count}.")
    models = [_template(part_of(state, f"estimator.{i}"), device) for i in range(count)]
    if arrangement == "list":
        return models
    if arrangement == "dict":
        return dict(zip(classes, models, strict=True))
    return models[0] if models else None


def _template(settings: State, device: Any) -> GaussianMixture:
    """Return a mixture with settings, not fitted."""
    if unknown := sorted(settings.keys() - SETTINGS):
        raise ValueError(f"its estimator has the unknown settings {', '.join(unknown)}.")
    return GaussianMixture(**saving.as_given({name: own(value) for name, value in settings.items()}), device=device)


def _arrangement(estimator: Any, classes: Sequence[Any]) -> tuple[str, list[GaussianMixture]]:
    """Return how the mixtures of the parameter `estimator` are arranged, and these; none where it cannot be stored."""
    if estimator is None:
        return "default", []
    found = {
        "dict": [estimator.get(c) for c in classes] if isinstance(estimator, Mapping) else [],
        "list": list(estimator) if isinstance(estimator, list | tuple) else [],
        "one": [estimator],
    }
    for arrangement, models in found.items():
        if models and all(isinstance(model, GaussianMixture) for model in models):
            return arrangement, models
    return "left out", []
