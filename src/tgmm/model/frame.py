"""The frame: an origin and a unit for each feature, in which all sums are safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from tgmm.model.parameters import Parameters
from tgmm.runtime.frozen import kept, replace

Values = TypeVar("Values", Tensor, float)


@dataclass(frozen=True)
class Frame:
    """Rows x become z = (x - shift) / scale.

    The frame makes fits invariant to the offset and the units of the data: E[z^2] - E[z]^2 is safe near the
    origin, where E[x^2] - E[x]^2 is not. Whatever enters a fit crosses into the frame by the methods that end in
    ``_in``, and whatever comes out of it by those that end in ``_out``.
    """

    shift: Tensor  # (d,), or (P, 1, d) for the frames of as many problems
    scale: Tensor  # the same, equal entries where features must keep one unit

    @classmethod
    def of(cls, origin: Tensor, variance: Tensor, dtype: torch.dtype, *, one_scale: bool) -> Frame:
        """Return the frame with this origin and these variances, (d,), or (P, 1, d) for many.

        The origin is to be where most rows are: subtracting it loses the digits of rows much nearer to 0 than it,
        so that a mean, which a few rows far away can move anywhere, will not do. It is rounded to the data's own
        float type, so that subtracting it there is exact nearby.
        """
        if one_scale:
            variance = variance.mean(-1, keepdim=True).expand_as(variance)
        scale = torch.where(variance > 0, variance, 1.0).sqrt()
        return cls(origin.to(dtype).double(), rounded(scale))

    @classmethod
    def around(cls, parameters: Parameters, dtype: torch.dtype, *, one_scale: bool) -> Frame:
        """Return the frame of the heaviest component's mean and the mixture's variances, in the user's units."""
        weights, means = parameters.weights, parameters.means
        mean = weights @ means
        variance = weights @ ((means - mean).square() + parameters.covariances.variances)
        return cls.of(means[weights.argmax()], variance, dtype, one_scale=one_scale)

    def of_some(self, index: Tensor) -> Frame:
        """Return the frames of some of many problems."""
        return Frame(self.shift[index], self.scale[index])

    @kept
    def log_volume(self) -> float:
        """The log-volume of the frame's unit cube, in the user's units."""
        return float(self.scale.log().sum())

    def rows_in(self, rows: Tensor) -> Tensor:
        """Map rows (..., d) in float64 from the user's units into the frame."""
        return (rows - self.shift.to(rows.device)) / self.scale.to(rows.device)

    def rows_out(self, rows: Tensor) -> Tensor:
        """Map rows (..., d) from the frame into the user's units."""
        return self.shift.to(rows.device) + rows * self.scale.to(rows.device)

    def log_density_in(self, log_density: Values) -> Values:
        """Map a log-density from the user's units into the frame."""
        return log_density + self.log_volume

    def log_density_out(self, log_density: Values, n_rows: float = 1.0) -> Values:
        """Map the sum of n_rows log-densities from the frame into the user's units."""
        return log_density - n_rows * self.log_volume

    def variances_in(self, variances: Tensor) -> Tensor:
        """Map variances, (d,), or () where there is one scale, from the user's units into the frame."""
        return variances / self._squares(variances)

    def variances_out(self, variances: Tensor) -> Tensor:
        """Map variances, (d,), or () where there is one scale, from the frame into the user's units."""
        return variances * self._squares(variances)

    def _squares(self, variances: Tensor) -> Tensor:
        squares = self.scale.square()
        return squares if variances.ndim else squares[0]

    def parameters_in(self, parameters: Parameters) -> Parameters:
        """Map parameters from the user's units into the frame."""
        covariances = parameters.covariances.rescale(1 / self.scale)
        return replace(parameters, means=self.rows_in(parameters.means), covariances=covariances)

    def parameters_out(self, parameters: Parameters) -> Parameters:
        """Map parameters from the frame into the user's units; they are copies, made for inference or not."""
        covariances = parameters.covariances.rescale(self.scale)
        posterior = None if parameters.posterior is None else parameters.posterior.clone()
        return Parameters(parameters.weights.clone(), self.rows_out(parameters.means), covariances, posterior)


def rounded(values: Tensor) -> Tensor:
    """Return values to nine digits: the same, whatever the order in which they were summed."""
    mantissa, exponent = torch.frexp(values)
    return torch.ldexp((mantissa * 2**32).round() / 2**32, exponent)
