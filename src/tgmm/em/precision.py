"""The ladder of kernels: which one serves, and when its arithmetic is no longer enough."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.kernels.base import Kernel
from tgmm.kernels.choose import first_precise, is_precise
from tgmm.model.parameters import Parameters

NOISE = 2e-5  # of the average objective in float32, with room to spare
ROUNDING = 1e-10  # the fall of the average objective that rounding can explain in float64


@dataclass(frozen=True)
class Ladder:
    """Kernels, fastest first and most precise last; a run stands on one of their rungs, and never goes back.

    Parameters
    ----------
    kernels : tuple of Kernel
        See `tgmm.kernels.choose`.
    """

    kernels: tuple[Kernel, ...]

    def goes_on(self, rung: int) -> bool:
        """Whether there is a more precise kernel."""
        return rung + 1 < len(self.kernels)

    def first_precise(self, parameters: Parameters, rung: int) -> int:
        """Return the first rung from this one on whose joint log-densities are precise; the last always serves."""
        return rung + first_precise(self.kernels[rung:], parameters)

    def is_precise(self, parameters: Parameters, centre: Tensor, rung: int) -> bool:
        """Whether sums about centre give the variances of parameters precisely."""
        return is_precise(self.kernels[rung], parameters, centre, self.kernels[-1].dtype)

    def resolution(self, rung: int) -> float:
        """Return the smallest share of a second moment that sums give precisely as a variance."""
        return self.kernels[rung].resolution

    def decides(self, rung: int, change: float, tol: float) -> bool:
        """Whether the kernel's arithmetic can tell a change of the objective from tol.

        In float32 the average objective carries noise of some 1e-6, and steps drift by as much. A run is finished in
        float64, so that it ends where it would have ended there from the beginning.
        """
        return not self._is_narrow(rung) or abs(change) > max(2 * tol, tol + NOISE)

    def noise(self, rung: int) -> float:
        """Return the fall of the objective that the kernel's arithmetic can explain."""
        return NOISE if self._is_narrow(rung) else ROUNDING

    def _is_narrow(self, rung: int) -> bool:
        """Whether the kernel's arithmetic is float32, and a more precise one can take over."""
        return self.kernels[rung].dtype == torch.float32 and self.goes_on(rung)


def ends(change: float, tol: float) -> bool:
    """Whether a change that follows one above 2 tol is below tol in any arithmetic: a run that converges fast."""
    return abs(change) < tol - NOISE
