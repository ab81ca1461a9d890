"""Streams: the batches of a source, checked, read ahead and moved; and what the engine asks of data on top of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from tgmm.data.batches import Chunk
from tgmm.data.prefetch import prefetched
from tgmm.data.source import Source, as_batch
from tgmm.processes import ALONE, Processes
from tgmm.progress import progress_bar
from tgmm.validation import NO_WEIGHT, check_finite, check_weight_values

ROWS_MIN = 8192  # smaller batches are put together: each costs a call of the kernels


@dataclass(frozen=True)
class Stream:
    """The batches of a source in order, as often as asked: checked, and on the device.

    Parameters
    ----------
    source : Source
    n_features : int or None
        What every batch must have; None takes it from the first one.
    device : torch.device
    weights : Tensor of shape (n,) or None
        Weights of all rows, in place of those of the source.
    may_be_empty : bool
        Whether there may be no rows.
    """

    source: Source
    n_features: int | None
    device: torch.device
    weights: Tensor | None = None
    may_be_empty: bool = False

    def __iter__(self) -> Iterator[Chunk]:
        """Yield chunks; a thread reads, checks and (for CUDA) pins the next ones meanwhile."""
        for rows, weights, first in prefetched(self._ready()):
            rows = rows.to(self.device, non_blocking=True)
            yield Chunk(rows, None if weights is None else weights.to(self.device, non_blocking=True), first)

    def _ready(self) -> Iterator[Chunk]:
        for rows, weights, first in _grouped(self._checked()):
            if self.device.type == "cuda" and rows.device.type == "cpu":
                rows = rows.pin_memory()
                weights = None if weights is None else weights.pin_memory()
            yield Chunk(rows, weights, first)

    def _checked(self) -> Iterator[Chunk]:
        """Yield the source's batches, or raise a ValueError that says what is wrong in which row."""
        n_features, first = self.n_features, 0
        weighted: bool | None = None
        for number, item in enumerate(self.source):
            rows, weights = as_batch(item, number)
            n_rows = rows.shape[0]
            n_features = rows.shape[1] if n_features is None else n_features
            if rows.shape[1] != n_features or n_features == 0:
                raise ValueError(
                    f"X has {rows.shape[1]} features in batch {number}, which begins at row {first}, but "
                    f"{n_features or 'at least one'} features are expected as input."
                )
            if weighted not in (None, weights is not None):
                raise ValueError(f"Batch {number} has {'no ' * weighted}weights, unlike those before it.")
            weighted = weights is not None
            weights = self._weights(weights, first, n_rows)
            check_finite(rows, self.source.feature_names, first)
            if n_rows:
                yield Chunk(rows, weights, first)
            first += n_rows
        if self.weights is not None and first != self.weights.shape[0]:
            raise ValueError(f"sample_weight has {self.weights.shape[0]} weights, but the source has {first} rows.")
        if first == 0 and not self.may_be_empty:
            raise ValueError("Found array with 0 sample(s): the source has no rows.")

    def _weights(self, own: Tensor | None, first: int, n_rows: int) -> Tensor | None:
        """Return the weights of a batch: the source's own, or its part of all."""
        if self.weights is None:
            if own is not None:
                check_weight_values(own, first)
            return own
        if own is not None:
            raise ValueError("sample_weight was given, but the source has weights of its own: give one of both.")
        if first + n_rows > self.weights.shape[0]:
            raise ValueError(f"sample_weight has {self.weights.shape[0]} weights, but the source has more rows.")
        return self.weights[first : first + n_rows]


