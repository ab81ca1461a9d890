"""Processes that fit one mixture together: what they tell each other, and the one process that has nobody to tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from torch import Tensor

from tgmm.parameters import Parameters
from tgmm.statistics import Statistics

T = TypeVar("T")


class Processes(Protocol):
    """What the engine asks of the processes that share a fit; all of them make the same calls in the same order.

    Attributes
    ----------
    rank : int
        Which of the processes this is, from 0.
    """

    rank: int

    def guard(self, work: Callable[[], T]) -> T:
        """Return the result of this process's own work; where the work of any process fails, all raise its error."""
        ...

    def exchange(self, value: T) -> list[T]:
        """Return the plain values or CPU tensors of all processes, in the order of their ranks."""
        ...

    def first(self, value: T) -> T:
        """Return the value of rank 0."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of all processes' tensors, the same bits on each."""
        ...

    def total(
        self, work: Callable[[], Statistics], nothing: Callable[[], Statistics], parameters: Parameters
    ) -> Statistics:
        """Return the sum of the statistics that work gives, the same bits on each process; errors as in `guard`.

        A process whose work fails takes part with the statistics of nothing. The parameters are to be the same bits
        on each process.
        """
        ...


class Alone:
    """One process: nothing is communicated."""

    rank = 0

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

    def total(
        self, work: Callable[[], Statistics], nothing: Callable[[], Statistics], parameters: Parameters
    ) -> Statistics:
        """Return the statistics."""
        return work()


ALONE = Alone()
