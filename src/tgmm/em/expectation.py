"""The E-step over all data, by the fastest kernel that is precise enough."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from tgmm.data.data import Data
from tgmm.em.precision import Ladder
from tgmm.kernels.assignment import Noisy, Rule
from tgmm.kernels.base import Assignment
from tgmm.model.noise import Noise
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics


@dataclass(frozen=True)
class Expectation:
    """Statistics of all rows of all processes under parameters.

    Parameters
    ----------
    data : Data
    ladder : Ladder
    rule : Rule
        Soft, hard or given responsibilities.
    noise : Noise, optional
        Whose weight is what the components' weights leave.
    """

    data: Data
    ladder: Ladder
    rule: Rule
    noise: Noise | None = field(default=None, kw_only=True)

    def __call__(self, parameters: Parameters, rung: int, centre: Tensor | None = None) -> tuple[Statistics, int]:
        """Return the statistics, about centre where it is given and the kernel can, and the rung that served."""
        rung = self.ladder.first_precise(parameters, rung)
        kernel = self.ladder.kernels[rung]
        same = (parameters.weights, parameters.means, parameters.covariances.values)
        assignment: Assignment = self.rule
        if self.noise is not None:  # beside it, nothing of a density cancels
            assignment = Noisy.of(self.noise, kernel.frame, parameters, self.rule)
            parameters = parameters.apart()
        return self.data.fold(lambda: kernel.gather(parameters, assignment, centre), same), rung

    def refined(self, parameters: Parameters, rung: int, means: Tensor) -> tuple[Statistics, int]:
        """Return the statistics once more, by a more precise kernel or else about these means (K, d), and the rung."""
        if self.ladder.goes_on(rung):
            return self(parameters, rung + 1)
        return self(parameters, rung, means)
