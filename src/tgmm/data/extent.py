"""The extent of data: the volumes of boxes around it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tgmm.data.chunk import Accumulator, Chunk
from tgmm.data.covariance import ProductsOf
from tgmm.data.data import Data
from tgmm.data.summary import DEPENDENT, Summary
from tgmm.runtime.devices import widen

ROWS = 8192


def log_hypervolume(data: Data, summary: Summary) -> float:
    """Return the log-volume of the smaller of two boxes around the rows: along the axes, or along the principal axes.

    Rows that lack values have but the first. It is that of mclust's ``hypvol`` (Fraley & Raftery 2002, J. American
    Statistical Association 97). Where a feature is a linear function of others the second has no volume, and does not
    count.
    """
    along_axes = float((summary.maximum - summary.minimum).log().sum())
    if summary.n_gaps or data.n_features == 1:
        return along_axes
    centre = (summary.origin + summary.mean).cpu()
    scale = (summary.scatter / summary.present).sqrt().cpu()  # so that sums do not overflow
    products = data.fold(lambda: ProductsOf(centre, scale)).total  # (d, d)
    size = products.diagonal().sqrt()
    if torch.linalg.eigvalsh(products / size / size[:, None])[0] <= DEPENDENT:
        return along_axes
    axes = torch.linalg.eigh(products * scale * scale[:, None])[1]
    extent = data.fold(lambda: ExtentOf(centre, axes))
    return min(along_axes, float((extent.high - extent.low).log().sum()))


@dataclass(frozen=True)
class Extent:
    """The least and the greatest coordinates of rows, (d,) each."""

    low: Tensor
    high: Tensor

    def __add__(self, other: Extent) -> Extent:
        """Return the extent of both."""
        return Extent(torch.minimum(self.low, other.low), torch.maximum(self.high, other.high))


class ExtentOf(Accumulator[Extent]):
    """Gathers the extent of rows along axes, the columns of (d, d), about a centre."""

    n_rows = ROWS

    def __init__(self, centre: Tensor, axes: Tensor) -> None:
        self.centre, self.axes = centre, axes
        nothing = torch.full_like(centre, torch.inf)
        self.extent = Extent(nothing, -nothing)

    def add(self, chunk: Chunk) -> None:
        """Take in a chunk."""
        if not chunk.rows.shape[0]:  # of a process without rows
            return
        rows = (widen(chunk.rows).cpu() - self.centre) @ self.axes
        self.extent += Extent(rows.amin(0), rows.amax(0))

    def result(self) -> Extent:
        """Return the extent of all rows."""
        return self.extent
