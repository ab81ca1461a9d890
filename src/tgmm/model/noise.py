"""Noise: rows of no component, with one density everywhere in a box (Banfield & Raftery 1993, Biometrics 49)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.model.frame import Frame


@dataclass(frozen=True)
class Noise:
    """A uniform density, whose weight is what the components' weights leave.

    Parameters
    ----------
    low, high : Tensor of shape (d,)
        The box along the axes in which the data lies, in the user's units.
    log_volume : float
        Of the noise, in the user's units: the density is 1 / volume for every row, wherever it is.
    """

    low: Tensor
    high: Tensor
    log_volume: float

    @property
    def log_sides(self) -> Tensor:
        """The log-lengths of a box of that volume in the proportions of the data's, (d,)."""
        sides = (self.high - self.low).log()
        return sides + (self.log_volume - sides.sum()) / sides.numel()

    def to(self, device: torch.device) -> Noise:
        """Return the noise on a device."""
        return Noise(self.low.to(device), self.high.to(device), self.log_volume)

    def log_density_in(self, frame: Frame) -> float:
        """Return the log-density in the frame."""
        return frame.log_volume - self.log_volume
