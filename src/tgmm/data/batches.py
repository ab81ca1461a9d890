"""Batches: a re-iterable of rows with optional weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from tgmm.processes import ALONE, Processes


class Chunk(NamedTuple):
    """Consecutive rows of the data."""

    rows: Tensor  # (c, d), in the user's units
    weights: Tensor | None  # (c,)
    first: int  # the index of the first row


class Batches(Protocol):
    """What the engine asks of data."""

    @property
    def processes(self) -> Processes:
        """The processes that share the rows."""
        ...

    @property
    def n_features(self) -> int:
        """The number of features."""
        ...

    @property
    def n_rows(self) -> int:
        """The number of rows, those of all processes."""
        ...

    @property
    def unit(self) -> float:
        """The unit of the weights that chunks have."""
        ...

    @property
    def weight(self) -> float:
        """The sum of the weights of all rows as they were given."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The widest float type of the rows."""
        ...

    def __iter__(self) -> Iterator[Chunk]:
        """Yield this process's rows in order, as often as asked; their indices are its own."""
        ...

    def take(self, indices: Tensor) -> Chunk:
        """Return the rows with these indices among all, which are sorted; all processes ask for the same."""
        ...

    def in_unit(self, unit: float) -> Batches:
        """Return the same rows with weights divided by unit."""
        ...

    def kept(self) -> Tensor | None:
        """Return which of this process's rows that were given have a positive weight, or None where all have."""
        ...


@dataclass
class TensorBatches:
    """Rows that are in memory: one batch."""

    rows: Tensor  # (n, d)
    weights: Tensor | None = None  # (n,) float64, in units of unit
    unit: float = 1.0
    mask: Tensor | None = None  # which rows were kept of those given
    processes: Processes = ALONE

    @classmethod
    def of(cls, rows: Tensor, weights: Tensor | None) -> TensorBatches:
        """Leave out rows of weight 0."""
        if weights is None or bool((weights > 0).all()):
            return cls(rows, None if weights is None else weights.to(rows.device))
        kept = (weights > 0).to(rows.device)
        return cls(rows[kept], weights.to(rows.device)[kept], mask=kept)

    def __post_init__(self) -> None:
        self.n_rows, self.n_features = self.rows.shape
        self.device, self.dtype = self.rows.device, self.rows.dtype

    @property
    def weight(self) -> float:
        """The sum of the weights as they were given."""
        return float(self.n_rows if self.weights is None else self.weights.sum() * self.unit)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield all rows at once."""
        yield Chunk(self.rows, self.weights, 0)

    def take(self, indices: Tensor) -> Chunk:
        """Return the rows with these indices."""
        weights = None if self.weights is None else self.weights[indices]
        return Chunk(self.rows[indices], weights, 0)

    def in_unit(self, unit: float) -> TensorBatches:
        """Return the same rows with weights divided by unit."""
        if unit == self.unit:
            return self
        ones = torch.ones(self.n_rows, dtype=torch.float64, device=self.device)
        return replace(self, weights=(ones if self.weights is None else self.weights) * (self.unit / unit), unit=unit)

    def kept(self) -> Tensor | None:
        """Return which of the rows that were given have a positive weight, or None where all have."""
        return self.mask


def chunks(batches: Batches, n_rows: int) -> Iterator[Chunk]:
    """Yield the rows of batches at most n_rows at a time."""
    for rows, weights, first in batches:
        for start in range(0, rows.shape[0], n_rows):
            part = slice(start, start + n_rows)
            yield Chunk(rows[part], None if weights is None else weights[part], first + start)
