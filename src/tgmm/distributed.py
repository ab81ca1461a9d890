"""Many processes fit one mixture: `torch.distributed`, and rows that are sharded over its ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from tgmm.data.batches import Batches, Chunk
from tgmm.parameters import Parameters
from tgmm.precision import widen
from tgmm.processes import Processes
from tgmm.statistics import Statistics
from tgmm.validation import NO_WEIGHT

T = TypeVar("T")

MOST_EXACT = 2**26  # whole numbers up to its square are exact in float64


class Group:
    """The default process group of `torch.distributed`, whoever made it.

    An all-reduce gives every rank the same bits: gloo and NCCL add each number in one place and send the sum to all.

    Raises
    ------
    ValueError
        If there is no process group.
    """

    def __init__(self) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise ValueError(
                "distributed=True needs a process group: launch the program by torchrun and call "
                "torch.distributed.init_process_group('gloo') before fit ('nccl' on GPUs)."
            )
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        backends = dict(pair.split(":") for pair in dist.get_backend_config().split(","))
        self._device_types = set(backends)

    def guard(self, work: Callable[[], T]) -> T:
        """Return the result of this rank's own work; where the work of any rank fails, all raise its error."""
        result, error = _attempt(work)
        self._raise_together(error)
        return result  # pyright: ignore[reportReturnType]  # without an error there is a result

    def exchange(self, value: T) -> list[T]:
        """Return the values of all ranks, in order."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def first(self, value: T) -> T:
        """Return the value of rank 0."""
        values = [value]
        dist.broadcast_object_list(values, src=0, device=None if "cpu" in self._device_types else _accelerator())
        return values[0]

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of all ranks' tensors."""
        here = values.device
        there = here if here.type in self._device_types else self._own_device()
        sums = values.to(there, copy=True)
        dist.all_reduce(sums)
        return sums.to(here)

    def total(
        self, work: Callable[[], Statistics], nothing: Callable[[], Statistics], parameters: Parameters
    ) -> Statistics:
        """Return the sum of all ranks' statistics by one all-reduce.

        It tells too whether a rank has failed, and whether all have the same parameters: numbers of which the square
        of the sum is the number of ranks times the sum of the squares are all the same (Cauchy-Schwarz).

        Raises
        ------
        RuntimeError
            If the parameters differ.
        """
        part, error = _attempt(work)
        if part is None:
            part = nothing()
        stamp = _stamp(parameters, MOST_EXACT // self.size)
        head = torch.tensor([error is not None, stamp, stamp**2], dtype=torch.float64, device=part.weight.device)
        sums = self.sum(torch.cat([head, part.packed()]))
        n_failed, stamps, squares = sums[:3].tolist()
        if n_failed:
            self._raise_together(error)
        if stamps**2 != self.size * squares:
            raise RuntimeError(
                "The parameters are no longer the same on all ranks: run all on the same kind of processor, with the "
                "same versions and the same number of threads, or they round differently."
            )
        return part.unpacked(sums[3:])

    def _own_device(self) -> torch.device:
        """Return where tensors must be that are elsewhere."""
        return torch.device("cpu") if "cpu" in self._device_types else _accelerator()

    def _raise_together(self, error: Exception | None) -> None:
        """Raise on every rank the error of the first that has one."""
        told = None if error is None else (_kind(error), str(error) or type(error).__name__)
        failed = [(rank, *other) for rank, other in enumerate(self.exchange(told)) if other is not None]
        if failed:
            rank, kind, message = failed[0]
            others = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
            raise kind(f"On rank {rank} of {self.size}{others}: {message}") from error


def _stamp(parameters: Parameters, below: int) -> int:
    """Return a whole number below a bound that depends on every bit of the parameters."""
    tensors = (parameters.weights, parameters.means, parameters.covariances)
    return sum(int(tensor.contiguous().view(torch.int64).sum()) for tensor in tensors) % below


def _attempt(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Return the result of work, or its error."""
    try:
        return work(), None
    except Exception as error:
        return None, error


def _kind(error: Exception) -> type[Exception]:
    """Return what other ranks are to raise for an error: one of Python's own exceptions, made from a message."""
    return next(
        (kind for kind in (ValueError, TypeError, OSError, ImportError) if isinstance(error, kind)), RuntimeError
    )


def _accelerator() -> torch.device:
    """Return this process's own accelerator."""
    return torch.device("cuda", torch.cuda.current_device())


@dataclass(frozen=True)
class Shard:
    """What ranks tell each other about their rows."""

    n_given: int  # rows, those of weight 0 included
    n_rows: int
    n_features: int  # 0 where there was not even an empty array to tell
    weight: float
    dtype: torch.dtype
    feature_names: list[str] | None

    @classmethod
    def of(cls, batches: Batches, n_given: int, feature_names: Iterable[str] | None) -> Shard:
        """Describe one rank's rows."""
        names = None if feature_names is None else [str(name) for name in feature_names]
        return cls(n_given, batches.n_rows, batches.n_features, batches.weight, batches.dtype, names)


@dataclass(frozen=True)
class ShardedBatches:
    """The rows of all ranks in the order of the ranks: iteration gives this rank's own, `take` gives any to all."""

    local: Batches
    processes: Processes
    shards: list[Shard]

    def __post_init__(self) -> None:
        _check_shards(self.shards)

    @property
    def n_rows(self) -> int:
        """The rows of all ranks."""
        return sum(shard.n_rows for shard in self.shards)

    @property
    def n_features(self) -> int:
        """The number of features, which ranks without rows may not know."""
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
        """Yield this rank's rows; indices count from its own first."""
        return iter(self.local)

    def take(self, indices: Tensor) -> Chunk:
        """Return the rows of all ranks with these indices (m,), on every rank: a sum to which each brings its own."""
        first = sum(shard.n_rows for shard in self.shards[: self.processes.rank])
        own = (indices >= first) & (indices < first + self.local.n_rows)

        def rows_and_weights() -> Tensor:
            columns = torch.zeros(len(indices), self.n_features + 1, dtype=torch.float64, device=self.device)
            if own.any():
                rows, weights, _ = self.local.take(indices[own] - first)
                columns[own, :-1] = widen(rows)
                columns[own, -1] = 1 / self.unit if weights is None else widen(weights)
            return columns

        columns = self.processes.sum(self.processes.guard(rows_and_weights))  # (m, d + 1)
        return Chunk(columns[:, :-1].to(self.dtype), columns[:, -1], 0)

    def in_unit(self, unit: float) -> ShardedBatches:
        """Return the same rows with weights divided by unit."""
        return replace(self, local=self.local.in_unit(unit))

    def kept(self) -> Tensor | None:
        """Return which of this rank's rows have a positive weight, or None where all have."""
        return self.local.kept()


def _check_shards(shards: list[Shard]) -> None:
    """Raise a ValueError, the same on every rank, where the shards do not make one data set with rows."""
    known = [rank for rank, shard in enumerate(shards) if shard.n_features]
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
