"""The first moments and the range of each feature, the location of the bulk of the rows, and whether rows differ."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.data.chunk import Accumulator, Chunk
from tgmm.runtime.devices import moved, widen
from tgmm.runtime.frozen import replace

SUMMARY_ROWS = 8192
HALF = 1e-9  # what rounding can do to a sum of weights that is half of all
DEPENDENT = 5e-11  # of its variance, at most, is left of a feature that is a linear function of others
TENTH, ENOUGH_BEYOND = 0.1, 0.25  # of a standard deviation, and of the rows
BULK, WIDEST = 0.9, 30.0  # share of the rows that the bulk is, and how many times its width the unit of a frame can be


@dataclass(frozen=True)
class Summary:
    """Weighted moments and the range of each feature about an origin, in float64."""

    n_rows: int
    n_gaps: int  # how many values rows lack
    origin: Tensor  # (d,) where the bulk of the data is; a value of each feature
    weight: Tensor  # () sum of the sample weights
    present: Tensor  # (d,) the same of the rows that have a value
    mean: Tensor  # (d,) of rows minus origin
    scatter: Tensor  # (d,) weighted sum of squared deviations from the mean
    minimum: Tensor  # (d,)
    maximum: Tensor  # (d,)

    @classmethod
    def empty(cls, origin: Tensor) -> Summary:
        """Return the summary of no rows."""
        zero = torch.zeros_like(origin)
        return cls(0, 0, origin, zero.sum(), zero, zero, zero, zero + torch.inf, zero - torch.inf)

    @classmethod
    def of(cls, rows: Tensor, weights: Tensor, origin: Tensor) -> Summary:
        """Return the summary of rows (c, d) in float64 with weights (c,). NaN is a missing value."""
        weight = weights.sum()
        gaps = torch.isnan(rows)
        if gaps.any():
            return cls._of_some(rows, weights, origin, gaps)
        low, high = rows.amin(0), rows.amax(0)
        rows = rows - origin
        mean = (weights @ rows) / weight
        scatter = weights @ (rows - mean).square()
        return cls(rows.shape[0], 0, origin, weight, weight.expand_as(mean), mean, scatter, low, high)

    @classmethod
    def _of_some(cls, rows: Tensor, weights: Tensor, origin: Tensor, gaps: Tensor) -> Summary:
        """Return the summary of rows with gaps (c, d)."""
        own = weights[:, None] * ~gaps  # (c, d)
        present = own.sum(0)
        low = torch.where(gaps, torch.inf, rows).amin(0)
        high = torch.where(gaps, -torch.inf, rows).amax(0)
        rows = torch.where(gaps, 0.0, rows - origin)
        mean = (own * rows).sum(0) / torch.where(present > 0, present, 1.0)
        scatter = (own * (rows - mean).square()).sum(0)
        return cls(rows.shape[0], int(gaps.sum()), origin, weights.sum(), present, mean, scatter, low, high)

    def __add__(self, other: Summary) -> Summary:
        """Merge two summaries about the same origin (Chan, Golub & LeVeque 1983, The American Statistician 37)."""
        present = self.present + other.present
        share = torch.where(present > 0, other.present / present, 0.0)
        step = other.mean - self.mean
        return Summary(
            self.n_rows + other.n_rows,
            self.n_gaps + other.n_gaps,
            self.origin,
            self.weight + other.weight,
            present,
            self.mean + share * step,
            self.scatter + other.scatter + self.present * share * step.square(),
            torch.minimum(self.minimum, other.minimum),
            torch.maximum(self.maximum, other.maximum),
        )

    def about(self, origin: Tensor) -> Summary:
        """Return the summary about another origin (d,)."""
        return replace(self, origin=origin, mean=self.mean + (self.origin - origin))

    def in_unit(self, unit: float) -> Summary:
        """Return the summary of the same rows with weights divided by unit."""
        weights = {name: getattr(self, name) / unit for name in ("weight", "present", "scatter")}
        return replace(self, **weights)

    @property
    def constant(self) -> Tensor:
        """Which features have only one value, (d,)."""
        return self.minimum == self.maximum

    @property
    def variance(self) -> Tensor:
        """The variances, exactly 0 for constant features, (d,)."""
        return torch.where(self.constant, 0.0, self.scatter / self.present)


class SummaryOf(Accumulator[Summary]):
    """Gathers the summary of rows about an origin (d,)."""

    n_rows = SUMMARY_ROWS

    def __init__(self, origin: Tensor) -> None:
        self.origin = origin
        self.total: Summary | None = None  # of the rows so far

    def add(self, chunk: Chunk) -> None:
        """Add a chunk's summary."""
        rows = widen(chunk.rows).to(self.origin.device)
        found = Summary.of(rows, chunk.own_weights().to(rows.device), self.origin)
        self.total = found if self.total is None else self.total + found

    def result(self) -> Summary:
        """Return the summary, on the CPU."""
        total = Summary.empty(self.origin) if self.total is None else self.total
        return moved(total, torch.device("cpu"))


