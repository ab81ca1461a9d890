"""The exponential-family form in fused kernels: features and responsibilities live on the chip alone.

What an iteration costs. With F features beside the constant, its two products take 2 N K F operations each. At a
million rows, d = 128 and K = 1024, spherical, that is 5.4e11 operations: 3.3 ms at the 165 TFLOP/s that products
split into three TF32 parts can reach on an H100 (a third of 495). Reading X takes 0.15 ms of its 3.4 TB/s. The
joint log-densities are 4.2 GB, so that the dozen passes over them of separate kernels take 15 ms. The statistics,
K x F numbers, fit on no multiprocessor, so that a program owns the sums of one tile of components and features and
passes over rows; and a row's responsibilities need all its components first. Three forms follow, by K and F:

- One tile of 8192 sums holds all components and features (small K): one kernel does everything and reads X once.
- Up to 64 features: a first kernel writes the log-sum-exp of every row, N numbers; the second, the one above, makes
  joint log-densities again where it needs them. That is 2 N K F operations more, at F = 64 a third of the time it
  takes to store and load 4 bytes for each row and component.
- More features: the registers of a multiprocessor no longer hold both products, and each tile of 128 features would
  make the joint log-densities again (full at d = 128 has 8384 features). The first kernel stores them for one chunk of
  rows at a time, the second loads them and makes responsibilities. At F = 128 these transfers take 2.5 ms where
  making them again takes 1.6 ms, but beside products of 3.3 ms, which leave the memory idle.

In the last two X is read twice, a twentieth of the time where there are so many products to make of it. Features, of
which the form by plain products stores and loads F a row, are made on the way in every form and stored in none.
Programs that pass over the same rows are neighbours in the grid and run at the same time, so that all but one of
them find the rows in the cache.

Sums are the same from run to run: each program has its own, in float32 over at most FLUSH rows and then in float64,
and they are added up in a fixed order. Nothing is added by atomic operations.

Products are split in three TF32 products, which leaves an error of some 2^-22 relative to the factors, about that of
float32 itself (Ootomo & Yokota 2022, Int. J. High Performance Computing Applications 36).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tgmm.data.chunk import Accumulator, Chunk
from tgmm.kernels import chunking, fused_device
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import Assignment, Buffer, Kernel
from tgmm.kernels.products import Products, weighted_total
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics

# Tiles as large as the registers hold, or nearly, by the compiler's report for compute capability 9.0.
SUMS = 128 * 64  # of a tile whose joint log-densities are made beside them
COMPONENTS_MAX = 128
FEATURES_ALONE = 256  # at most, where one tile holds everything
FEATURES_REMADE = 64  # at most, where joint log-densities are made twice
FEATURES = 128  # of a tile, where they are stored
STEP = 32  # features of a step of the first product
LOG_SUM_ROWS = 64
SUMS_ROWS = 32
STORED_ROWS = 16
FLUSH = 2048  # rows whose sums are float32
PROGRAMS = 2  # for each multiprocessor
WARPS = 8
LIMITS = torch.finfo(torch.float32)


class Tiles(NamedTuple):
    """How many components, features and rows a program works on: powers of 2 from 16."""

    components: int
    features: int
    step: int  # features in the first product
    rows: int
    alone: bool  # one tile holds all components and features
    stored: bool  # joint log-densities are stored

    @classmethod
    def of(cls, n_components: int, n_columns: int) -> Tiles:
        """Return the tiles for this many components and features; the three forms of the module's docstring."""
        components, features = _power_of_2(n_components), _power_of_2(n_columns)
        step = min(features, STEP)
        holds_all = components * features <= SUMS and components <= COMPONENTS_MAX and features <= FEATURES_ALONE
        if holds_all:
            return cls(components, features, step, SUMS_ROWS, alone=True, stored=False)
        components = min(components, COMPONENTS_MAX)
        if features <= FEATURES_REMADE:
            return cls(components, features, step, SUMS_ROWS, alone=False, stored=False)
        return cls(components, FEATURES, step, STORED_ROWS, alone=False, stored=True)


