"""Rows that are sharded over the ranks of a process group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from tgmm.data.chunk import Chunk, joined
from tgmm.data.data import Data
from tgmm.data.reservoir import Reservoir
from tgmm.data.summary import Summary
from tgmm.data.validation import NO_WEIGHT
from tgmm.runtime.devices import moved, widen
from tgmm.runtime.processes import Processes


@dataclass(frozen=True)
class Shard:
    """What ranks exchange about their rows."""

    n_given: int  # rows, those of weight 0 included
    n_rows: int
    n_features: int  # 0 where there was not even an empty array to tell
    weight: float
    dtype: torch.dtype
    feature_names: list[str] | None
    device_type: str

    @classmethod
    def of(cls, data: Data, feature_names: Iterable[str] | None) -> Shard:
        """Describe one rank's rows."""
        names = None if feature_names is None else [str(name) for name in feature_names]
        return cls(data.n_given, data.n_rows, data.n_features, data.weight, data.dtype, names, data.device.type)


@dataclass(frozen=True)
class ShardedData(Data):
    """The rows of all ranks in the order of the ranks. Iteration gives those of this rank, `take` any to all."""

    local: Data
    shards: list[Shard]
    processes: Processes

    def __post_init__(self) -> None:
        _check_shards(self.shards)

    @property
    def n_given(self) -> int:
        """The number of rows of this rank, including those of weight 0."""
        return self.local.n_given

    @property
    def n_given_to_all(self) -> int:
        """The number of rows of all ranks, including those of weight 0."""
        return sum(shard.n_given for shard in self.shards)

    @property
    def n_rows(self) -> int:
        """The rows of all ranks."""
        return sum(shard.n_rows for shard in self.shards)

    @property
    def n_features(self) -> int:
        """The number of features. Ranks without rows may not know it."""
        return max(shard.n_features for shard in self.shards)

    @property
    def feature_names(self) -> list[str] | None:
        """The names of the features, from the first rank that has rows."""
        return next(shard.feature_names for shard in self.shards if shard.n_rows)

    @property
    def weight(self) -> float:
        """The sum of the weights of all ranks as they were given."""
        return sum(shard.weight for shard in self.shards)

    @property
    def unit(self) -> float:
        """The unit of the weights that chunks have."""
        return self.local.unit

    @property
    def device(self) -> torch.device:
        """Where this rank's rows are."""
        return self.local.device

    @property
    def dtype(self) -> torch.dtype:
        """The widest float type of any rank."""
        return reduce(torch.promote_types, (shard.dtype for shard in self.shards if shard.n_rows))

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows of this rank. Indices start at its first row."""
        return iter(self.local)

    def take(self, indices: Tensor) -> Chunk:
        """Return the rows of all ranks with these indices (m,), on every rank: the sum of what each rank has."""
        first = sum(shard.n_rows for shard in self.shards[: self.processes.rank])
        own = (indices >= first) & (indices < first + self.local.n_rows)

        def rows_and_weights() -> Tensor:
            columns = torch.zeros(len(indices), self.n_features + 1, dtype=torch.float64, device=self.device)
            if own.any():
                rows, weights, *_ = self.local.take(indices[own] - first)
                columns[own, :-1] = widen(rows)
                columns[own, -1] = 1 / self.unit if weights is None else widen(weights)
            return columns

        columns = self.processes.sum(self.processes.guard(rows_and_weights))  # (m, d + 1)
        return Chunk(columns[:, :-1].to(self.dtype), columns[:, -1], 0)

    def in_unit(self, unit: float) -> ShardedData:
        """Return the same rows with weights divided by unit."""
        return replace(self, local=self.local.in_unit(unit))

    def knowing(self, known: Tensor) -> ShardedData:
        """Return the same rows with what is known about each row of this rank."""
        return replace(self, local=self.local.knowing(known))

    def sample(self, size: int, seed: int) -> Chunk:
        """Return all rows of all ranks, or a random sample of them, on every rank.

        For all rows, ranks exchange what their first passes kept. A sample depends on the total number of rows, which
        is known only after the first pass.
        """
        if self.n_rows > size:
            return self.take(Reservoir(size, seed).indices(self.n_rows))

        def own() -> Chunk | None:
            return None if self.local.n_rows == 0 else _on_the_host(self.local.sample(size, seed))

        parts = [part for part in self.processes.exchange(self.processes.guard(own)) if part is not None]
        whole = joined(parts)
        weights = whole.own_weights().to(self.device)
        return Chunk(whole.rows.to(self.device, self.dtype), weights, 0)

    def summary(self, origin: Tensor) -> Summary:
        """Return the summary of the rows of all ranks."""
        own = self.processes.guard(lambda: moved(self._own_summary(origin), torch.device("cpu")))
        first, *others = self.processes.exchange(own)
        return sum(others, first)

    def _own_summary(self, origin: Tensor) -> Summary:
        """Return the summary of this rank's rows."""
        return self.local.summary(origin) if self.local.n_rows else Summary.empty(origin)


def _on_the_host(chunk: Chunk) -> Chunk:
    """Return a chunk's rows and weights on the CPU."""
    return Chunk(chunk.rows.cpu(), None if chunk.weights is None else chunk.weights.cpu(), chunk.first)


def _check_shards(shards: list[Shard]) -> None:
    """Raise a ValueError, the same on every rank, if the shards are not one data set with rows."""
    known = [rank for rank, shard in enumerate(shards) if shard.n_features]
    for rank, shard in enumerate(shards):
        if shard.device_type != shards[0].device_type:
            raise ValueError(
                f"device must be the same on every rank; it is {shards[0].device_type!r} on rank 0 and "
                f"{shard.device_type!r} on rank {rank}."
            )
    if not any(shard.n_given for shard in shards):
        raise ValueError("Found array with 0 sample(s) on every rank: at least one rank must have rows.")
    if not any(shard.n_rows for shard in shards):
        raise ValueError(NO_WEIGHT)
    one = known[0]
    for rank in known[1:]:
        if shards[rank].n_features != shards[one].n_features:
            raise ValueError(
                f"X has {shards[rank].n_features} features on rank {rank}, but {shards[one].n_features} on rank "
                f"{one}: all ranks must have the same features."
            )
        if shards[rank].feature_names != shards[one].feature_names:
            raise ValueError(
                f"The columns of X are {shards[rank].feature_names} on rank {rank}, but {shards[one].feature_names} "
                f"on rank {one}: all ranks must have the same features in the same order."
            )
