"""Products of matrices, those of float32 in full, and on the CPU by the library that has the faster ones there.

torch multiplies by MKL, which keeps to 256-bit instructions on processors that are not Intel's; oneDNN, which torch
ships too, takes the widest that there are, and on such processors is twice as fast.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from tgmm.runtime.devices import float32_products

# Multiplications a row of the data below which a call of oneDNN costs more than it saves.
LEAST = 128
ROWS, INNER, COLUMNS = 8, 256, 1024  # sizes of the product that is checked once
CPU_INFO = Path("/proc/cpuinfo")


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b, (r, k) times (k, c)."""
    if a.dtype != torch.float32:
        return torch.mm(a, b)
    suits = a.device.type == "cpu" and a.is_contiguous()
    suits = suits and (b.is_contiguous() or b.T.is_contiguous())  # oneDNN takes others, a hundred times as slowly
    suits = suits and a.shape[0] * min(a.shape[1], b.shape[1]) >= LEAST
    with float32_products():
        return by_onednn(a, b) if suits and onednn_is_faster() else torch.mm(a, b)


def by_onednn(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b by oneDNN, which is fast where the rows of its first operand are contiguous."""
    linear = torch.ops.mkldnn._linear_pointwise  # rows (m, k) and weights (n, k) to (m, n)
    if b.stride(0) == 1:
        return linear(b.T, a, None, "none", [], "").T
    return linear(a, b.T, None, "none", [], "")


@cache
def onednn_is_faster() -> bool:
    """Whether the processor has 512-bit instructions and is not Intel's, and this torch has oneDNN's product, right.

    A rule, not a race of the two: the digits of a fit are not to depend on what else the machine is doing.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or _is_intel():
        return False
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(ROWS, INNER, generator=generator)
    b = torch.rand(INNER, COLUMNS, generator=generator)
    try:
        return torch.allclose(by_onednn(a, b), a @ b, rtol=1e-5)
    except (AttributeError, RuntimeError):  # no oneDNN in this build, or another signature
        return False


def _is_intel() -> bool:
    """Whether the processor is Intel's, or does not say whose it is."""
    try:
        text = CPU_INFO.read_text()
    except OSError:
        return True
    return "GenuineIntel" in text or "vendor_id" not in text
