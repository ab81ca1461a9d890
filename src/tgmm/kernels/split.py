"""The exponential-family form by products of bfloat16 parts: float32 accuracy at the rate of a GPU's matrix units.

A float32 number is the sum of three bfloat16 numbers of 8 bits each, and a product of two such sums is, to 2^-24, the
sum of the six products of parts that are large enough to count. Matrix units multiply bfloat16 some fifteen times as
fast as float32 (an H100: 780 against 51 TFLOP/s), so that six products take less than half the time of one. The parts
of the features stand side by side, in the order in which their products are added: the smallest first, since matrix
units round every partial sum towards zero. Responsibilities are rounded to two parts; all sums are those of the same
rounded responsibilities.

One chunk of rows after another: a kernel writes the parts of the features, a product makes the joint log-densities, a
kernel the parts of the responsibilities, two products the sums, a last kernel adds them up. Sums are float32 over SLICE
rows, and float64 beyond, in a fixed order: the same from run to run.

Sources: Henry, Tang & Heinecke 2019, "Leveraging the bfloat16 artificial intelligence datatype for higher-precision
computations" (products of parts); Ootomo & Yokota 2022, Int. J. High Performance Computing Applications 36 (rounding).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tgmm.data.chunk import Accumulator, Chunk
from tgmm.kernels import chunking, split_device
from tgmm.kernels.assignment import LOG_2
from tgmm.kernels.base import BITS
from tgmm.kernels.products import weighted_total
from tgmm.kernels.triton_kernel import LARGEST, LIMITS, TritonKernel, power_of_2
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics

ALIGNED = 8  # numbers of a row of a bfloat16 matrix, or a multiple, that matrix units load at once
SLICE = 1024  # rows whose sums are float32
SLICES = 4  # slices that the sums of small parts, which round less, run over
CHUNK_BYTES = 1 << 30  # that the host may queue a chunk's kernels while the one before is computed
BLOCK = 4096  # numbers that a program of a kernel works on
compiled: Any = split_device  # whose functions Triton makes launchable


class Split(TritonKernel):
    """Products of bfloat16 parts, in place of float32."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.norm_column = 1 + self.n_features if self.has_norm else None
        self.n_columns = _padded(self.products.n_columns, ALIGNED)
        padding = (1, self.n_columns - 1 - self.factors.shape[1])
        columns = torch.nn.functional.pad(self.factors, padding, value=-1).int().to(self.device)
        self.left, self.right = columns.unbind()  # (columns,) each
        self.n_padded = _padded(self.n_components, ALIGNED)
        # Features in six parts; joint log-densities and two parts of responsibilities.
        n_bytes = 12 * self.n_columns + 8 * self.n_padded
        self.n_rows, self.slice = whole_slices(max(chunking.ROWS_MIN, CHUNK_BYTES // n_bytes))

    def sums(self, parameters: Parameters) -> Accumulator[Statistics]:
        """Return what gathers the statistics."""
        return SplitSums(self, parameters)

    def eta(self, parameters: Parameters) -> Tensor:
        """Return the parts of the natural parameters, in bits, (6 columns, K): as those of the features, reversed."""
        natural = (parameters.natural * BITS).to(self.device)  # (K, 1 + d [+ q])
        padding = (0, self.n_columns - natural.shape[1], 0, self.n_padded - natural.shape[0])
        eta = torch.nn.functional.pad(natural, padding).clamp(-LARGEST, LARGEST)
        eta[self.n_components :, 0] = -LARGEST  # components that are none
        high, middle, low = bfloat16_parts(eta)
        return torch.cat([high, middle, low, high, middle, high], 1).T

    def features(self, rows: Tensor) -> Tensor:
        """Return the parts of the features of rows (c, d): (whole slices, 6 columns) bfloat16."""
        n_rows, n_padded = rows.shape[0], _padded(rows.shape[0], self._slice_of(rows))
        features = rows.new_empty(n_padded, 6 * self.n_columns, dtype=torch.bfloat16)
        inputs, sizes = (rows, self.shift, self.inverse_scale), (n_rows, n_padded, self.n_columns)
        width = min(128, power_of_2(self.n_columns))
        shape = {"ROWS": BLOCK // width // 2, "COLUMNS": width, "N_FEATURES": self.n_features, "LARGEST": LARGEST}
        grid = (-(-n_padded // shape["ROWS"]), -(-self.n_columns // width))
        compiled.features_kernel[grid](*inputs, self.left, self.right, features, *sizes, **shape)
        if self.norm_column is not None:
            compiled.norms_kernel[grid[:1]](*inputs, features, *sizes, self.norm_column, **shape)
        return features

    def _slice_of(self, rows: Tensor) -> int:
        """Return how many rows a slice has: few where there are few, one slice where there are none."""
        return min(self.slice, _padded(rows.shape[0], chunking.ROWS_MIN))

    def responsibilities(self, joint: Tensor, weights: Tensor | None, n_rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the two parts of weight times responsibility, as joint (rows, K), and log-densities (c,), in bits."""
        n_padded, n_components = joint.shape
        high, low = (torch.empty_like(joint, dtype=torch.bfloat16) for _ in range(2))
        log_sums = joint.new_empty(n_rows)
        width = min(1024, power_of_2(n_components))
        shape = {"ROWS": BLOCK // width, "COMPONENTS": width, "WEIGHTED": weights is not None}
        limits = {"LOWEST": LIMITS.min, "TINY": LIMITS.tiny}
        grid = (-(-n_padded // shape["ROWS"]),)
        arguments = (joint, weights, high, low, log_sums, n_rows, n_padded, n_components)
        compiled.softmax_kernel[grid](*arguments, **shape, **limits)
        return high, low, log_sums

    def add(self, rows: Tensor, weights: Tensor | None, eta: Tensor, sums: Tensor) -> Tensor:
        """Add the sums of rows (c, d) to sums (K, columns), and return their log-densities, (c,)."""
        features = self.features(rows)
        high, low, log_sums = self.responsibilities(product(features, eta), weights, rows.shape[0])
        n_slices, n_columns = features.shape[0] // self._slice_of(rows), self.n_columns
        n_fewer = n_slices // SLICES if n_slices % SLICES == 0 else n_slices
        of_high = product(_sliced(high, n_slices).mT, _sliced(features, n_slices)[..., : 3 * n_columns])
        of_low = product(_sliced(low, n_fewer).mT, _sliced(features, n_fewer)[..., n_columns : 3 * n_columns])
        shape = {"COMPONENTS": 16, "COLUMNS": 64}
        grid = (-(-self.n_padded // shape["COMPONENTS"]), -(-n_columns // shape["COLUMNS"]))
        sizes = (n_slices, n_fewer, self.n_padded, n_columns)
        compiled.totals_kernel[grid](of_high, of_low, sums, *sizes, **shape)
        return log_sums.mul_(LOG_2)


class SplitSums(Accumulator[Statistics]):
    """Gathers statistics by products of parts."""

    def __init__(self, kernel: Split, parameters: Parameters) -> None:
        self.kernel, self.parameters = kernel, parameters
        self.n_rows = kernel.n_rows
        self.eta = kernel.eta(parameters)
        self.sums = torch.zeros(kernel.n_padded, kernel.n_columns, dtype=torch.float64, device=kernel.device)
        self.totals = self.sums.new_zeros(2)  # log-likelihood, weight

    def add(self, chunk: Chunk) -> None:
        """Add the sums of a chunk."""
        rows = chunk.rows.to(self.kernel.device).contiguous()
        weights = None if chunk.weights is None else chunk.weights.to(self.kernel.device)
        narrow = None if weights is None else weights.float()
        with torch.cuda.device_of(rows):
            likelihood = self.kernel.add(rows, narrow, self.eta, self.sums)
        self.totals[0] += weighted_total(likelihood, weights)
        self.totals[1] += rows.shape[0] if weights is None else weights.double().sum()

    def result(self) -> Statistics:
        """Return the statistics."""
        products = self.kernel.products
        sums = self.sums[: self.kernel.n_components, : products.n_columns]
        likelihood, weight = self.totals
        return products.statistics(sums, (likelihood, likelihood, weight), self.parameters)


def whole_slices(n_rows: int) -> tuple[int, int]:
    """Return how many of so many rows to work on at a time, and how many a slice of them has."""
    size = min(SLICE, n_rows)
    step = size * SLICES if n_rows >= size * SLICES else size
    return n_rows // step * step, size


def bfloat16_parts(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return three bfloat16 tensors whose sum is values to 24 bits, the largest first."""
    high = values.bfloat16()
    rest = values - high.to(values.dtype)
    middle = rest.bfloat16()
    return high, middle, (rest - middle.to(values.dtype)).bfloat16()


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return the float32 product of bfloat16 matrices, or of batches of them; the CPU widens them first."""
    if a.device.type == "cpu":
        return a.float() @ b.float()
    multiply = torch.mm if a.ndim == 2 else torch.bmm
    return multiply(a, b, out_dtype=torch.float32)


def _sliced(matrix: Tensor, n_slices: int) -> Tensor:
    """Return rows by slice, (slices, rows, columns)."""
    return matrix.view(n_slices, -1, matrix.shape[1])


def _padded(number: int, size: int) -> int:
    """Return the smallest multiple of size that is not smaller, and not 0."""
    return max(1, -(-number // size)) * size
