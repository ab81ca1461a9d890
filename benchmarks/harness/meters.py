"""The clocks and the memory of this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple


class Seconds(NamedTuple):
    """Seconds by the clock, and of the processors."""

    seconds: float
    processor: float

    @classmethod
    def now(cls) -> Seconds:
        """Read both clocks."""
        return cls(time.perf_counter(), time.process_time())

    def passed(self) -> Seconds:
        """Return what has passed since this was read."""
        now = self.now()
        return Seconds(now.seconds - self.seconds, now.processor - self.processor)


def least_seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the least seconds by the clock of some calls, after one that warms up."""
    call()
    seconds = []
    for _ in range(repeats):
        start = Seconds.now()
        call()
        seconds.append(start.passed().seconds)
    return min(seconds)


def median_seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median seconds by the clock of some calls, after one that warms up."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def resident_bytes() -> int:
    """Return the size of the process in memory."""
    return _status("VmRSS")


def largest_resident_bytes() -> int:
    """Return the largest size that the process had in memory."""
    return _status("VmHWM")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(field)
