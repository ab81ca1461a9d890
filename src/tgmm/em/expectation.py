"""The E-step over all data, by the fastest kernel that is precise enough."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tgmm.data.data import Data
from tgmm.em.precision import Ladder
from tgmm.kernels.base import Assignment
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics


@dataclass(frozen=True)
class Expectation:
    """Statistics of all rows of all processes under parameters.

    Parameters
    ----------
    data : Data
    ladder : Ladder
    assignment : Assignment
        Soft, hard or given responsibilities.
    """

    data: Data
    ladder: Ladder
    assignment: Assignment

    def __call__(self, parameters: Parameters, rung: int, centre: Tensor | None = None) -> tuple[Statistics, int]:
        """Return the statistics, about centre where it is given and the kernel can, and the rung that served."""
        rung = self.ladder.first_precise(parameters, rung)
        kernel = self.ladder.kernels[rung]
        same = (parameters.weights, parameters.means, parameters.covariances.values)
        return self.data.fold(lambda: kernel.gather(parameters, self.assignment, centre), same), rung

    def refined(self, parameters: Parameters, rung: int, means: Tensor) -> tuple[Statistics, int]:
        """Return the statistics once more, by a more precise kernel or else about these means (K, d), and the rung."""
        if self.ladder.goes_on(rung):
            return self(parameters, rung + 1)
        return self(parameters, rung, means)
