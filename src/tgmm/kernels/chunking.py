"""How many rows a kernel works on at a time."""

from __future__ import annotations

import torch

CPU_BYTES, CPU_BYTES_MOST = 8 << 20, 32 << 20  # about what the caches of two cores hold, and all of them
ACCELERATOR_BYTES = 256 << 20
ROWS_MIN, ROWS_ENOUGH, ROWS_MAX = 64, 384, 16384  # products of fewer rows than enough run at two thirds of the rate


def rows_per_chunk(n_columns: int, itemsize: int, device: torch.device) -> int:
    """Return the rows of a chunk whose working set is n_columns numbers a row."""
    size = n_columns * itemsize
    if device.type == "cpu":
        rows = max(CPU_BYTES // size, min(ROWS_ENOUGH, CPU_BYTES_MOST // size))
        return min(max(rows, ROWS_MIN), ROWS_MAX) // 64 * 64
    return max(ACCELERATOR_BYTES // size, ROWS_MIN)
