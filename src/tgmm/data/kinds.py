"""The kinds of input, as types: tensors give tensors, and arrays and data frames give arrays."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any, Protocol, TypeAlias

import numpy as np


class HasColumns(Protocol):
    """A data frame."""

    @property
    def columns(self) -> Any:
        """The names of the columns."""
        ...


Arrays: TypeAlias = np.ndarray | Sequence[Any] | HasColumns | PathLike[str]  # results for these are NumPy arrays
