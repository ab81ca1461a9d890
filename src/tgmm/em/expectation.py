"""The E-step over all data, by the fastest kernel that is precise enough."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tgmm.data.batches import Batches, TensorBatches
from tgmm.kernels.base import Assignment, Kernel
from tgmm.kernels.guard import first_precise, is_precise, resolution
from tgmm.mixture import Mixture
from tgmm.statistics import Statistics

NOISE = 2e-5  # of the average objective in float32, with room to spare


class Expectation:
    """Statistics of all rows of all processes under a mixture.

    Parameters
    ----------
    batches : Batches
        This process's rows.
    kernels : list of Kernel
        Fastest first, most precise last; see `tgmm.kernels.choose`.
    assignment : Assignment
        Soft, hard or given responsibilities.
    reduce : callable
        What becomes of the statistics of all processes.
    """

    def __init__(
        self,
        batches: Batches,
        kernels: list[Kernel],
        assignment: Assignment,
        reduce: Callable[[Statistics], Statistics],
    ) -> None:
        self.batches, self.assignment, self.reduce = batches, assignment, reduce
        self._kernels = list(kernels)

    @property
    def kernel(self) -> Kernel:
        """The kernel in use."""
        return self._kernels[0]

    @property
    def n_kernels(self) -> int:
        """How many kernels have not proved too imprecise."""
        return len(self._kernels)

    @property
    def can_refine(self) -> bool:
        """Whether there is a more precise kernel."""
        return len(self._kernels) > 1

    @property
    def resolution(self) -> float:
        """The smallest share of a second moment that sums give precisely as a variance."""
        return resolution(self.kernel)

    def decides(self, change: float, tol: float) -> bool:
        """Whether the kernel's arithmetic can tell a change of the objective from tol.

        In float32 the average objective carries noise of some 1e-6, and steps drift by as much. A run is finished in
        float64, so that it ends where it would have ended there from the beginning.
        """
        return self.kernel.dtype != torch.float32 or not self.can_refine or abs(change) > max(2 * tol, tol + NOISE)

    def ends(self, change: float, tol: float) -> bool:
        """Whether a change that follows one above 2 tol is below tol in any arithmetic: a run that converges fast."""
        return abs(change) < tol - NOISE

    def widen(self, mixture: Mixture) -> Statistics:
        """Return the statistics by the next kernel, which serves from now on."""
        del self._kernels[0]
        return self(mixture)

    def __call__(self, mixture: Mixture, centre: Tensor | None = None) -> Statistics:
        """Return the statistics, about centre where it is given and the kernel can."""
        del self._kernels[: first_precise(self._kernels, mixture)]
        kernel, batches = self.kernel, self.batches

        def of(rows: Batches) -> Statistics:
            return kernel.expectation(rows, mixture, self.assignment, centre)

        nothing = TensorBatches(torch.empty(0, batches.n_features, dtype=batches.dtype, device=batches.device))
        return self.reduce(batches.processes.total(lambda: of(batches), lambda: of(nothing), mixture.parameters))

    def is_precise(self, mixture: Mixture, centre: Tensor) -> bool:
        """Whether sums about centre give this mixture's variances precisely."""
        return is_precise(self.kernel, mixture, centre, self._kernels[-1].dtype)

    def refine(self, mixture: Mixture, means: Tensor) -> Statistics:
        """Return the statistics once more, by a more precise kernel or else about these means (K, d)."""
        if self.can_refine:
            return self.widen(mixture)
        return self(mixture, means)