def _grouped(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Put consecutive chunks together until they have ROWS_MIN rows."""
    group: list[Chunk] = []
    n_rows = 0
    for chunk in chunks:
        group.append(chunk)
        n_rows += chunk.rows.shape[0]
        if n_rows >= ROWS_MIN:
            yield _joined(group)
            group, n_rows = [], 0
    if group:
        yield _joined(group)


def _joined(group: list[Chunk]) -> Chunk:
    """Return consecutive chunks as one."""
    if len(group) == 1:
        return group[0]
    weights = [chunk.weights for chunk in group if chunk.weights is not None]
    return Chunk(torch.cat([chunk.rows for chunk in group]), torch.cat(weights) if weights else None, group[0].first)


@dataclass
class StreamBatches:
    """The rows of a stream that have a positive weight, with what must be known of them beforehand.

    `n_rows` and `take` count those rows only.
    """

    stream: Stream
    n_given: int  # rows, those of weight 0 included
    n_rows: int
    n_features: int
    dtype: torch.dtype  # the widest of all batches
    weight: float  # sum of the weights
    unit: float = 1.0  # weights are handed out in this unit
    verbose: bool = False
    processes: Processes = ALONE
    device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        self.device = self.stream.device

    @classmethod
    def scan(cls, stream: Stream, *, verbose: bool) -> StreamBatches:
        """Count a stream's rows and weights in one pass."""
        n_given, n_rows, n_features, weight = 0, 0, 0, 0.0
        dtype = torch.float32
        with progress_bar(enabled=verbose, desc="counting", total=stream.source.n_rows, **BAR) as bar:
            for rows, weights, _ in stream:
                bar.update(rows.shape[0])
                n_given, n_features = n_given + rows.shape[0], rows.shape[1]
                n_rows += rows.shape[0] if weights is None else int((weights > 0).sum())
                weight += rows.shape[0] if weights is None else float(weights.sum())
                dtype = torch.promote_types(dtype, rows.dtype)
        if not (weight > 0 or stream.may_be_empty):
            raise ValueError(NO_WEIGHT)
        return cls(stream, n_given, n_rows, n_features, dtype, weight, verbose=verbose)

    def in_unit(self, unit: float) -> StreamBatches:
        """Return the same rows with weights divided by unit."""
        return replace(self, unit=unit)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows in order; fails where they are not as many as before."""
        first = 0
        with progress_bar(enabled=self.verbose, desc="rows", total=self.n_given, **BAR) as bar:
            for chunk in self.stream:
                bar.update(chunk.rows.shape[0])
                rows, weights = _with_weight(chunk)
                if weights is None and self.unit != 1:
                    weights = torch.ones(rows.shape[0], dtype=torch.float64, device=rows.device)
                if rows.shape[0]:
                    yield Chunk(rows.to(self.dtype), None if weights is None else weights / self.unit, first)
                first += rows.shape[0]
        if first != self.n_rows:
            raise ValueError(
                f"The source gave {self.n_rows} rows at first, and now {first}: it must give the same rows each time."
            )

    def take(self, indices: Tensor) -> Chunk:
        """Return the rows with these indices (m,), which are sorted; reads up to the last of them."""
        rows, weights, begin = [], [], 0
        for chunk in self:
            n_rows = chunk.rows.shape[0]
            end = int(torch.searchsorted(indices, chunk.first + n_rows))
            here = indices[begin:end] - chunk.first
            rows.append(chunk.rows[here])
            if chunk.weights is not None:
                weights.append(chunk.weights[here])
            begin = end
            if end == indices.shape[0]:
                break
        return Chunk(torch.cat(rows), torch.cat(weights) if weights else None, 0)

    def kept(self) -> Tensor | None:
        """Return which of all rows have a positive weight, (n_given,), or None where all have."""
        if self.n_rows == self.n_given:
            return None
        masks = [torch.ones(c.rows.shape[0]) if c.weights is None else c.weights.cpu() for c in self.stream]
        return torch.cat(masks) > 0


BAR = {"unit": "row", "unit_scale": True, "leave": False}


def _with_weight(chunk: Chunk) -> tuple[Tensor, Tensor | None]:
    """Return the rows of positive weight, and their weights."""
    rows, weights, _ = chunk
    if weights is None or bool((weights > 0).all()):
        return rows, weights
    kept = weights > 0
    return rows[kept], weights[kept]
