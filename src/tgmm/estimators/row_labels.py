"""Labels that rows have: of their groups, or of their classes."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np

from tgmm.runtime.checks import refuse_masked

# Of labels that NumPy makes equal, or text, where they are together in a list; another kind is its own type.
KINDS = {"bool": (bool, np.bool_), "number": Number, "text": str, "bytes": bytes}


def require_labels(labels: Any, name: str) -> None:
    """Raise a ValueError for the first label that is missing, or of another kind than that of the first row.

    Lists are looked at before NumPy turns all that they hold into one type, and NaN among text into a class of its own.

    Parameters
    ----------
    labels : array-like of shape (n,)
        Labels of another shape are left to other checks.
    name : str
        What to call them.
    """
    refuse_masked(labels, name)
    values = np.asarray(labels)
    if values.ndim != 1:
        return
    if isinstance(labels, list | tuple):
        values = np.empty(len(labels), dtype=object)
        values[:] = labels
    missing = _missing(values)
    if missing.any():
        raise ValueError(f"{name} has no label for row {int(missing.argmax())}: drop such rows, or give them a label.")
    if values.dtype.kind == "O":
        _require_one_kind(values, name)


def _missing(labels: np.ndarray) -> np.ndarray:
    """Return which labels are missing."""
    if labels.dtype.kind == "O":
        marks = (value is None or type(value).__name__ == "NAType" or value != value for value in labels)
        return np.fromiter(marks, dtype=bool, count=len(labels))
    return labels != labels if labels.dtype.kind in "fmM" else np.zeros(len(labels), dtype=bool)


def _require_one_kind(labels: np.ndarray, name: str) -> None:
    """Raise a ValueError for the first label of another kind than that of the first row."""
    kinds = {each: _kind(each) for each in set(map(type, labels))}
    if len(set(kinds.values())) < 2:
        return
    row = next(row for row, value in enumerate(labels) if kinds[type(value)] != kinds[type(labels[0])])
    raise ValueError(
        f"{name} must be labels of one kind, all numbers or all text; got {labels[0]!r} for row 0, and {labels[row]!r} "
        f"for row {row}. Turn them into text, for example: [str(label) for label in {name}]."
    )


def _kind(label: type) -> str:
    """Return what kind of label a type is."""
    return next((kind for kind, types in KINDS.items() if issubclass(label, types)), label.__name__)
