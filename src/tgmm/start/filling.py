"""Rows that lack values, filled in for starts, which look at whole rows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tgmm.data.chunk import Chunk
from tgmm.model.frame import Frame
from tgmm.runtime.devices import widen
from tgmm.start.sample import projection

DONORS = 1024  # rows at most from which values are taken


def filled(sample: Chunk, frame: Frame) -> Chunk:
    """Return a sample of rows in which each missing value is that of the nearest row which has it.

    Near is meant in the features that both rows have, in units of the frame: clusters stay apart, which means of all
    rows would put together. Where no such row has the value, it is that at the frame's origin. It is a start only:
    EM sees the rows as they are.
    """
    from sklearn.impute import KNNImputer

    gaps = torch.isnan(sample.rows)
    if gaps.all(1).any():  # rows without any value tell nothing
        sample, gaps = sample.part(~gaps.all(1)), gaps[~gaps.all(1)]
    if not gaps.any():
        return sample
    rows = frame.rows_in(widen(sample.rows))  # (m, d)
    imputer = KNNImputer(n_neighbors=1, keep_empty_features=True).fit(_donors(rows, gaps).cpu().numpy())
    found = np.empty(rows.shape)
    lacks = gaps.any(1).cpu().numpy()
    found[~lacks] = rows.cpu().numpy()[~lacks]
    found[lacks] = imputer.transform(rows.cpu().numpy()[lacks])
    whole = frame.rows_out(torch.from_numpy(found).to(rows.device).nan_to_num(nan=0.0))
    return sample._replace(rows=torch.where(gaps, whole.to(sample.rows.dtype), sample.rows))


def _donors(rows: Tensor, gaps: Tensor) -> Tensor:
    """Return rows (m, d) to take values from, whatever the order in which all come: those with most values first."""
    place = projection(rows.nan_to_num(nan=0.0))
    order = place.argsort(stable=True)
    fullest = gaps[order].sum(1).argsort(stable=True)
    order = order[fullest]
    n_full = int((gaps.sum(1) == gaps.sum(1).amin()).sum())
    if n_full > DONORS:  # evenly along the projection, which has nothing to do with clusters
        order = order[torch.linspace(0, n_full - 1, DONORS, device=order.device).round().long()]
    return rows[order[:DONORS]]
