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
    def volume(self) -> float:
        """The volume, infinite where it is beyond float64."""
        return float(torch.tensor(self.log_volume, dtype=torch.float64).exp())

    @property
    def log_box(self) -> float:
        """The log-volume of the box along the axes."""
        return float((self.high - self.low).log().sum())

    @property
    def log_sides(self) -> Tensor:
        """The log-lengths of a box of that volume in the proportions of the data's, (d,)."""
        sides = (self.high - self.low).log()
        return sides + (self.log_volume - sides.sum()) / sides.numel()

    def to(self, device: torch.device) -> Noise:
        """Return the noise on a device."""
        return Noise(self.low.to(device), self.high.to(device), self.log_volume)

    def out_of(self, frame: Frame) -> Noise:
        """Return noise among rows in a frame as noise among these rows in the user's units."""
        low, high = (frame.rows_out(end.to(frame.shift.device)) for end in (self.low, self.high))
        return Noise(low, high, self.log_volume + frame.log_volume)

    def log_density_in(self, frame: Frame) -> float:
        """Return the log-density in the frame."""
        return frame.log_volume - self.log_volume
