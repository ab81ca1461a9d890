"""Which columns of a table are features, and which is the weight."""

from __future__ import annotations

from collections.abc import Sequence


def feature_columns(names: Sequence[str], columns: Sequence[str] | None, weight_column: str | None) -> list[str]:
    """Return the features: the columns asked for, or all but the weight.

    Raises
    ------
    ValueError
        If a column is not there, or none is left.
    """
    wanted = [name for name in names if name != weight_column] if columns is None else list(columns)
    missing = [name for name in [*wanted, weight_column] if name is not None and name not in names]
    if missing:
        raise ValueError(f"columns {missing} are not in the table; it has {list(names)}.")
    if not wanted:
        raise ValueError(f"columns leaves no feature of {list(names)}: name at least one.")
    return wanted
