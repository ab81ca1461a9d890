"""What every kernel offers, and what it is given."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from tgmm.covariance import CovarianceStructure
from tgmm.data.batches import Batches
from tgmm.data.frame import Frame
from tgmm.mixture import Mixture
from tgmm.statistics import Statistics

# Overwrites joint log-densities (K, c), in bits, of consecutive rows, the first of this index, by responsibilities
# and returns the rows' log-densities and what EM climbs, (c,) each, in nats.
Assignment = Callable[[Tensor, int], tuple[Tensor, Tensor]]


BITS = 1 / math.log(2)  # in a nat


class Kernel(ABC):
    """One pass over rows under a given mixture, inside a frame.

    Parameters
    ----------
    structure : CovarianceStructure
        Whose moments the statistics hold; the mixture of a pass may have another structure.
    frame : Frame
    n_components : int
    dtype : torch.dtype
        The float type of the arithmetic on rows; sums are float64 in any case.
    device : torch.device

    Attributes
    ----------
    rows : int
        How many rows it works on at a time.
    """

    rows: int

    def __init__(
        self,
        structure: CovarianceStructure,
        frame: Frame,
        n_components: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.structure, self.frame, self.n_components = structure, frame, n_components
        self.dtype, self.device = dtype, device
        self.n_features = frame.shift.shape[0]
        self.n_moments = structure.moment.size(self.n_features)
        self.shift = frame.shift.to(dtype).to(device)[:, None]  # (d, 1)
        self.inverse_scale = (1 / frame.scale).to(dtype).to(device)[:, None]  # (d, 1)

    @abstractmethod
    def expectation(
        self, batches: Batches, mixture: Mixture, assignment: Assignment, centre: Tensor | None = None
    ) -> Statistics:
        """Return the statistics of all rows, about the origin or where the kernel can about centre (K, d)."""

    @abstractmethod
    def log_joint(self, rows: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
        """Return log2(weight_k p_k(row)) in the frame as a sum: (K, c), and what all components share, (c,).

        In bits because powers of 2 are several times cheaper than powers of e.
        """

    def standardise(self, rows: Tensor, out: Tensor) -> Tensor:
        """Write the rows (c, d) in the frame to out (d, c)."""
        torch.sub(rows.to(self.device, self.dtype).T, self.shift, out=out)
        return out.mul_(self.inverse_scale)
