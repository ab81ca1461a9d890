"""Processes that fit one mixture together, and what they tell each other: one alone, or the ranks of a group."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

MOST_EXACT = 2**26  # whole numbers up to its square are exact in float64

T = TypeVar("T")


class Sums(Protocol):
    """Sums that can be packed into one vector."""

    def packed(self) -> Tensor:
        """Return all sums as one float64 vector."""
        ...

    def unpacked(self, sums: Tensor) -> Any:
        """Return such sums from a vector like the packed one."""
        ...


S = TypeVar("S", bound=Sums)


class Processes(ABC):
    """The processes that share a fit; all of them make the same calls in the same order.

    Attributes
    ----------
    rank : int
        Which of the processes this is, from 0.
    size : int
        How many there are.
    """

    rank: int
    size: int

    @abstractmethod
    def guard(self, work: Callable[[], T]) -> T:
        """Return the result of this process's own work; where the work of any process fails, all raise its error."""

    @abstractmethod
    def exchange(self, value: T) -> list[T]:
        """Return the plain values or CPU tensors of all processes, in the order of their ranks."""

    @abstractmethod
    def first(self, value: T) -> T:
        """Return the value of rank 0."""

    @abstractmethod
    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of all processes' tensors, the same bits on each."""

    @abstractmethod
    def total(self, work: Callable[[], S], nothing: Callable[[], S], same: Sequence[Tensor]) -> S:
        """Return the total of the sums that work gives, the same bits on each process; errors as in `guard`.

        A process whose work fails takes part with nothing. The tensors ``same`` are to be the same bits on each
        process.
        """

    def agreed(self, work: Callable[[], T]) -> T:
        """Return what rank 0 finds where all do the same work; errors as in `guard`."""
        return self.first(self.guard(work))


class Alone(Processes):
    """One process: nothing is communicated."""

    rank, size = 0, 1

    def guard(self, work: Callable[[], T]) -> T:
        """Return the result of the work."""
        return work()

    def exchange(self, value: T) -> list[T]:
        """Return the one value."""
        return [value]

    def first(self, value: T) -> T:
        """Return the value."""
        return value

    def sum(self, values: Tensor) -> Tensor:
        """Return the tensor."""
        return values

    def total(self, work: Callable[[], S], nothing: Callable[[], S], same: Sequence[Tensor]) -> S:
        """Return the sums."""
        return work()


ALONE = Alone()


class Group(Processes):
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

    def total(self, work: Callable[[], S], nothing: Callable[[], S], same: Sequence[Tensor]) -> S:
        """Return the total of all ranks' sums by one all-reduce.

        It tells too whether a rank has failed, and whether all have the same tensors: numbers of which the square
        of the sum is the number of ranks times the sum of the squares are all the same (Cauchy-Schwarz).

        Raises
        ------
        RuntimeError
            If the tensors differ.
        """
        part, error = _attempt(work)
        if part is None:
            part = nothing()
        packed = part.packed()
        stamp = _stamp(same, MOST_EXACT // self.size)
        head = torch.tensor([error is not None, stamp, stamp**2], dtype=torch.float64, device=packed.device)
        sums = self.sum(torch.cat([head, packed]))
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


def _stamp(tensors: Sequence[Tensor], below: int) -> int:
    """Return a whole number below a bound that depends on every bit of float64 tensors, and on its place."""
    total, place = 0, 1
    for tensor in tensors:
        words = tensor.flatten().view(torch.int64)
        places = torch.arange(place, place + 2 * words.shape[0], 2, device=words.device)
        total, place = total + int((words * places).sum()), place + 2 * words.shape[0]
    return total % ((below - 1) | 1)  # odd places and an odd modulus: no bit of any word is lost


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