def bulk(rows: Tensor, weights: Tensor | None) -> Tensor:
    """Return the location of the bulk of rows (m, d) of weights (m,): the median of each feature, (d,) in float64.

    A row of weight 2 counts as two. Missing values do not count.
    """
    rows = widen(rows)
    gaps = torch.isnan(rows)
    if weights is None and not gaps.any():
        return rows.median(0).values
    values, order = rows.sort(0)  # NaN comes last
    weights = torch.ones_like(values[:, 0]) if weights is None else weights.to(rows.device)
    below = torch.where(gaps.gather(0, order), 0.0, weights[order]).cumsum(0)  # (m, d)
    place = (2 * below < below[-1] * (1 - HALF)).sum(0, keepdim=True)
    return values.gather(0, place)[0].nan_to_num(nan=0.0)


def frame_variance(summary: Summary, sample: Chunk, dtype: torch.dtype) -> Tensor:
    """Return the variances whose roots are the units of a frame, (d,): those of all rows, limited if some are far away.

    A few rows can be so far away that the others have almost no variance in units of the whole, and starts would not
    see their clusters. The unit is therefore at most 30 times the width of the bulk, estimated from a sample.
    """
    origin, variance = summary.origin, summary.variance
    gaps, weights = widen(sample.rows).to(origin.device) - origin, sample.own_weights().to(origin.device)
    if (_share_beyond(gaps, variance, weights) >= ENOUGH_BEYOND).all():
        return variance
    usual = bulk_variance(gaps, weights)
    farthest = torch.maximum(summary.maximum - origin, origin - summary.minimum)
    return limited(variance, usual, farthest, dtype)


def _share_beyond(gaps: Tensor, variance: Tensor, weights: Tensor) -> Tensor:
    """Return the share of rows, by weight, that are farther than a tenth of a standard deviation, (d,).

    Where it is a quarter, most of these are in the bulk: at least 0.15 of 0.9 of the rows, so that 30 squared times
    the mean square there is more than the variance.
    """
    return weights @ (gaps.square() > TENTH**2 * variance).to(weights) / weights.sum()


def limited(variance: Tensor, usual: Tensor, farthest: Tensor, dtype: torch.dtype) -> Tensor:
    """Return variances, limited relative to those of the bulk where these are not 0. All are (..., d).

    The squares of the farthest rows, in units of the roots, then stay within the float type.
    """
    least = (farthest / torch.finfo(dtype).max ** (1 / 3)).square()
    return torch.where(usual > 0, torch.minimum(variance, (WIDEST**2 * usual).clamp(min=least)), variance)


def bulk_variance(gaps: Tensor, weights: Tensor) -> Tensor:
    """Return the mean squares of the smallest nine tenths of gaps (..., m, d) that are not 0, (..., d).

    Gaps are the distances of rows from the location of their bulk, NaN for missing values. Weights are (..., m).
    """
    squares, order = gaps.square().nan_to_num(nan=0.0, posinf=torch.inf).sort(-2)
    own = torch.where(squares > 0, weights[..., None].expand_as(squares).gather(-2, order), 0.0)
    below = own.cumsum(-2)
    own = torch.minimum(own, BULK * below[..., -1:, :] - (below - own)).clamp(min=0)
    total = torch.where(own > 0, own * squares, 0.0).sum(-2)
    return total / own.sum(-2).clamp(min=torch.finfo(own.dtype).tiny)


class DistinctRows(Accumulator["Distinct"]):
    """Collects different rows until there are enough."""

    def __init__(self, n_features: int, dtype: torch.dtype, enough: int) -> None:
        self.n_rows, self.enough = 4 * enough + 64, enough
        self.rows = torch.empty(0, n_features, dtype=dtype)

    def add(self, chunk: Chunk) -> None:
        """Add the rows that are new."""
        self.rows = torch.cat([self.rows, chunk.rows.cpu()]).unique(dim=0)

    def is_full(self) -> bool:
        """Whether there are enough."""
        return self.rows.shape[0] >= self.enough

    def result(self) -> Distinct:
        """Return the rows, on the CPU."""
        return Distinct(self.rows[: self.enough])


@dataclass(frozen=True)
class Distinct:
    """Different rows, (m, d)."""

    rows: Tensor

    def __add__(self, other: Distinct) -> Distinct:
        """Return the different rows of both."""
        return Distinct(torch.cat([self.rows, other.rows]).unique(dim=0))
