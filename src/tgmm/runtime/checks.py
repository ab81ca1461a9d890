"""Single values that users hand in: numbers, flags, arrays of numbers."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tgmm.runtime.dlpack import imported

KINDS = {"c": "complex", "S": "bytes", "U": "string", "M": "date", "m": "time"}


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


def require_finite(values: Tensor, name: str) -> None:
    """Raise a ValueError that names a parameter with an entry that is NaN or infinite."""
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} must be finite; got {values.tolist()}.")


def as_float64(value: Any, name: str) -> Tensor:
    """Return an array-like parameter as a float64 tensor on the CPU, or raise a ValueError that names it."""
    value = imported(value, name)
    if isinstance(value, Tensor):
        if value.is_complex():
            raise ValueError(f"{name} must be an array of real numbers; got a complex tensor.")
        return value.detach().cpu().double()
    try:
        kind = np.asarray(value).dtype.kind
        if kind in KINDS:
            raise TypeError(f"got {KINDS[kind]} values, {value!r}")
        return torch.from_numpy(np.array(value, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers: {error}.") from error
