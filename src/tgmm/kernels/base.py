"""What every kernel offers, and what it is given."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance.moments import Sums
from tgmm.data.chunk import Accumulator
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.runtime.frozen import kept

# Overwrites joint log-densities (K, c), in bits, of rows of which so much is known, by responsibilities
# and returns the rows' log-densities and what EM climbs, (c,) each, in nats; see `tgmm.kernels.assignment`.
Assignment = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]]

BITS = 1 / math.log(2)  # in a nat
# Rounding relative to the variances above which statistics are not to be used, by float type.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-8}
BLOCK_BYTES = 1 << 17  # of rows that are transposed at a time: strides over more leave the caches nothing to keep


class Buffer:
    """Memory for the numbers of one chunk after another."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self._memory = torch.empty(0, dtype=dtype, device=device)

    def take(self, n_rows: int, n_columns: int) -> Tensor:
        """Return (n_rows, n_columns) numbers, whatever they are; those of the last call are given up."""
        size = n_rows * n_columns
        if self._memory.shape[0] < size:
            self._memory = self._memory.new_empty(size)
        return self._memory[:size].view(n_rows, n_columns)


class Kernel(ABC):
    """One pass over rows under given parameters, inside a frame.

    Parameters
    ----------
    moment : Sums
        Which sums the statistics hold; the parameters of a pass may have covariances of another form.
    frame : Frame
    n_components : int
    dtype : torch.dtype
        The float type of the arithmetic on rows; sums are float64 in any case.
    device : torch.device

    Attributes
    ----------
    n_rows : int
        How many rows it works on at a time.
    """

    n_rows: int

    def __init__(self, moment: Sums, frame: Frame, n_components: int, dtype: torch.dtype, device: torch.device) -> None:
        self.moment, self.frame, self.n_components = moment, frame, n_components
        self.dtype, self.device = dtype, device
        self.n_features = frame.shift.shape[0]
        self.n_moments = moment.size(self.n_features)
        self.n_standardised = max(64, BLOCK_BYTES // (self.n_features * dtype.itemsize))  # rows at a time

    @kept
    def shift(self) -> Tensor:
        """The frame's shift, (d, 1)."""
        return self.frame.shift.to(self.dtype).to(self.device)[:, None]

    @kept
    def inverse_scale(self) -> Tensor:
        """What rows are multiplied by, (d, 1)."""
        return (1 / self.frame.scale).to(self.dtype).to(self.device)[:, None]

    @kept
    def resolution(self) -> float:
        """The smallest share of a second moment that sums give precisely as a variance."""
        return torch.finfo(self.dtype).eps / TOLERANCE[self.dtype]

    @kept
    def least_variance(self) -> float:
        """The variance below which squares underflow."""
        return torch.finfo(self.dtype).tiny / torch.finfo(self.dtype).eps

    @abstractmethod
    def gather(
        self, parameters: Parameters, assignment: Assignment, centre: Tensor | None = None
    ) -> Accumulator[Statistics]:
        """Return what gathers the statistics of rows, about the origin or where the kernel can about centre (K, d)."""

    @abstractmethod
    def operands(self, parameters: Parameters) -> Any:
        """Return what `log_joint` needs of parameters: computed once, it serves any number of rows."""

    @abstractmethod
    def log_joint(self, rows: Tensor, operands: Any, buffer: Buffer) -> tuple[Tensor, Tensor | None]:
        """Return log2(weight_k p_k(row)) in the frame, (K, c), and what all components have in common on top, (c,).

        In bits because powers of 2 are several times cheaper than powers of e.
        """

    def amplification(self, parameters: Parameters, centre: Tensor | None) -> float:
        """Return by how much rounding in sums about centre (K, d), or the origin, is amplified in variances."""
        if centre is None:
            return parameters.amplification_about_origin
        return float(parameters.amplification(centre).amax())

    def amplified_at_most(self, parameters: Parameters) -> float:
        """Return what the amplification in sums about the origin does not exceed, where that is less work."""
        return parameters.amplified_at_most

    def buffer(self) -> Buffer:
        """Return memory for the rows of one caller."""
        return Buffer(self.dtype, self.device)

    def standardise(self, rows: Tensor, out: Tensor) -> Tensor:
        """Write the rows (c, d) in the frame to out (d, c)."""
        rows = rows.to(self.device, self.dtype)
        if self.device.type != "cpu" or rows.shape[0] <= self.n_standardised:
            return torch.sub(rows.T, self.shift, out=out).mul_(self.inverse_scale)
        for part, block in zip(rows.split(self.n_standardised), out.split(self.n_standardised, 1), strict=True):
            torch.sub(part.T, self.shift, out=block).mul_(self.inverse_scale)
        return out
