"""Data frames of pandas and polars, and polars' lazy frames; which columns of a table are features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tgmm.data.source import Source, rows_per_read
from tgmm.data.validation import check_batch

CHOOSE = "choose numeric columns with tgmm.data.TextSource(path, columns=[...]) or another source of tgmm.data"


class FrameSource(Source):
    """Columns of a data frame, converted to numbers one part at a time.

    Parameters
    ----------
    frame : pandas.DataFrame, polars.DataFrame or polars.LazyFrame
        The frame. A lazy frame is evaluated again for every pass over the rows.
    columns : sequence of str, optional
        Columns to use as features, in this order. By default all columns are used except the weights.
    weight_column : str, optional
        The column that holds the sample weights.

    Raises
    ------
    ValueError
        If a column is missing, or a lazy frame is one of polars before 1.34.

    Examples
    --------
    >>> import pandas as pd
    >>> from tgmm import GaussianMixture
    >>> from tgmm.data import FrameSource
    >>> frame = pd.DataFrame({"x": [0.0, 1.0, 5.0], "count": [1, 1, 2]})
    >>> GaussianMixture().fit(FrameSource(frame, weight_column="count")).means_
    array([[2.75]])
    """

    keeps_batches = True

    def __init__(self, frame: Any, columns: Sequence[str] | None = None, weight_column: str | None = None) -> None:
        self.is_lazy = hasattr(frame, "collect_schema") and not hasattr(frame, "shape")
        if self.is_lazy and not hasattr(frame, "collect_batches"):
            raise ValueError(
                "Lazy frames are read in parts by polars 1.34 or newer: update it, or pass frame.collect()."
            )
        names = frame.collect_schema().names() if self.is_lazy else list(frame.columns)
        self.frame = frame
        self.columns = feature_columns(names, columns, weight_column)
        self.feature_names = self.columns
        self.weight_column = weight_column
        self.n_rows = None if self.is_lazy else len(frame)

    def __iter__(self) -> Iterator[Any]:
        """Yield parts of the frame, or pairs of them and weights."""
        for part in self._parts(rows_per_read(len(self.columns), np.dtype(np.float64).itemsize)):
            rows = part[self.columns]
            yield rows if self.weight_column is None else (rows, check_batch(part[[self.weight_column]])[:, 0])

    def _parts(self, n_read: int) -> Iterator[Any]:
        """Yield frames of n_read rows."""
        if self.is_lazy:
            yield from self.frame.collect_batches(chunk_size=n_read, maintain_order=True)
            return
        rows = self.frame.iloc if hasattr(self.frame, "iloc") else self.frame
        for first in range(0, len(self.frame), n_read):
            yield rows[first : first + n_read]


def feature_columns(names: Sequence[str], columns: Sequence[str] | None, weight_column: str | None) -> list[str]:
    """Return the features: the columns asked for, or all but the weight.

    Raises
    ------
    ValueError
        If a column is missing, appears several times or has no name, or if no column is left.
    """
    counts = Counter(names)
    wanted = [name for name in names if name != weight_column] if columns is None else list(columns)
    needed = wanted if weight_column is None else [*wanted, weight_column]
    missing = [name for name in needed if name not in counts]
    if missing:
        raise ValueError(f"columns {missing} are not in the table; it has {list(names)}.")
    if not wanted:
        raise ValueError(f"columns selects no feature of {list(names)}: name at least one.")
    repeated = [name for name in dict.fromkeys(needed) if counts[name] > 1]
    if repeated:
        raise ValueError(f"The table has several columns of the name {repeated[0]!r}: rename them, or name others.")
    if "" in needed:
        raise ValueError(f"Column {names.index('')} of the table has no name: name it, or name the columns to be read.")
    return wanted
