"""Streams: the batches of a source, checked, read ahead and moved; and data to learn from on top of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from tgmm.data.chunk import Chunk, joined
from tgmm.data.columns import Columns, listed
from tgmm.data.data import Data, TensorData
from tgmm.data.prefetch import prefetched
from tgmm.data.reservoir import Reservoir, Sampling
from tgmm.data.source import Source, as_batch
from tgmm.data.summary import Summary, SummaryOf
from tgmm.data.validation import NO_WEIGHT, check_finite, check_weight_values
from tgmm.runtime.devices import float64_device, widen
from tgmm.runtime.progress import progress_bar

ROWS_MIN = 8192  # smaller batches are put together: each costs a call of the kernels
BAR = {"unit": "row", "unit_scale": True, "leave": False}


@dataclass(frozen=True)
class Stream:
    """The batches of a source in order, as often as asked: checked, and on the device.

    Parameters
    ----------
    source : Source
    columns : Columns
        The columns of every batch. If the number of features is unknown, the first batch determines it.
    device : torch.device
    weights : Tensor of shape (n,) or None
        Weights of all rows, instead of those of the source.
    known : Tensor of shape (n,) or (n, K), or None
        What is known about the component of each row.
    may_be_empty : bool
        Whether there may be no rows.
    """

    source: Source
    columns: Columns
    device: torch.device
    weights: Tensor | None = None
    known: Tensor | None = None
    may_be_empty: bool = False
    seen: set[str] = field(default_factory=set)  # the kinds of arrays that batches came as

    @property
    def arrays(self) -> str:
        """The kind of array of the rows, after they were read: tensors if all batches are tensors."""
        return "torch" if self.seen == {"torch"} else "numpy"

    def __iter__(self) -> Iterator[Chunk]:
        """Yield chunks, while a thread reads, checks and (for CUDA) pins the next ones."""
        where = float64_device(self.device)
        for chunk in prefetched(self._ready()):
            rows = chunk.rows.to(self.device, non_blocking=True)
            weights = None if chunk.weights is None else chunk.weights.to(where, non_blocking=True)
            yield chunk._replace(rows=rows, weights=weights)

    def _ready(self) -> Iterator[Chunk]:
        for chunk in _grouped(self._checked()):
            if self.device.type == "cuda" and chunk.rows.device.type == "cpu":
                weights = None if chunk.weights is None else chunk.weights.pin_memory()
                yield chunk._replace(rows=chunk.rows.pin_memory(), weights=weights)
            else:
                yield chunk

    def _checked(self) -> Iterator[Chunk]:
        """Yield the source's batches, or raise a ValueError that says what is wrong in which row."""
        n_features, first = self.columns.n_features, 0
        weighted: bool | None = None
        names = None if self.source.feature_names is None else [str(name) for name in self.source.feature_names]
        for number, item in enumerate(self.source):
            batch = as_batch(item, number)
            rows, weights, arrays, own = batch if self.source.keeps_batches else batch.copied()
            self.seen.add(arrays)
            names = own if names is None else names
            if own is not None and names is not None and own != names:
                raise ValueError(
                    f"Batch {number} of X has the columns {listed(own)}, but {listed(names)} are expected: give all "
                    "batches the same columns in the same order."
                )
            n_rows = rows.shape[0]
            n_features = rows.shape[1] if n_features is None else n_features
            if rows.shape[1] != n_features or n_features == 0:
                raise ValueError(
                    f"X has {rows.shape[1]} features in batch {number}, which begins at row {first}, but "
                    f"{n_features or 'at least one'} features are expected as input."
                )
            if names is not None and len(names) != n_features:
                raise ValueError(f"X has {n_features} features, but {len(names)} feature_names: {listed(names)}.")
            if weighted not in (None, weights is not None):
                raise ValueError(f"Batch {number} has {'no ' * weighted}weights, unlike those before it.")
            weighted = weights is not None
            weights = self._weights(weights, first, n_rows)
            check_finite(rows, self.source.feature_names, first, may_lack=self.columns.may_lack)
            if n_rows:
                known = None if self.known is None else self.known[first : first + n_rows]
                yield Chunk(rows, weights, first, known)
            first += n_rows
        if self.weights is not None and first != self.weights.shape[0]:
            raise ValueError(f"sample_weight has {self.weights.shape[0]} weights, but X has {first} rows.")
        if first == 0 and not self.may_be_empty:
            raise ValueError("Found array with 0 sample(s): X has no rows.")

    def _weights(self, own: Tensor | None, first: int, n_rows: int) -> Tensor | None:
        """Return the weights of a batch: those of the source, or the batch's part of the given ones."""
        if self.weights is None:
            if own is not None:
                check_weight_values(own, first)
            return own
        if own is not None:
            raise ValueError("sample_weight was given, but X has weights of its own: give one of the two.")
        if first + n_rows > self.weights.shape[0]:
            raise ValueError(f"sample_weight has {self.weights.shape[0]} weights, but X has more rows.")
        return self.weights[first : first + n_rows]


