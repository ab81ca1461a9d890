"""Whether the ranks that share a fit mean the same fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

from tgmm.em.solution import Solution
from tgmm.files.plain import differences, plain_values
from tgmm.runtime.processes import Processes

BY_ROW = ("init_responsibilities", "labels")
OF_THE_RANK = {"checkpoint", "device", "random_state", "verbose", "verbose_interval"}  # settings that may differ


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
