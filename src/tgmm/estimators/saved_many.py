"""The result of many fits as a flat dict and back: the common settings, and each problem's solution under a prefix."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tgmm.em.solution import Solution
from tgmm.estimators import saving
from tgmm.estimators.base import settings_of
from tgmm.estimators.gaussian_mixture import GaussianMixture
from tgmm.estimators.nesting import SETTINGS, part_of, prefixed
from tgmm.files.plain import PLAIN, State, plain_values
from tgmm.files.store import check_parts, own, signed
from tgmm.runtime.devices import check_device, float64_device

FORMAT_VERSION, KIND = 1, "Mixtures"
ENTRIES: dict[str, type] = {
    "format_version": int,
    "kind": str,
    "checksum": str,
    "n_problems": int,
    "groups_": str,
    "failures_": str,
    "notes_": str,
}
STARTS = {"init_means", "init_weights", "init_covariances"}  # settings that a problem can have of its own


@dataclass(frozen=True)
class Stored:
    """What a file holds of many fits.

    Parameters
    ----------
    settings : mapping
        The common ones.
    starts : sequence of mappings
        The settings of each problem's start that are its own.
    solutions : dict
        By the numbers of the problems; those that failed have none.
    groups : list or None
    failures, notes : dict
        By group, or by number.
    """

    settings: Mapping[str, Any]
    starts: Sequence[Mapping[str, Any]]
    solutions: Mapping[int, Solution]
    groups: list[Any] | None
    failures: dict[Any, str]
    notes: dict[Any, str]


def state_of(stored: Stored) -> tuple[State, list[str]]:
    """Return the state dict, and the names of the settings that are no plain data and are left out."""
    for key in stored.groups or ():
        if type(key) not in PLAIN:
            raise ValueError(
                f"groups must be numbers or text to be saved; got {key!r}, a {type(key).__name__}. Fit with "
                "groups=[str(group) for group in groups]."
            )
    settings, left_out = settings_of(GaussianMixture(**stored.settings))
    state: State = {
        **prefixed(settings, "settings"),
        "format_version": FORMAT_VERSION,
        "kind": KIND,
        "n_problems": len(stored.starts),
        "groups_": json.dumps(stored.groups),
        "failures_": json.dumps(list(stored.failures.items())),
        "notes_": json.dumps(list(stored.notes.items())),
    }
    for place, solution in stored.solutions.items():
        start, _ = plain_values(stored.starts[place])
        state |= prefixed(saving.state_of(solution, start), f"problems.{place}")
    return signed(state), left_out


def content_of(state: Any, device: Any) -> Stored:
    """Return what a state dict says, checked, for a device of the user's choice."""
    check_parts(state, KIND, ENTRIES, FORMAT_VERSION)
    settings = {name: own(value) for name, value in part_of(state, "settings").items()}
    if unknown := sorted(settings.keys() - SETTINGS):
        raise ValueError(f"it has the unknown settings {', '.join(unknown)}.")
    groups, failures, notes = (json.loads(state[name]) for name in ("groups_", "failures_", "notes_"))
    count = state["n_problems"]
    if groups is not None and len(groups) != count:
        raise ValueError(f"it has {len(groups)} groups for {count} problems.")
    starts, solutions = _problems(state, count, device)
    given = GaussianMixture(**saving.as_given(settings), device=device).get_params(deep=False)
    return Stored(given, starts, solutions, groups, dict(failures), dict(notes))


def _problems(state: State, count: int, device: Any) -> tuple[list[State], dict[int, Solution]]:
    """Return the settings of each problem's own start, and the solutions of those that did not fail."""
    parts: dict[int, State] = {}
    for name, value in state.items():
        if name.startswith("problems."):
            _, place, entry = name.split(".", 2)
            parts.setdefault(int(place), {})[entry] = value
    if not parts or not set(parts) <= set(range(count)):
        raise ValueError(f"its problems are not those numbered 0 to {count - 1}.")
    starts: list[State] = [{} for _ in range(count)]
    solutions = {}
    place_of_fit = float64_device(check_device(device))
    for place in sorted(parts):
        content = saving.content_of(parts[place], STARTS, KIND)
        starts[place], solutions[place] = content.settings, saving.on_device(content.solution, place_of_fit, device)
    mixtures = [solution.mixture for solution in solutions.values()]
    if len({(m.n_components, m.n_features, m.covariance_type) for m in mixtures}) > 1:
        raise ValueError("its mixtures differ in their numbers of components or features, or in their types.")
    return starts, solutions
