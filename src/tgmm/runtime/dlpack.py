"""Arrays of other libraries, exchanged by DLPack: without a copy, on the device where they are.

The protocol and the namespaces are those of the Python array API standard. scikit-learn's tag `array_api_support` stays
unset all the same: it promises that `predict` refuses arrays of another library than that of `fit`, and a mixture here
answers each caller in the caller's own kind of array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def is_foreign(value: Any) -> bool:
    """Whether value is an array of a library other than NumPy and torch that can export itself."""
    return hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray | Tensor)


def imported(value: Any, name: str) -> Any:
    """Return a foreign array as a tensor that shares its memory, and anything else as it is."""
    if not is_foreign(value):
        return value
    try:
        return torch.from_dlpack(value)
    except Exception as error:  # Each library has errors of its own for what it cannot export.
        raise ValueError(
            f"{name}, a {type(value).__module__}.{type(value).__qualname__}, cannot be read by DLPack: {error}. Pass a "
            "NumPy array or a tensor."
        ) from error


def exporter(array: Any) -> Callable[[Tensor], Any]:
    """Return what turns results into arrays of the foreign array's library, or of NumPy where it names no namespace."""
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__().from_dlpack
    return lambda result: result.cpu().numpy()
