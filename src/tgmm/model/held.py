"""Parameters that a fit does not change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance import Covariances
from tgmm.model.frame import Frame
from tgmm.model.parameters import Parameters
from tgmm.runtime.devices import moved
from tgmm.runtime.frozen import replace


@dataclass(frozen=True)
class Held:
    """Which parameters of which components are fixed, and at what.

    Parameters
    ----------
    weights, means, covariances : Tensor of bool, (K,)
        Where components share their covariance, all entries of the last are the same.
    values : Parameters
        In the user's units, or with all else in the frame; those of components that are not fixed do not count.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor
    values: Parameters

    def in_frame(self, frame: Frame) -> Held:
        """Map the values from the user's units into the frame."""
        return replace(self, values=frame.parameters_in(self.values))

    def put_in(self, parameters: Parameters) -> Parameters:
        """Return parameters with the fixed means and covariances, to the bit."""
        held = moved(self, parameters.means.device)
        covariances = held.covariances_among(parameters.covariances)
        return Parameters(parameters.weights, held.means_among(parameters.means), covariances)

    def about(self, origin: Tensor) -> Held:
        """Return the same for rows minus an origin (d,)."""
        return replace(self, values=replace(self.values, means=self.values.means - origin))

    @property
    def any(self) -> Tensor:
        """Which components have something that is fixed, (K,)."""
        return self.weights | self.means | self.covariances

    def weights_among(self, mass: Tensor, rest: Tensor | float) -> Tensor:
        """Return weights (..., K): the fixed ones, and what these leave in proportion to mass (..., K) and the rest."""
        fixed = torch.where(self.weights, self.values.weights, 0.0)
        free = torch.where(self.weights, 0.0, mass)
        total = free.sum(-1, keepdim=True) + rest
        return fixed + (1 - fixed.sum()) * free / torch.where(total > 0, total, 1.0)

    def means_among(self, means: Tensor) -> Tensor:
        """Return means (..., K, d) with the fixed ones."""
        return torch.where(self.means[:, None], self.values.means, means)

    def covariances_among(self, covariances: Covariances) -> Covariances:
        """Return covariances with the fixed ones."""
        if not self.covariances.any():
            return covariances
        values = self.values.covariances.values
        if covariances.shared or self.covariances.all():
            return replace(covariances, values=values.expand_as(covariances.values))
        return covariances.replaced(self.covariances, self.values.covariances)
