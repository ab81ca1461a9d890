"""What kernels written in Triton have in common: float32 sums of soft assignments on a GPU."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance.moments import Moment
from tgmm.data.chunk import Accumulator
from tgmm.kernels.assignment import soft
from tgmm.kernels.base import Assignment, Buffer, Kernel
from tgmm.kernels.products import Products
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics

LIMITS = torch.finfo(torch.float32)
LARGEST = 3e38  # whose parts are finite


class TritonKernel(Kernel):
    """Float32 sums of soft assignments by kernels of our own, and all else by `Products`.

    All else are other assignments, covariances of another form than the one whose moments are wanted (starts), the
    first pass where moments are shared, in which they are summed, and joint log-densities alone.
    """

    moment: Moment

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.products = Products(*args, **kwargs)
        self.factors = factors_of(self.moment, self.n_features)
        self.has_norm = self.products.n_columns > 1 + self.factors.shape[1]

    def gather(
        self, parameters: Parameters, assignment: Assignment, centre: Tensor | None = None
    ) -> Accumulator[Statistics]:
        """Return what gathers the statistics about the frame's origin; centre is not used."""
        if not self._serves(parameters, assignment):
            return self.products.gather(parameters, assignment, centre)
        return self.sums(parameters)

    @abstractmethod
    def sums(self, parameters: Parameters) -> Accumulator[Statistics]:
        """Return what gathers the statistics of soft assignments."""

    def operands(self, parameters: Parameters) -> Any:
        """Return what plain products need."""
        return self.products.operands(parameters)

    def log_joint(self, rows: Tensor, operands: Any, buffer: Buffer) -> tuple[Tensor, Tensor | None]:
        """Return the joint log-densities by plain products."""
        return self.products.log_joint(rows, operands, buffer)

    def _serves(self, parameters: Parameters, assignment: Assignment) -> bool:
        is_first = self.moment.shared and self.products.pooled_second is None
        return assignment is soft and parameters.covariances.own_moment == self.moment and not is_first


def factors_of(moment: Moment, n_features: int) -> Tensor:
    """Return which features are multiplied in each column of the features, (2, columns): -1 for none.

    Besides these there are a first column of 1, and where the moment is the squared norm a last one of that.
    """
    factors = torch.stack([torch.full((n_features,), -1), torch.arange(n_features)])
    pairs = None if moment.shared else moment.pairs(n_features)
    return factors if pairs is None else torch.cat([factors, pairs], 1)


def power_of_2(number: int) -> int:
    """Return the smallest power of 2 from 16 that is not smaller."""
    return max(16, 1 << (number - 1).bit_length())
