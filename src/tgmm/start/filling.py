"""Rows that lack values, filled in for starts, which look at whole rows."""

from __future__ import annotations

import torch
from torch import Tensor

from tgmm.data.chunk import Chunk
from tgmm.model.frame import Frame
from tgmm.runtime.devices import widen
from tgmm.start.sample import projection

DONORS = 1024  # rows at most from which values are taken
NEAREST = 3  # of them
ROWS = 1024  # that are filled in at a time


def filled(sample: Chunk, frame: Frame) -> Chunk:
    """Return a sample of rows in which each missing value is the mean of that of the nearest rows which have it.

    Clusters stay apart so, which means of all rows would put together. Where no row has the value, it is that at the
    frame's origin. It is a start only: EM sees the rows as they are. Each is to have some value.
    """
    given = widen(sample.rows)
    gaps = torch.isnan(given)
    if not gaps.any():
        return sample
    rows = frame.rows_in(given)  # (m, d)
    donors = _donors(rows, gaps)
    lacks = gaps.any(1).nonzero().flatten()
    for part in lacks.split(ROWS):
        rows[part] = _taken(rows[part], donors)
    return sample._replace(rows=torch.where(gaps, frame.rows_out(rows), given).to(sample.rows))


def _donors(rows: Tensor, gaps: Tensor) -> Tensor:
    """Return rows (m, d) to take values from, whatever the order in which all come: those with most values first."""
    order = projection(rows.nan_to_num(nan=0.0)).argsort(stable=True)
    order = order[gaps[order].sum(1).argsort(stable=True)]
    n_gaps = gaps.sum(1)
    n_full = int((n_gaps == n_gaps.amin()).sum())
    if n_full > DONORS:  # evenly along the projection, which has nothing to do with clusters
        order = order[torch.linspace(0, n_full - 1, DONORS, device=order.device).round().long()]
    return rows[order[:DONORS]]


def _taken(rows: Tensor, donors: Tensor) -> Tensor:
    """Return rows (c, d) with the values that they lack from the nearest donors (m, d) which have them.

    Rows with the very values of others would lie in planes, on which components collapse.
    """
    distances, rows = _distances(rows, donors), rows.clone()  # (c, m)
    for j in range(rows.shape[1]):
        some, able = torch.isnan(rows[:, j]).nonzero().flatten(), (~torch.isnan(donors[:, j])).nonzero().flatten()
        if some.numel() and able.numel():
            near = distances[some][:, able].topk(min(NEAREST, able.numel()), largest=False).indices
            rows[some, j] = donors[able, j][near].mean(1)
    return rows.nan_to_num(nan=0.0)


def _distances(rows: Tensor, donors: Tensor) -> Tensor:
    """Return the mean squares of the differences in the features that both have, (c, m); infinite without any."""
    one, other = (~torch.isnan(rows)).to(rows), (~torch.isnan(donors)).to(rows)
    rows, donors = rows.nan_to_num(nan=0.0), donors.nan_to_num(nan=0.0)
    sums = rows.square() @ other.T + one @ donors.square().T - 2 * rows @ donors.T
    counts = one @ other.T
    return torch.where(counts > 0, sums.clamp(min=0) / counts.clamp(min=1), torch.inf)
