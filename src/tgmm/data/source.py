"""Sources: rows that are read batch by batch, as often as needed, and never all at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tgmm.data.columns import arrays_of
from tgmm.data.validation import check_batch
from tgmm.runtime.checks import as_float64
from tgmm.runtime.devices import widen, working_type
from tgmm.runtime.words import number_of

READ_BYTES = 8 << 20  # about what is read at a time


class Source(ABC):
    """Rows that are read batch by batch. EM reads them once in each iteration.

    Write a subclass for a data store that tgmm does not know. Its ``__iter__`` must start at the first row each time.

    Attributes
    ----------
    n_rows : int or None
        The number of rows, if it is known before they are read.
    feature_names : sequence of str or None
        The names of the features, if they have names.
    in_order : bool
        Whether the rows always come in the order of the data. Arguments with one value a row, such as `sample_weight`,
        require it. True by default; set it to False in a subclass that shuffles.
    keeps_batches : bool
        Whether a batch stays as it is when the next ones are read. False by default: batches are then copied as they
        come, so that the source may fill one buffer again and again. Set it to True in a subclass that never changes a
        batch after yielding it. This saves the copies.

    Examples
    --------
    >>> import numpy as np
    >>> from tgmm import GaussianMixture
    >>> from tgmm.data import Source
    >>> class Halves(Source):
    ...     def __iter__(self):
    ...         yield np.array([[0.0], [1.0], [2.0]])
    ...         yield np.array([[3.0], [4.0]])
    >>> GaussianMixture().fit(Halves()).means_
    array([[2.]])
    """

    n_rows: int | None = None
    feature_names: Sequence[str] | None = None
    in_order: bool = True
    keeps_batches: bool = False

    @abstractmethod
    def __iter__(self) -> Iterator[Any]:
        """Yield arrays, tensors or data frames (c, d), or pairs of such rows and their weights (c,), floats."""


class Batch(NamedTuple):
    """One batch of a source as tensors, in a float type."""

    rows: Tensor  # (c, d)
    weights: Tensor | None  # (c,) float64
    arrays: str  # the kind that the rows came as
    names: list[str] | None = None  # of the columns of a data frame

    def copied(self) -> Batch:
        """Return the batch in memory of its own."""
        return self._replace(rows=self.rows.clone(), weights=None if self.weights is None else self.weights.clone())


def as_batch(item: Any, number: int) -> Batch:
    """Return what a source yields as tensors, or raise a ValueError that names the batch."""
    rows, weights = item, None
    if isinstance(item, tuple | list):
        if len(item) not in (1, 2):
            raise ValueError(
                f"Batch {number} is a {type(item).__name__} of {len(item)}; a batch is an array or a tensor of rows, "
                "or a pair (rows, weights)."
            )
        rows, weights = item if len(item) == 2 else (item[0], None)
    names = [str(name) for name in rows.columns] if hasattr(rows, "columns") else None
    arrays, rows = arrays_of(rows), _as_rows(rows, number)
    if rows.ndim != 2:
        raise ValueError(
            f"Batch {number} has shape {tuple(rows.shape)}; batches of rows have shape (rows, features). A loader "
            "that yields single rows needs a batch size."
        )
    if weights is None:
        return Batch(rows, None, arrays, names)
    weights = _as_weights(weights, number)
    if weights.shape != rows.shape[:1]:
        raise ValueError(
            f"The weights of batch {number} have shape {tuple(weights.shape)}, but it has "
            f"{number_of(rows.shape[0], 'row')}: one weight per row is needed."
        )
    return Batch(rows, weights, arrays, names)


def _as_rows(rows: Any, number: int) -> Tensor:
    """Return rows in the float type of the computation, or in a narrower one."""
    if isinstance(rows, Tensor):
        if rows.is_complex() or rows.layout != torch.strided:
            raise ValueError(f"Batch {number} must be a dense tensor of real numbers; got {rows.dtype}, {rows.layout}.")
        rows = rows.detach()
        rows = rows if rows.is_floating_point() else widen(rows)
        return rows.to(working_type(rows.dtype))
    try:
        return check_batch(rows)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Batch {number}, a {type(rows).__name__}, is not an array of real numbers: {error}"
        ) from error


def _as_weights(weights: Any, number: int) -> Tensor:
    """Return the second member of a batch as weights. Integers are refused, because they are probably labels."""
    dtype = weights.dtype if isinstance(weights, Tensor) else np.asarray(weights).dtype
    if str(dtype).removeprefix("torch.").startswith(("int", "uint", "bool")):
        raise ValueError(
            f"The second member of batch {number} holds {dtype}, as labels do, but it is read as the weights of the "
            "rows. Weights are floats (pass weights.double(), or sample_weight); to leave labels out, yield the rows "
            "alone."
        )
    return as_float64(weights, f"the weights of batch {number}")


def require_order(source: Source, name: str) -> None:
    """Raise a ValueError if an argument has one value a row, but the source may not keep the order of the rows."""
    if not source.in_order:
        raise ValueError(
            f"{name} is given row by row, but X does not promise to yield its rows in the order of the data (a loader "
            "that shuffles, for example), so it is unknown which row each value belongs to. Read the rows in "
            "order (shuffle=False), or let X yield pairs (rows, weights)."
        )


def rows_per_read(n_features: int, itemsize: int) -> int:
    """Return how many rows are read at a time."""
    return max(READ_BYTES // (n_features * itemsize), 1)
