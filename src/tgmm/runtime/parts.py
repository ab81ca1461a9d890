"""Parts of a batch that are computed with at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch

CACHED = 1 << 18  # numbers in float64 that a core's own cache holds, beside others


def parts(count: int, size: int, device: torch.device) -> Iterator[slice]:
    """Yield parts of so many things, for each of which so many numbers are computed; on a device all are one part."""
    together = max(1, CACHED // size) if device.type == "cpu" else max(1, count)
    return (slice(first, first + together) for first in range(0, count, together))
