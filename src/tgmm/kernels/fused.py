"""The exponential-family form in one kernel: of few components and columns rows are read once, and only sums written.

Where features and responsibilities of a block of rows stay on the chip, a pass over rows takes little more than to read
them. Each program of the kernel does all of it for a slice of rows, and writes the slice's sums: features, their
product with the natural parameters, responsibilities, and the product of these with the features. Sums are float32
over a slice, and float64 beyond, in a fixed order: the same from run to run.

Source: Dao et al. 2022, "FlashAttention: fast and memory-efficient exact attention with IO-awareness" (what is made of
a block of rows is used before it leaves the chip).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tgmm.covariance.moments import Moment
from tgmm.data.chunk import Accumulator, Chunk
from tgmm.kernels import fused_device
from tgmm.kernels.assignment import LOG_2
from tgmm.kernels.base import BITS
from tgmm.kernels.triton_kernel import LARGEST, LIMITS, TritonKernel, factors_of, power_of_2
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics

MOST = 64  # columns of features, and components, that stay on the chip: in 99 KB, which consumers' GPUs have
FEW_SUMS = 1 << 8  # columns times components
ROWS, MORE_ROWS = 64, 128  # that are on the chip at a time, and where there are few sums
SLICES = 512  # that keep a GPU busy
SLICE = 1024  # rows, at most, whose sums are float32
WARPS, STAGES = 4, 1  # more stages would keep blocks of rows to come on the chip too
PRECISION = "tf32x3"  # three products of the matrix units' parts of float32, which keep its accuracy
compiled: Any = fused_device  # whose functions Triton makes launchable


class Fused(TritonKernel):
    """All of a pass over rows in one kernel."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.shape = power_of_2(self.factors.shape[1]), power_of_2(self.n_components)  # of the kernel's blocks
        self.left, self.right = self.factors.int().to(self.device).unbind()  # (columns,) each
        self.n_rows = max(1, self.products.n_rows // SLICE) * SLICE

    def sums(self, parameters: Parameters) -> Accumulator[Statistics]:
        """Return what gathers the statistics."""
        return FusedSums(self, parameters)

    def eta(self, parameters: Parameters) -> Tensor:
        """Return the natural parameters, in bits, (padded K, 1 + d [+ q])."""
        natural = (parameters.natural * BITS)[:, : self.products.n_columns]
        eta = torch.nn.functional.pad(natural, (0, 0, 0, self.shape[1] - natural.shape[0])).clamp(-LARGEST, LARGEST)
        eta[self.n_components :, 0] = -LARGEST  # components that are none
        return eta.float().to(self.device)

    def add(self, rows: Tensor, weights: Tensor | None, eta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums of rows (c, d), by slice: (slices, padded K, 1 + d [+ q]) and log-likelihoods (slices,)."""
        n_rows, (columns, components) = rows.shape[0], self.shape
        at_a_time = rows_of(columns, components)
        size = min(SLICE, max(at_a_time, power_of_2(n_rows // SLICES)))
        n_slices = max(1, -(-n_rows // size))
        sums = rows.new_empty(n_slices, *eta.shape, dtype=torch.float32)
        totals = rows.new_empty(n_slices, dtype=torch.float64)
        compiled.sums_kernel[(n_slices,)](
            rows, self.shift, self.inverse_scale, self.left, self.right, eta, weights, sums, totals,
            n_rows, self.left.shape[0], eta.shape[1],
            N_FEATURES=self.n_features, PAIRED=self.left.shape[0] > self.n_features, NORMED=self.has_norm,
            WEIGHTED=weights is not None, LOWEST=LIMITS.min, TINY=LIMITS.tiny, LARGEST=LARGEST,
            SLICE=size, ROWS=at_a_time, COLUMNS=columns, COMPONENTS=components, PRECISION=PRECISION,
            num_warps=WARPS, num_stages=STAGES,
        )  # fmt: skip
        return sums, totals


class FusedSums(Accumulator[Statistics]):
    """Gathers statistics by the one kernel."""

    def __init__(self, kernel: Fused, parameters: Parameters) -> None:
        self.kernel, self.parameters = kernel, parameters
        self.n_rows = kernel.n_rows
        self.eta = kernel.eta(parameters)
        self.found: list[Tensor] = []  # sums, log-likelihood in bits, weight

    def add(self, chunk: Chunk) -> None:
        """Add the sums of a chunk."""
        rows = chunk.rows.to(self.kernel.device).contiguous()
        weights = None if chunk.weights is None else chunk.weights.to(self.kernel.device)
        with torch.cuda.device_of(rows):
            sums, totals = self.kernel.add(rows, weights, self.eta)
        total = totals.sum()
        found = [sums.sum(0, dtype=torch.float64), total, self.kernel.products.weight_of(chunk, total)]
        self.found = [before + more for before, more in zip(self.found, found, strict=True)] if self.found else found

    def result(self) -> Statistics:
        """Return the statistics."""
        sums, total, weight = self.found or self._nothing()
        likelihood = total * LOG_2
        statistics = self.kernel.products.statistics
        return statistics(sums[: self.kernel.n_components], (likelihood, likelihood, weight), self.parameters)

    def _nothing(self) -> list[Tensor]:
        """Return the sums of no rows."""
        zero = torch.zeros((), dtype=torch.float64, device=self.kernel.device)
        return [zero.expand(self.eta.shape), zero, zero]


def rows_of(columns: int, components: int) -> int:
    """Return how many rows are on the chip at a time."""
    return MORE_ROWS if columns * components <= FEW_SUMS else ROWS


def fits(moment: Moment, n_features: int, n_components: int) -> bool:
    """Whether all of it stays on the chip."""
    return max(n_features, n_components) <= MOST and factors_of(moment, n_features).shape[1] <= MOST
