"""How many rows a kernel works on at a time."""

from __future__ import annotations

import torch

CPU_BYTES = 8 << 20  # about what the caches of two cores hold
ACCELERATOR_BYTES = 256 << 20
ROWS_MIN, ROWS_MAX = 64, 16384


def rows_per_chunk(n_columns: int, itemsize: int, device: torch.device) -> int:
    """Return the rows of a chunk whose working set is n_columns numbers a row."""
    if device.type == "cpu":
        return min(max(CPU_BYTES // (n_columns * itemsize), ROWS_MIN), ROWS_MAX) // 64 * 64
    return max(ACCELERATOR_BYTES // (n_columns * itemsize), ROWS_MIN)