def _grouped(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Join consecutive chunks until they have ROWS_MIN rows."""
    group: list[Chunk] = []
    n_rows = 0
    for chunk in chunks:
        group.append(chunk)
        n_rows += chunk.rows.shape[0]
        if n_rows >= ROWS_MIN:
            yield joined(group)
            group, n_rows = [], 0
    if group:
        yield joined(group)


class Scan:
    """The result of one pass over a stream: the number of rows, their summary, and a sample.

    The summary is about the first row, because only the sample can tell where the bulk of the rows is.

    Parameters
    ----------
    stream : Stream
    sampling : Sampling
    verbose : bool
        Whether to show a progress bar.
    """

    def __init__(self, stream: Stream, sampling: Sampling, *, verbose: bool) -> None:
        self.n_given, self.n_rows, self.n_features, self.weight = 0, 0, 0, 0.0
        self.dtype = torch.float32
        self._sampling = sampling
        self._reservoir: Reservoir | None = None  # before the first row of positive weight
        self._summary: SummaryOf | None = None
        with progress_bar(enabled=verbose, desc="counting", total=stream.source.n_rows, **BAR) as bar:
            for chunk in stream:
                bar.update(chunk.rows.shape[0])
                self._add(chunk)
        if not (self.weight > 0 or stream.may_be_empty):
            raise ValueError(NO_WEIGHT)

    def _add(self, chunk: Chunk) -> None:
        """Count a chunk, and add its rows of positive weight."""
        self.n_given, self.n_features = self.n_given + chunk.rows.shape[0], chunk.rows.shape[1]
        self.dtype = torch.promote_types(self.dtype, chunk.rows.dtype)
        chunk = _with_weight(chunk)
        if not chunk.rows.shape[0]:
            return
        self.n_rows += chunk.rows.shape[0]
        self.weight += chunk.rows.shape[0] if chunk.weights is None else float(chunk.weights.sum())
        if self._reservoir is None or self._summary is None:
            self._reservoir = Reservoir(self._sampling.size(self.n_features), self._sampling.seed)
            self._summary = SummaryOf(widen(chunk.rows[0]).nan_to_num(nan=0.0))
        self._reservoir.add(chunk)
        self._summary.add_all([chunk])

    def has(self, size: int, seed: int) -> bool:
        """Whether the sample is of this size, from this seed."""
        return self._reservoir is None or (self._reservoir.size, self._sampling.seed) == (size, seed)

    def sample(self) -> Chunk | None:
        """Return the sample, or None if there is no row of positive weight."""
        return None if self._reservoir is None else self._reservoir.sample()

    def summary(self, origin: Tensor) -> Summary:
        """Return the summary about an origin (d,), on the CPU."""
        empty = Summary.empty(origin.cpu())
        return empty if self._summary is None else self._summary.result().about(empty.origin)


@dataclass(frozen=True)
class StreamData(Data):
    """The rows of a stream that have a positive weight, with what must be known about them beforehand.

    `n_rows` and `take` count those rows only.
    """

    stream: Stream
    scan: Scan
    divisor: float = 1.0  # of the weights
    verbose: bool = False

    @property
    def n_features(self) -> int:
        """The number of features, 0 if there was no row."""
        return self.scan.n_features

    @property
    def n_given(self) -> int:
        """The number of rows, those of weight 0 included."""
        return self.scan.n_given

    @property
    def n_rows(self) -> int:
        """The number of rows of positive weight."""
        return self.scan.n_rows

    @property
    def unit(self) -> float:
        """The unit of the weights."""
        return self.divisor

    @property
    def weight(self) -> float:
        """The sum of the weights."""
        return self.scan.weight

    @property
    def device(self) -> torch.device:
        """Where chunks are."""
        return self.stream.device

    @property
    def dtype(self) -> torch.dtype:
        """The widest float type of all batches."""
        return self.scan.dtype

    def in_unit(self, unit: float) -> StreamData:
        """Return the same rows with weights divided by unit."""
        return replace(self, divisor=unit)

    def knowing(self, known: Tensor) -> StreamData:
        """Return the same rows with what is known of each that was given."""
        return replace(self, stream=replace(self.stream, known=known))

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows in order, or raise an error if their number has changed."""
        first = 0
        with progress_bar(enabled=self.verbose, desc="rows", total=self.n_given, **BAR) as bar:
            for given in self.stream:
                bar.update(given.rows.shape[0])
                chunk = _with_weight(given)
                if chunk.rows.shape[0]:
                    weights = chunk.weights
                    if weights is not None or self.unit != 1:
                        weights = chunk.own_weights() / self.unit
                    yield chunk._replace(rows=chunk.rows.to(self.dtype), weights=weights, first=first)
                first += chunk.rows.shape[0]
        if first != self.n_rows:
            raise ValueError(
                f"The source yielded {self.n_rows} rows at first and {first} now: it must always yield the same rows."
            )

    def take(self, indices: Tensor) -> Chunk:
        """Return the rows with these indices (m,), which are sorted; reads up to the last of them."""
        parts, begin = [], 0
        for chunk in self:
            end = int(torch.searchsorted(indices, chunk.first + chunk.rows.shape[0]))
            parts.append(chunk.part((indices[begin:end] - chunk.first).to(chunk.rows.device)))
            begin = end
            if end == indices.shape[0]:
                break
        return joined(parts)._replace(first=0)

    def sample(self, size: int, seed: int) -> Chunk:
        """Return the sample that the first pass took, of these rows in their float type."""
        scan = self.scan
        if not scan.has(size, seed):
            scan = Scan(self.stream, Sampling(lambda _: size, seed), verbose=False)
        found = scan.sample()
        if found is None:
            return Chunk(torch.empty(0, self.n_features, dtype=self.dtype, device=self.device), None, 0)
        weights = found.weights if self.unit == 1 else found.own_weights() / self.unit
        return found._replace(rows=found.rows.to(self.dtype), weights=weights, first=0)

    def summary(self, origin: Tensor) -> Summary:
        """Return the summary of the first pass. For rows that it kept, it has the same bits as for rows in memory."""
        kept = self.scan.sample()
        if kept is not None and kept.rows.shape[0] == self.n_rows:
            return TensorData(kept.rows.to(self.dtype), kept.weights).in_unit(self.unit).summary(origin)
        return self.scan.summary(origin).in_unit(self.unit)


def _with_weight(chunk: Chunk) -> Chunk:
    """Return the rows of positive weight."""
    if chunk.weights is None or bool((chunk.weights > 0).all()):
        return chunk
    return chunk.part(chunk.weights > 0)