class Operands(NamedTuple):
    """Natural parameters in bits, padded to whole tiles."""

    eta: Tensor  # (components, columns)
    constants: Tensor  # (components,), -inf for padded components
    norms: Tensor  # (components,) coefficients of the squared norm


class Partials(NamedTuple):
    """The sums of each slice of the rows, float64."""

    masses: Tensor  # (slices, components)
    norms: Tensor  # (slices, tiles of features, components)
    sums: Tensor  # (slices, components, columns)


class Fused(Kernel):
    """Products in fused kernels, in float32, of soft assignments; by `Products` where those do not apply.

    They do not for other assignments, for covariances of another form than the one whose moments are wanted (starts),
    and for the first pass where moments are shared, in which they are summed.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.products = Products(*args, **kwargs)
        columns = torch.stack([torch.full((self.n_features,), -1), torch.arange(self.n_features)])
        pairs = self.moment.pairs(self.n_features)
        self.with_norm = pairs is None and not self.moment.shared
        if pairs is not None and not self.moment.shared:
            columns = torch.cat([columns, pairs], 1)  # (2, F)
        self.n_columns = columns.shape[1]
        self.tiles = Tiles.of(self.n_components, self.n_columns)
        padding = -self.n_columns % self.tiles.features
        self.columns = torch.nn.functional.pad(columns, (0, padding), value=-1).to(self.device, torch.int32)
        n_stored = self.n_components if self.tiles.stored else 1
        self.n_rows = chunking.rows_per_chunk(self.n_features + n_stored, self.dtype.itemsize, self.device)

    def gather(
        self, parameters: Parameters, assignment: Assignment, centre: Tensor | None = None
    ) -> Accumulator[Statistics]:
        """Return what gathers the statistics about the frame's origin; centre is not used."""
        if not self._serves(parameters, assignment):
            return self.products.gather(parameters, assignment, centre)
        return FusedSums(self, parameters)

    def operands(self, parameters: Parameters) -> Any:
        """Return what plain products need."""
        return self.products.operands(parameters)

    def log_joint(self, rows: Tensor, operands: Any, buffer: Buffer) -> tuple[Tensor, Tensor | None]:
        """Return the joint log-densities by plain products."""
        return self.products.log_joint(rows, operands, buffer)

    def _serves(self, parameters: Parameters, assignment: Assignment) -> bool:
        is_first = self.moment.shared and self.products.pooled_second is None
        return assignment is soft and parameters.covariances.own_moment == self.moment and not is_first

    def add(self, rows: Tensor, weights: Tensor | None, operands: Operands, partials: Partials) -> Tensor:
        """Add the sums of rows (c, d) to partials, and return their log-densities, (c,)."""
        n_rows, tiles = rows.shape[0], self.tiles
        n_slices, n_components, n_columns = partials.sums.shape
        log_sums = rows.new_empty(n_rows, dtype=torch.float32)
        joints = log_sums.new_empty(n_components, n_rows) if tiles.stored else None
        inputs = (rows, self.shift, self.inverse_scale, *self.columns, *operands)
        constants = {
            "N_FEATURES": self.n_features,
            "STORED": tiles.stored,
            "NORM": self.with_norm,
            "PRECISION": "tf32x3",
            "LOWEST": LIMITS.min,
            "TINY": LIMITS.tiny,
            "COMPONENTS": tiles.components,
            "STEP": tiles.step,
            "num_warps": WARPS,
        }
        if not tiles.alone:
            grid = (-(-n_rows // LOG_SUM_ROWS),)
            sizes = (n_rows, n_components, n_columns)
            _launch(
                fused_device.log_sum_kernel, grid, *inputs, log_sums, joints, *sizes, ROWS=LOG_SUM_ROWS, **constants
            )
        _launch(
            fused_device.sums_kernel,
            (n_components // tiles.components, n_columns // tiles.features, n_slices),
            *inputs,
            None if weights is None else weights.float(),
            log_sums,
            joints,
            *partials,
            n_rows,
            _padded(-(-n_rows // n_slices), tiles.rows),  # rows of a slice
            WEIGHTED=weights is not None,
            ALONE=tiles.alone,
            ROWS=tiles.rows,
            FEATURES=tiles.features,
            FLUSH=FLUSH,
            **constants,
        )
        return log_sums.mul_(math.log(2))

    def padded(self, parameters: Parameters) -> Operands:
        """Return natural parameters of whole tiles."""
        eta = self.products.bits(parameters.natural)  # (K, 1 + F [+ 1])
        n_components = _padded(self.n_components, self.tiles.components)
        constants = eta.new_full((n_components,), -torch.inf)
        constants[: self.n_components] = eta[:, 0]
        coefficients = eta.new_zeros(n_components, self.columns.shape[1])
        coefficients[: self.n_components, : self.n_columns] = eta[:, 1 : 1 + self.n_columns]
        norms = eta.new_zeros(n_components)
        if self.with_norm:
            norms[: self.n_components] = eta[:, -1]
        return Operands(coefficients, constants, norms)

    def partials(self) -> Partials:
        """Return zeros for as many slices as keep all multiprocessors busy."""
        n_components, n_columns = _padded(self.n_components, self.tiles.components), self.columns.shape[1]
        n_tiles = n_columns // self.tiles.features
        n_programs = n_components // self.tiles.components * n_tiles
        n_slices = max(1, PROGRAMS * _multiprocessors(self.device) // n_programs)
        masses = torch.zeros(n_slices, n_components, dtype=torch.float64, device=self.device)
        norms = masses.new_zeros(n_slices, n_tiles, n_components)
        return Partials(masses, norms, masses.new_zeros(n_slices, n_components, n_columns))

    def sums(self, partials: Partials) -> Tensor:
        """Return the sums over slices, (K, 1 + F [+ 1])."""
        parts = [partials.masses.sum(0)[:, None], partials.sums.sum(0)[:, : self.n_columns]]
        if self.with_norm:
            parts.append(partials.norms.sum((0, 1))[:, None])
        return torch.cat(parts, 1)[: self.n_components]


class FusedSums(Accumulator[Statistics]):
    """Gathers statistics by fused kernels."""

    def __init__(self, kernel: Fused, parameters: Parameters) -> None:
        self.kernel, self.parameters = kernel, parameters
        self.n_rows = kernel.n_rows
        self.operands, self.partials = kernel.padded(parameters), kernel.partials()
        self.totals = self.partials.masses.new_zeros(2)  # log-likelihood, weight

    def add(self, chunk: Chunk) -> None:
        """Add the sums of a chunk."""
        rows = chunk.rows.to(self.kernel.device).contiguous()
        weights = None if chunk.weights is None else chunk.weights.to(self.kernel.device)
        likelihood = self.kernel.add(rows, weights, self.operands, self.partials)
        self.totals[0] += weighted_total(likelihood, weights)
        self.totals[1] += rows.shape[0] if weights is None else weights.double().sum()

    def result(self) -> Statistics:
        """Return the statistics."""
        totals = torch.stack([self.totals[0], *self.totals])
        return self.kernel.products.statistics(self.kernel.sums(self.partials), totals, self.parameters)


def _launch(kernel: Any, grid: tuple[int, ...], rows: Tensor, *arguments: Any, **constants: Any) -> None:
    """Run a kernel on the device that the rows are on."""
    with torch.cuda.device_of(rows):
        kernel[grid](rows, *arguments, **constants)


def _multiprocessors(device: torch.device) -> int:
    """Return how many multiprocessors the device has; a few where kernels are interpreted."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 4


def _power_of_2(number: int) -> int:
    """Return the smallest power of 2 from 16 that is not smaller."""
    return max(16, 1 << (number - 1).bit_length())


def _padded(number: int, size: int) -> int:
    """Return the smallest multiple of size that is not smaller."""
    return -(-number // size) * size
