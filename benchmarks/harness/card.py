"""A GPU: what it does at best, and how long and in how much memory it does something."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch

LONG = 1.0  # seconds, from which on one measurement has to do
GIGA, TERA = 1e9, 1e12


@dataclass(frozen=True)
class Ceilings:
    """What the card does at best, measured: bytes copied, read and written, and operations of products, a second."""

    bandwidth: float
    float32: float
    bfloat16: float

    def __str__(self) -> str:
        products = f"products {self.float32 / TERA:.3g} TFLOP/s in float32, {self.bfloat16 / TERA:.3g} in bfloat16"
        return f"copy {self.bandwidth / TERA:.3g} TB/s, {products}"


@dataclass(frozen=True)
class Card:
    """A device, a GPU or in its stead the CPU."""

    device: torch.device
    repeats: int

    @property
    def name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)

    def about(self) -> dict[str, Any]:
        """Return what the numbers depend on."""
        triton = version("triton") if find_spec("triton") else None
        return {
            "card": self.name, "date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, "triton": triton,
        }  # fmt: skip

    def wait(self) -> None:
        """Wait for all that is queued."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def once(self, run: Callable[[], object]) -> float:
        """Return the seconds of a call."""
        self.wait()
        started = time.perf_counter()
        run()
        self.wait()
        return time.perf_counter() - started

    def seconds(self, run: Callable[[], object]) -> float:
        """Return the median time of a call, after two that warm up; of a long one the time of the second."""
        self.once(run)
        second = self.once(run)
        return second if second > LONG else statistics.median(self.once(run) for _ in range(self.repeats))

    def memory(self, run: Callable[[], object]) -> int:
        """Return the bytes that a call takes beyond those that are taken already."""
        if self.device.type != "cuda":
            return 0
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        run()
        return torch.cuda.max_memory_allocated(self.device) - before

    def ceilings(self, order: int, n_bytes: int) -> Ceilings:
        """Measure the card: a large copy, and large products in both precisions."""
        source = torch.rand(n_bytes // 4, device=self.device)
        target = torch.empty_like(source)
        copying = self.seconds(lambda: target.copy_(source))
        rates = []
        for dtype in (torch.float32, torch.bfloat16):
            a, b = (torch.rand(order, order, device=self.device).to(dtype) for _ in range(2))
            rates.append(2 * order**3 / self.seconds(lambda a=a, b=b: a @ b))
        return Ceilings(2 * n_bytes / copying, *rates)
