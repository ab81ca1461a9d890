"""Whether the ranks that share a fit mean the same fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from torch import Tensor

from tgmm.data.source import Source
from tgmm.em.solution import Solution
from tgmm.estimators.settings import Settings
from tgmm.files.plain import differences, plain_values
from tgmm.runtime.checks import check_flag
from tgmm.runtime.processes import Group, Processes

BY_ROW = ("init_responsibilities", "labels")
OF_THE_RANK = {"checkpoint", "device", "random_state", "verbose", "verbose_interval"}  # settings that may differ


def agreed_settings(
    given: Mapping[str, Any], make: Callable[[], Settings], before: Solution | None = None, **arguments: Any
) -> Settings:
    """Return the checked settings of a fit; with ``distributed=True`` what is wrong on one rank is an error on all.

    Parameters
    ----------
    given : mapping
        Settings.
    make : callable
        Checks them.
    before, **arguments
        See `check_alike`.
    """
    if not check_flag(given["distributed"], "distributed"):
        return make()
    processes = Group()
    check_alike(processes, given, before, **arguments)
    return processes.guard(make)


def check_alike(
    processes: Processes, given: Mapping[str, Any], before: Solution | None = None, **arguments: Any
) -> None:
    """Raise a ValueError on every rank where ranks would fit different models, or in different ways.

    Parameters
    ----------
    processes : Processes
    given : mapping
        Settings.
    before : Solution, optional
        What the fit goes on from.
    **arguments
        Others of the call. Of those that have values row by row, it counts whether they are given.
    """
    chosen = {name: value for name, value in given.items() if name not in OF_THE_RANK}
    by_row = {"checkpoint": given["checkpoint"]} | {name: arguments.pop(name, None) for name in BY_ROW}
    said, _ = plain_values(chosen | arguments)
    said |= {name: None if value is None else "given" for name, value in by_row.items()}
    said["the solution to continue from"] = None if before is None else before.mixture.parameters.means.cpu()
    first, *others = processes.exchange(said)
    for rank, other in enumerate(others, 1):
        different = differences(first, other)
        if different:
            name = different[0]
            raise ValueError(
                f"{name} must be the same on every rank; it is {first.get(name)!r} on rank 0 and {other.get(name)!r} "
                f"on rank {rank}."
            )


def check_same_problems(processes: Processes, keys: list[Any]) -> None:
    """Raise a ValueError unless all processes have problems of the same names."""
    if processes.size == 1:
        return
    stamps = processes.exchange((len(keys), crc32(repr(keys).encode())))
    if len(set(stamps)) > 1:
        counts = ", ".join(str(count) for count, _ in stamps)
        raise ValueError(
            f"With distributed=True, every rank must be given the same problems; the ranks have {counts} problems, or "
            "different groups: give all problems on every rank."
        )


def check_same_values(processes: Processes, keys: Sequence[Any], stamps: list[int]) -> None:
    """Raise a ValueError unless problems with these names have the same stamps (see `stamp`) on all processes."""
    first, *others = processes.exchange(stamps)
    for rank, other in enumerate(others, 1):
        for key, own, its in zip(keys, first, other, strict=True):
            if own != its:
                raise ValueError(
                    "With distributed=True, every rank must be given the same problems; the rows, sample_weight, "
                    f"init_responsibilities or labels of problem {key!r} on rank {rank} are not those on rank 0: give "
                    "all problems on every rank."
                )


def stamp(*values: Any) -> int:
    """Return a checksum of what a problem is given: arrays, tables, file names, or nothing; of sources, their kind."""
    found = 0
    for value in values:
        if value is None or isinstance(value, Source):
            content = type(value).__name__.encode()
        else:
            array = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
            content = np.ascontiguousarray(array).tobytes() if array.dtype != object else repr(array.tolist()).encode()
            found = crc32(repr(array.shape).encode(), found)
        found = crc32(content, found)
    return found
