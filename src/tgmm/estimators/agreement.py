"""Whether the ranks that share a fit mean the same fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tgmm.em.solution import Solution
from tgmm.files.plain import differences, plain_values
from tgmm.runtime.processes import Processes

OF_THE_RANK = {"checkpoint", "device", "random_state", "verbose", "verbose_interval"}  # settings that may differ


def check_alike(
    processes: Processes,
    given: Mapping[str, Any],
    *,
    resume: Any,
    init_responsibilities: Any,
    labels: Any,
    before: Solution | None,
) -> None:
    """Raise a ValueError on every rank where ranks would fit different models, or in different ways."""
    said, _ = plain_values({name: value for name, value in given.items() if name not in OF_THE_RANK})
    by_row = {"init_responsibilities": init_responsibilities, "labels": labels}
    said |= {"resume": resume} | {name: None if value is None else "given" for name, value in by_row.items()}
    said |= {"checkpoint": None if given["checkpoint"] is None else "given"}
    if given["warm_start"] and before is not None:
        said["the solution for warm_start"] = before.mixture.parameters.means.cpu()
    first, *others = processes.exchange(said)
    for rank, other in enumerate(others, 1):
        different = differences(first, other)
        if different:
            name = different[0]
            raise ValueError(
                f"{name} must be the same on every rank; it is {first.get(name)!r} on rank 0 and {other.get(name)!r} "
                f"on rank {rank}."
            )
