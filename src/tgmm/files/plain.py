"""Settings as plain data: what can be stored, sent and compared."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tgmm.runtime.checks import as_float64

PLAIN = (str, float, int, bool, type(None))
State = dict[str, Any]  # values are float64 tensors or of a PLAIN type


def plain_values(values: Mapping[str, Any]) -> tuple[State, list[str]]:
    """Return those of some values that are plain data, and the names of the others."""
    state: State = {}
    left_out = []
    for name in sorted(values):
        value = values[name]
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, Mapping) or (isinstance(value, Collection) and _are_names(value)):
            state[name] = json.dumps(value if isinstance(value, Mapping) else sorted(value), default=_listed)
            continue
        try:
            state[name] = value if type(value) in PLAIN else stored(as_float64(value, name))
        except ValueError:
            left_out.append(name)
    return state, left_out


def warn_of_unsaved(names: list[str], level: int = 1) -> None:
    """Say which settings a file leaves out, on behalf of what called so many levels up."""
    if names:
        what = f"{', '.join(names)}. Set them again after load."
        warnings.warn(f"Not saved, because they are not plain data: {what}", UserWarning, stacklevel=level + 2)


def _are_names(values: Collection) -> bool:
    """Whether values are strings, at least one."""
    return (
        isinstance(values, list | tuple | set | frozenset) and len(values) > 0 and all(type(v) is str for v in values)
    )


def _listed(values: Any) -> Any:
    """Return an array as JSON has it."""
    return np.asarray(values).tolist()


def stored(tensor: Tensor) -> Tensor:
    """Return a copy as it is stored: float64, on the CPU, contiguous."""
    return tensor.detach().cpu().double().clone(memory_format=torch.contiguous_format)


def differences(one: State, other: State) -> list[str]:
    """Return the names under which two states differ."""
    return [name for name in sorted(one.keys() | other.keys()) if not _equal(one.get(name), other.get(name))]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and one == other
