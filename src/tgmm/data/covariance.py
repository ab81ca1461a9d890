"""The covariance matrix of all rows, and the products that it is made of."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.data.chunk import Accumulator, Chunk, Total
from tgmm.data.data import Data
from tgmm.data.summary import Summary
from tgmm.runtime.devices import widen

ROWS = 8192


def unbiased(summary: Summary) -> Tensor:
    """Return the factor that makes a mean of squares an unbiased variance, for each feature, (d,).

    A row of weight 2 counts as two. If the weights sum to less than 2, the factor is that of 2, so it stays bounded.
    """
    return summary.present / torch.maximum(summary.present - 1, summary.present / 2)


def covariance_of(data: Data, summary: Summary) -> Tensor:
    """Return the covariance matrix of the rows, (d, d).

    If values are missing, the sum of the products of two features, over rows that have both, is divided by the
    geometric mean of the numbers of values of each. The matrix then has the variances of the observed values, and no
    negative eigenvalue.
    """
    centre = (summary.origin + summary.mean).cpu()
    scale = torch.where(summary.constant, 1.0, (summary.scatter / summary.present).sqrt()).cpu()
    products = data.fold(lambda: ProductsOf(centre, scale)).total  # (d, d)
    units = (unbiased(summary) / summary.present).sqrt().cpu() * scale
    return products * units * units[:, None]


class ProductsOf(Accumulator[Total]):
    """Gathers the weighted products of features (d, d), about a centre and in units of a scale, (d,) each.

    Values that rows lack are as if they were at the centre.
    """

    n_rows = ROWS

    def __init__(self, centre: Tensor, scale: Tensor) -> None:
        self.centre, self.scale = centre, scale
        self.total = centre.new_zeros(len(centre), len(centre))

    def add(self, chunk: Chunk) -> None:
        """Add those of a chunk."""
        rows = (widen(chunk.rows).cpu() - self.centre) / self.scale
        rows = torch.where(torch.isnan(rows), 0.0, rows)
        self.total += (rows * chunk.own_weights().cpu()[:, None]).T @ rows

    def result(self) -> Total:
        """Return the sum."""
        return Total(self.total)
