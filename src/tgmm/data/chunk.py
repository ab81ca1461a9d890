"""Consecutive rows with everything that belongs to each, and results that are accumulated chunk by chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from tgmm.runtime.devices import float64_device

S = TypeVar("S")


class Chunk(NamedTuple):
    """Consecutive rows of the data, with everything that belongs to each row."""

    rows: Tensor  # (c, d), in the user's units
    weights: Tensor | None  # (c,) in float64, on the CPU where the rows' device has none
    first: int  # the index of the first row
    known: Tensor | None = None  # (c,) or (c, K), what was said of each row's component
    stays: bool = False  # whether each pass over the data gives these very rows, and nothing else

    def own_weights(self) -> Tensor:
        """Return the weights, 1 where none were given, (c,)."""
        if self.weights is not None:
            return self.weights
        return torch.ones(self.rows.shape[0], dtype=torch.float64, device=float64_device(self.rows.device))

    def part(self, index: slice | Tensor) -> Chunk:
        """Return some of the rows; the index of the first stays that of the chunk."""
        weights, known = (None if each is None else _part(each, index) for each in (self.weights, self.known))
        return Chunk(self.rows[index], weights, self.first, known)


def _part(values: Tensor, index: slice | Tensor) -> Tensor:
    """Return a part of values that need not be where the rows are."""
    return values[index if isinstance(index, slice) else index.to(values.device)]


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Concatenate chunks. If only some of them have weights, the rows of the others get the weight 1."""
    if len(chunks) == 1:
        return chunks[0]
    weights = None
    if any(chunk.weights is not None for chunk in chunks):
        weights = torch.cat([chunk.own_weights() for chunk in chunks])
    known = [chunk.known for chunk in chunks if chunk.known is not None]
    return Chunk(
        torch.cat([chunk.rows for chunk in chunks]), weights, chunks[0].first, torch.cat(known) if known else None
    )


def divided(chunks: Iterable[Chunk], n_rows: int) -> Iterator[Chunk]:
    """Yield the rows of chunks at most n_rows at a time."""
    for chunk in chunks:
        if chunk.rows.shape[0] <= n_rows:
            yield chunk
            continue
        for start in range(0, chunk.rows.shape[0], n_rows):
            yield chunk.part(slice(start, start + n_rows))._replace(first=chunk.first + start)


class Accumulator(ABC, Generic[S]):
    """A result that is accumulated over rows: chunk by chunk in their order, then over processes.

    Attributes
    ----------
    n_rows : int
        How many rows `add` gets at a time, at most.
    """

    n_rows: int

    def add_all(self, chunks: Iterable[Chunk]) -> None:
        """Add chunks, at most `n_rows` rows at a time, until more rows would change nothing."""
        for chunk in divided(chunks, self.n_rows):
            self.add(chunk)
            if self.is_full():
                break

    @abstractmethod
    def add(self, chunk: Chunk) -> None:
        """Add some rows."""

    @abstractmethod
    def result(self) -> S:
        """Return the result for the rows so far. Results of different rows can be added."""

    def is_full(self) -> bool:
        """Whether more rows would change nothing."""
        return False


@dataclass(frozen=True)
class Total:
    """A sum over rows."""

    total: Tensor

    def __add__(self, other: Total) -> Total:
        """Return the sum over the rows of both."""
        return Total(self.total + other.total)
