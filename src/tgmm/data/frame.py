"""The frame: an origin and a unit for each feature, in which all sums are safe."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.covariance import CovarianceStructure
from tgmm.data.batches import Batches, chunks
from tgmm.parameters import Parameters
from tgmm.placement import moved
from tgmm.precision import widen

SUMMARY_ROWS = 8192
ORIGIN_ROWS = 4095


@dataclass(frozen=True)
class Summary:
    """Weighted moments and the range of each feature about an origin, in float64."""

    n_rows: int
    origin: Tensor  # (d,) where the bulk of the data is; a value of each feature
    weight: Tensor  # () sum of the sample weights
    mean: Tensor  # (d,) of rows minus origin
    scatter: Tensor  # (d,) weighted sum of squared deviations from the mean
    minimum: Tensor  # (d,)
    maximum: Tensor  # (d,)

    @classmethod
    def empty(cls, origin: Tensor) -> Summary:
        """Return the summary of no rows."""
        zero = torch.zeros_like(origin)
        return cls(0, origin, zero.sum(), zero, zero, zero + torch.inf, zero - torch.inf)

    def __add__(self, other: Summary) -> Summary:
        """Merge two summaries (Chan, Golub & LeVeque 1983, The American Statistician 37)."""
        weight = self.weight + other.weight
        share = torch.where(weight > 0, other.weight / weight, 0.0)
        step = other.mean - self.mean
        return Summary(
            self.n_rows + other.n_rows,
            self.origin,
            weight,
            self.mean + share * step,
            self.scatter + other.scatter + self.weight * share * step.square(),
            torch.minimum(self.minimum, other.minimum),
            torch.maximum(self.maximum, other.maximum),
        )

    @property
    def constant(self) -> Tensor:
        """Which features have one value only, (d,)."""
        return self.minimum == self.maximum

    @property
    def variance(self) -> Tensor:
        """The variances, exactly 0 for constant features, (d,)."""
        return torch.where(self.constant, 0.0, self.scatter / self.weight)


def _spread(n_rows: int) -> Tensor:
    """Return the indices of rows spread evenly over all, in integers: floats cannot count so far."""
    count = min(n_rows, ORIGIN_ROWS)
    return torch.arange(count) * (n_rows - 1) // max(count - 1, 1)


def bulk(batches: Batches) -> Tensor:
    """Return where the bulk of the rows is: the median of some that are evenly spread, (d,)."""
    spread = _spread(batches.n_rows)
    return widen(batches.take(spread.to(batches.device)).rows).median(0).values


def summarise(batches: Batches, origin: Tensor | None = None) -> Summary:
    """Return the summary of all rows of all processes about an origin, or their bulk, in one pass."""
    origin = bulk(batches) if origin is None else origin
    processes = batches.processes

    def of_own() -> Summary:
        total = Summary.empty(origin)
        for rows, weights, _ in chunks(batches, SUMMARY_ROWS):
            total = total + _summary(widen(rows), origin, weights)
        return moved(total, torch.device("cpu"))

    first, *others = processes.exchange(processes.guard(of_own))
    return moved(sum(others, first), origin.device)


def _summary(rows: Tensor, origin: Tensor, weights: Tensor | None) -> Summary:
    """Return the summary of one chunk, (c, d) float64."""
    if weights is None:
        weights = rows.new_ones(rows.shape[0])
    weight = weights.sum()
    low, high = rows.amin(0), rows.amax(0)
    rows = rows - origin
    mean = (weights @ rows) / weight
    scatter = weights @ (rows - mean).square()
    return Summary(rows.shape[0], origin, weight, mean, scatter, low, high)


@dataclass(frozen=True)
class Frame:
    """Rows x become z = (x - shift) / scale.

    The frame makes fits invariant to the offset and the units of the data: E[z^2] - E[z]^2 is safe near the
    origin, where E[x^2] - E[x]^2 is not.
    """

    shift: Tensor  # (d,)
    scale: Tensor  # (d,), equal entries for isotropic structures

    @classmethod
    def of(cls, origin: Tensor, variance: Tensor, dtype: torch.dtype, *, isotropic: bool) -> Frame:
        """Return the frame with this origin and these variances (d,).

        The origin is to be where most rows are: subtracting it loses the digits of rows much nearer to 0 than it,
        so that a mean, which a few rows far away can move anywhere, will not do. It is rounded to the data's own
        float type, so that subtracting it there is exact nearby.
        """
        if isotropic:
            variance = variance.mean().expand_as(variance)
        scale = torch.where(variance > 0, variance, 1.0).sqrt()
        return cls(origin.to(dtype).double(), scale)

    @classmethod
    def around(cls, parameters: Parameters, structure: CovarianceStructure, dtype: torch.dtype) -> Frame:
        """Return the frame of the heaviest component's mean and the mixture's variances, in the user's units."""
        weights, means = parameters.weights, parameters.means
        variances = structure.variances(parameters.covariances, means.shape[1])  # (B, d)
        mean = weights @ means
        variance = weights @ ((means - mean).square() + variances)
        return cls.of(means[weights.argmax()], variance, dtype, isotropic=structure.isotropic)

    @property
    def log_volume(self) -> Tensor:
        """The log-density in the user's units is that in the frame minus this."""
        return self.scale.log().sum()

    def variances_in(self, variances: Tensor) -> Tensor:
        """Map variances, (d,) or for isotropic structures (), from the user's units into the frame."""
        return variances / self._squares(variances)

    def variances_out(self, variances: Tensor) -> Tensor:
        """Map variances, (d,) or for isotropic structures (), from the frame into the user's units."""
        return variances * self._squares(variances)

    def _squares(self, variances: Tensor) -> Tensor:
        squares = self.scale.square()
        return squares if variances.ndim else squares[0]

    def parameters_in(self, parameters: Parameters, structure: CovarianceStructure) -> Parameters:
        """Map parameters from the user's units into the frame."""
        return Parameters(
            parameters.weights,
            (parameters.means - self.shift) / self.scale,
            structure.rescale(parameters.covariances, 1 / self.scale),
        )

    def parameters_out(self, parameters: Parameters, structure: CovarianceStructure) -> Parameters:
        """Map parameters from the frame into the user's units."""
        return Parameters(
            parameters.weights,
            self.shift + parameters.means * self.scale,
            structure.rescale(parameters.covariances, self.scale),
        )
