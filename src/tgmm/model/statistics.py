"""Sufficient statistics: the only thing that crosses chunks, devices and processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from tgmm.covariance.moments import Sums
from tgmm.runtime.frozen import replace

NO_MASS = torch.finfo(torch.float64).tiny  # in place of a mass of 0, so that nothing over nothing is 0


@dataclass(frozen=True)
class Statistics:
    """Weighted sums over rows, in float64.

    The sums are about ``centre``, which every part of one expectation shares, so adding is exact.
    """

    mass: Tensor  # (..., K) sum of responsibilities
    first: Tensor  # (..., K, d) responsibilities times (row - centre)
    second: Tensor  # (..., K, q), or (..., 1, q) where the sum over components is all that is needed
    log_likelihood: Tensor  # (...) sum of log-densities
    objective: Tensor  # (...) what EM climbs: the log-likelihood, or the classification log-likelihood
    weight: Tensor  # () sum of the sample weights, or (P,) where each mixture has its own rows
    centre: Tensor  # (1, d) or (K, d); not a sum

    def __add__(self, other: Statistics) -> Statistics:
        """Return the statistics of both sets of rows."""
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in SUMS})

    def scale(self, gamma: float) -> Statistics:
        """Return the statistics with every sample weight multiplied by gamma."""
        return replace(self, **{name: getattr(self, name) * gamma for name in SUMS})

    @property
    def mean(self) -> Tensor:
        """The mean of all rows, (..., d), where each has been given to components in whole."""
        mass = self.mass.unsqueeze(-1)
        return torch.addcmul(self.first, mass, self.centre).sum(-2) / self.weight.unsqueeze(-1)

    def of_some(self, index: Any) -> Statistics:
        """Return those of some of the mixtures of a batch."""
        names = [name for name in SUMS if name != "weight" or self.weight.ndim]
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def reordered(self, order: Tensor) -> Statistics:
        """Return the same statistics with the components in another order, (K,) of their present numbers."""
        second = self.second if self.second.shape[-2] == 1 else self.second[order]
        centre = self.centre if len(self.centre) == 1 else self.centre[order]
        return replace(self, mass=self.mass[order], first=self.first[order], second=second, centre=centre)

    def about(self, centre: Tensor, sums: Sums) -> Statistics:
        """Return the statistics about another centre, (1, d), (K, d), or (P, 1, d) of a batch."""
        if self.centre is centre or not (shift := self.centre - centre).any():
            return self
        mass = self.mass.unsqueeze(-1)
        mean = self.first / mass.clamp_min(NO_MASS)  # (..., K, d) about the old centre
        second = sums.moved(self.second, self.mass, mean, shift)
        return replace(self, first=mass * (mean + shift), second=second, centre=centre)

    def combined(self, factors: Tensor) -> Statistics:
        """Return what `together` has joined (B, ...), summed with factors (B,) whose sum is 1."""
        sums = {name: getattr(self, name) for name in ESTIMATED}
        combined = {name: (factors @ each.flatten(1)).view(each.shape[1:]) for name, each in sums.items()}
        return replace(self, **combined)

    def packed(self) -> Tensor:
        """Return all sums as one vector."""
        return torch.cat([getattr(self, name).flatten() for name in SUMS])

    def unpacked(self, sums: Tensor) -> Statistics:
        """Return statistics about the same centre from such a vector."""
        parts = sums.split([getattr(self, name).numel() for name in SUMS])
        shaped = {name: part.reshape(getattr(self, name).shape) for name, part in zip(SUMS, parts, strict=True)}
        return replace(self, **shaped)


def together(parts: Sequence[Statistics]) -> Statistics:
    """Return what parameters are estimated from as a batch, of the same rows and about one centre; the rest once."""
    return replace(parts[-1], **{name: torch.stack([getattr(part, name) for part in parts]) for name in ESTIMATED})


ESTIMATED = ("mass", "first", "second")  # what parameters are estimated from; of the same rows, the weight is the same
SUMS = tuple(field.name for field in fields(Statistics) if field.name != "centre")
