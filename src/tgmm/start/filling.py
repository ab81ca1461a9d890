"""Rows that lack values, filled in for starts, which look at whole rows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tgmm.data.chunk import Chunk
from tgmm.model.frame import Frame
from tgmm.runtime.devices import widen
from tgmm.start.sample import first_of_copies, projection

DONORS = 1024  # rows at most from which values are taken
NEAREST = 3  # of them
ROWS = 512  # that are filled in at a time: what is computed of them and the donors is to stay in a core's cache


class Gift(NamedTuple):
    """What the same donors have, so that a row takes all that it lacks of it from the same ones."""

    features: Tensor  # (f,)
    givers: Tensor | slice  # (a,) of the donors
    values: Tensor  # (a, f) that they have


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
    gifts, lacks = _gifts(donors), gaps.any(1).nonzero().flatten()
    for part in lacks.split(ROWS):
        rows[part] = _taken(rows[part], donors, gifts)
    return sample._replace(rows=torch.where(gaps, frame.rows_out(rows), given).to(sample.rows))


def _donors(rows: Tensor, gaps: Tensor) -> Tensor:
    """Return different rows (m, d) to take values from, whatever the order in which all come, those with most first."""
    known = rows.nan_to_num(nan=0.0)
    order = projection(known).argsort(stable=True)
    order = order[gaps[order].sum(1).argsort(stable=True)]
    order = order[first_of_copies(torch.cat([known, gaps.to(known)], 1)[order])]
    n_gaps = gaps[order].sum(1)
    n_full = int((n_gaps == n_gaps.amin()).sum())
    if n_full > DONORS:  # evenly along the projection, which has nothing to do with clusters
        order = order[torch.linspace(0, n_full - 1, DONORS, device=order.device).round().long()]
    return rows[order[:DONORS]]


def _gifts(donors: Tensor) -> list[Gift]:
    """Return what donors (m, d) have: one gift where they lack nothing."""
    has, which = (~torch.isnan(donors)).unique(dim=1, return_inverse=True)  # (m, g), (d,)
    gifts = []
    for i, able in enumerate(has.unbind(1)):
        if able.any():
            features = (which == i).nonzero().flatten()
            givers = slice(None) if able.all() else able.nonzero().flatten()
            gifts.append(Gift(features, givers, donors[:, features][givers]))
    return gifts


def _taken(rows: Tensor, donors: Tensor, gifts: list[Gift]) -> Tensor:
    """Return rows (c, d) with the values that they lack from the nearest donors (m, d) which have them.

    Rows with the very values of others would lie in planes, on which components collapse.
    """
    distances, gaps, rows = _distances(rows, donors), torch.isnan(rows), rows.nan_to_num(nan=0.0)  # (c, m)
    for features, givers, values in gifts:
        some = gaps[:, features].any(1).nonzero()  # (r, 1)
        if some.numel():
            near = distances[some[:, 0]][:, givers].topk(min(NEAREST, values.shape[0]), largest=False).indices
            rows[some, features] = torch.where(gaps[some, features], values[near].mean(1), rows[some, features])
    return rows


def _distances(rows: Tensor, donors: Tensor) -> Tensor:
    """Return the mean squares of the differences in the features that both have, (c, m); NaN, the last, without any."""
    (one, rows), (other, donors) = _split(rows), _split(donors)
    sums = torch.cat([rows.square(), one, -2 * rows], 1) @ torch.cat([other, donors.square(), donors], 1).T
    return sums.clamp_(min=0).div_(one @ other.T)


def _split(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 where rows have a value and 0 elsewhere, and the rows with 0 for what they lack."""
    return (~torch.isnan(rows)).to(rows), rows.nan_to_num(nan=0.0)
