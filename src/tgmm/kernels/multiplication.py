"""Products of float32 matrices on the CPU, by the library that has the faster ones there.

torch multiplies by MKL, which keeps to 256-bit instructions on processors that are not Intel's; oneDNN, which torch
ships too, takes the widest that there are, and on such processors is twice as fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

# Multiplications a row of the data below which a call of oneDNN costs more than it saves.
LEAST = 128
ROWS, INNER, COLUMNS, TRIALS = 32, 256, 4096, 5  # a trial's sizes, those of a kernel's product
# Fits are to have the same bits in every process, so the trial has to come out alike in each: processors on which oneDNN
# is faster have it faster by 2 or so, the others by nothing.
ADVANTAGE = 1.5


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b, (r, k) times (k, c)."""
    suits = a.device.type == "cpu" and a.dtype == torch.float32 and a.is_contiguous()
    suits = suits and (b.is_contiguous() or b.T.is_contiguous())  # oneDNN takes others, a hundred times as slowly
    suits = suits and a.shape[0] * min(a.shape[1], b.shape[1]) >= LEAST
    return by_onednn(a, b) if suits and onednn_is_faster() else torch.mm(a, b)


def by_onednn(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b by oneDNN, which is fast where the rows of its first operand are contiguous."""
    linear = torch.ops.mkldnn._linear_pointwise  # rows (m, k) and weights (n, k) to (m, n)
    if b.stride(0) == 1:
        return linear(b.T, a, None, "none", [], "").T
    return linear(a, b.T, None, "none", [], "")


@cache
def onednn_is_faster() -> bool:
    """Whether this torch has oneDNN's product, and it is right, and clearly faster here: one trial a process."""
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(ROWS, INNER, generator=generator)
    b = torch.rand(INNER, COLUMNS, generator=generator)
    try:
        is_right = torch.allclose(by_onednn(a, b), torch.mm(a, b), rtol=1e-5)
    except (AttributeError, RuntimeError):  # no oneDNN in this build, or another signature
        return False
    return is_right and _seconds(torch.mm, a, b) > ADVANTAGE * _seconds(by_onednn, a, b)


def _seconds(product: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> float:
    """Return the least time of several products."""
    times = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        product(a, b)
        times.append(time.perf_counter() - start)
    return min(times)
