"""Batches: a re-iterable of rows with optional weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Chunk(NamedTuple):
    """Consecutive rows of the data."""

    rows: Tensor  # (c, d), in the user's units
    weights: Tensor | None  # (c,)
    first: int  # the index of the first row


class Batches(Protocol):
    """What the engine asks of data."""

    n_features: int
    n_rows: int
    device: torch.device
    dtype: torch.dtype

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows in order, as often as asked."""
        ...

    def take(self, indices: Tensor) -> Chunk:
        """Return the rows with these indices."""
        ...


class TensorBatches:
    """Rows that are in memory: one batch.

    Parameters
    ----------
    rows : Tensor of shape (n, d)
    weights : Tensor of shape (n,), float64, or None
    """

    def __init__(self, rows: Tensor, weights: Tensor | None = None) -> None:
        self.rows = rows
        self.weights = weights
        self.n_rows, self.n_features = rows.shape
        self.device, self.dtype = rows.device, rows.dtype

    def __iter__(self) -> Iterator[Chunk]:
        """Yield all rows at once."""
        yield Chunk(self.rows, self.weights, 0)

    def take(self, indices: Tensor) -> Chunk:
        """Return the rows with these indices."""
        weights = None if self.weights is None else self.weights[indices]
        return Chunk(self.rows[indices], weights, 0)


def chunks(batches: Batches, n_rows: int) -> Iterator[Chunk]:
    """Yield the rows of batches at most n_rows at a time."""
    for rows, weights, first in batches:
        for start in range(0, rows.shape[0], n_rows):
            part = slice(start, start + n_rows)
            yield Chunk(rows[part], None if weights is None else weights[part], first + start)
