"""Data: rows to learn from, on one process or many, and the only way to pass over them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from tgmm.data.chunk import Accumulator, Chunk
from tgmm.data.reservoir import Reservoir
from tgmm.data.summary import Summary, SummaryOf, bulk
from tgmm.runtime.devices import float64_device
from tgmm.runtime.frozen import replace
from tgmm.runtime.processes import ALONE, Processes

S = TypeVar("S")


@dataclass(frozen=True)
class Survey:
    """The result of a first pass over all rows of all processes: their summary, and a random sample."""

    summary: Summary
    sample: Chunk  # in the order of the rows; all of them, where they are few

    def in_unit(self, unit: float) -> Survey:
        """Return the survey with weights divided by unit."""
        if unit == 1.0:
            return self
        return Survey(self.summary.in_unit(unit), self.sample._replace(weights=self.sample.own_weights() / unit))


class Data(ABC):
    """The rows of positive weight, in a fixed order. Iteration gives those of this process."""

    processes: Processes = ALONE  # those that share the rows

    @property
    @abstractmethod
    def n_features(self) -> int:
        """The number of features."""

    @property
    @abstractmethod
    def n_given(self) -> int:
        """The number of rows of this process, including those of weight 0."""

    @property
    def n_given_to_all(self) -> int:
        """The number of rows of all processes, including those of weight 0."""
        return self.n_given

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """The number of rows of positive weight of all processes."""

    @property
    @abstractmethod
    def unit(self) -> float:
        """The unit of the weights that chunks have."""

    @property
    @abstractmethod
    def weight(self) -> float:
        """The sum of the weights of all rows as they were given."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where this process's rows are."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The widest float type of the rows."""

    @abstractmethod
    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows of this process in order, from the first one each time. Indices count its own rows."""

    @abstractmethod
    def take(self, indices: Tensor) -> Chunk:
        """Return the rows with these sorted indices among all rows. All processes must ask for the same ones."""

    @abstractmethod
    def in_unit(self, unit: float) -> Data:
        """Return the same rows with weights divided by unit."""

    @abstractmethod
    def knowing(self, known: Tensor) -> Data:
        """Return the same rows with what is known of each row given to this process, (n_given,) or (n_given, K)."""

    @abstractmethod
    def sample(self, size: int, seed: int) -> Chunk:
        """Return a random sample of the rows of all processes: the same one for a seed, however the rows are stored."""

    @abstractmethod
    def summary(self, origin: Tensor) -> Summary:
        """Return the summary of all rows of all processes about an origin (d,)."""

    @property
    def in_memory(self) -> Tensor | None:
        """All rows as one tensor (n, d), if they are in memory."""
        return None

    def survey(self, size: int, seed: int) -> Survey:
        """Return the summary of all rows about the location of their bulk, and a sample."""
        sample = self.sample(size, seed)
        return Survey(self.summary(bulk(sample.rows, sample.weights)), sample)

    def fold(self, make: Callable[[], Accumulator[S]], same: Sequence[Tensor] | None = None) -> S:
        """Return the result of an accumulator for all rows of all processes: the only way to pass over the data.

        Parameters
        ----------
        make : callable
            Returns a new, empty accumulator.
        same : sequence of Tensor, optional
            Float64 tensors that must have the same bits on each process. If given, results must be sums that can be
            packed; one reduction then adds them and compares these tensors.

        Raises
        ------
        RuntimeError
            If the tensors are not the same on all processes.
        """

        def own() -> S:
            accumulator = make()
            accumulator.add_all(self)
            return accumulator.result()

        if same is not None:
            return self.processes.total(own, lambda: make().result(), same)  # pyright: ignore[reportArgumentType]
        first, *others = self.processes.exchange(self.processes.guard(own))
        return sum(others, first)  # pyright: ignore[reportCallIssue, reportArgumentType]


@dataclass(frozen=True)
class TensorData(Data):
    """Rows that are in memory."""

    rows: Tensor  # (n, d)
    weights: Tensor | None = None  # (n,) float64, in units of unit
    divisor: float = 1.0  # of the weights as they were given
    mask: Tensor | None = None  # which rows were kept of those given
    known: Tensor | None = None  # (n,) or (n, K)

    @classmethod
    def of(cls, rows: Tensor, weights: Tensor | None) -> TensorData:
        """Leave out rows of weight 0."""
        if weights is None:
            return cls(rows, None)
        kept = weights > 0
        if kept.all():
            return cls(rows, weights.to(float64_device(rows.device)))
        mask = kept.to(rows.device)
        return cls(rows[mask], weights[kept].to(float64_device(rows.device)), mask=mask)

    @property
    def n_features(self) -> int:
        """The number of features."""
        return self.rows.shape[1]

    @property
    def n_given(self) -> int:
        """The number of rows, including those of weight 0."""
        return (self.rows if self.mask is None else self.mask).shape[0]

    @property
    def n_rows(self) -> int:
        """The number of rows of positive weight."""
        return self.rows.shape[0]

    @property
    def unit(self) -> float:
        """The unit of the weights."""
        return self.divisor

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.rows.device

    @property
    def dtype(self) -> torch.dtype:
        """The float type of the rows."""
        return self.rows.dtype

    @property
    def weight(self) -> float:
        """The sum of the weights as they were given."""
        return float(self.n_rows if self.weights is None else self.weights.sum() * self.unit)

    @property
    def in_memory(self) -> Tensor:
        """All rows."""
        return self.rows

    def __iter__(self) -> Iterator[Chunk]:
        """Yield all rows at once."""
        yield self._whole

    @property
    def _whole(self) -> Chunk:
        return Chunk(self.rows, self.weights, 0, self.known, stays=True)

    def take(self, indices: Tensor) -> Chunk:
        """Return the rows with these indices."""
        return self._whole.part(indices.to(self.device))

    def in_unit(self, unit: float) -> TensorData:
        """Return the same rows with weights divided by unit."""
        if unit == self.unit:
            return self
        return replace(self, weights=self._whole.own_weights() * (self.unit / unit), divisor=unit)

    def knowing(self, known: Tensor) -> TensorData:
        """Return the same rows with what is known about each of them."""
        return replace(self, known=known if self.mask is None else known[self.mask.to(known.device)])

    def sample(self, size: int, seed: int) -> Chunk:
        """Return all rows, or a random sample of them."""
        if self.n_rows <= size:
            return self._whole
        return self.take(Reservoir(size, seed).indices(self.n_rows))

    def summary(self, origin: Tensor) -> Summary:
        """Return the summary of the rows."""
        return self.fold(lambda: SummaryOf(origin))
