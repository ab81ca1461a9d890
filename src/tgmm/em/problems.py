"""Many small problems of one kind, set up together: the rows of each in its own frame, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tgmm.covariance import Structure
from tgmm.data.summary import HALF, bulk_variance, limited
from tgmm.em.problem import LARGEST_WEIGHT
from tgmm.kernels.own_rows import OwnRows
from tgmm.model.frame import Frame
from tgmm.model.priors import Priors
from tgmm.model.regularisation import Regularisation
from tgmm.model.update import Update
from tgmm.start.sample import projection

HEAVY = 9.0  # kurtosis below which no few rows have nearly all of the variance


class Table(NamedTuple):
    """What one problem is given, checked."""

    rows: Tensor  # (n, d) float64, on the CPU
    weights: Tensor | None  # (n,) float64, all positive
    known: Tensor | None  # (n,) or (n, K), the responsibilities to begin with


@dataclass(frozen=True)
class Problems:
    """Problems of as many features and components, before any start; see `tgmm.em.problem` for one alone.

    Parameters
    ----------
    rows : Tensor of shape (P, n, d)
        Each in the frame of its problem; 0 where they only fill up.
    weights : Tensor of shape (P, n)
        In units of ``unit``, 0 for rows that only fill up.
    known : Tensor of shape (P, K, n), optional
        The responsibilities to begin with.
    unit : Tensor of shape (P,)
    frame : Frame
        (P, 1, d).
    update : Update
        With the priors in the frames, and no regularisation yet.
    reg_covar : float
    n_components : int
    """

    rows: Tensor
    weights: Tensor
    known: Tensor | None
    unit: Tensor
    frame: Frame
    update: Update
    reg_covar: float
    n_components: int

    @classmethod
    def of(
        cls, tables: Sequence[Table], structure: Structure, n_components: int, priors: Priors, reg_covar: float
    ) -> tuple[Problems, Tensor]:
        """Return the problems that tables pose, without those about which there is something to say, and their places.

        Left out are those with a value that is not finite, or variances out of range, with features that are constant,
        or with so few different rows that variances rest on `reg_covar`.
        """
        rows, weights, known = _side_by_side(tables, n_components)
        weight, count = weights.sum(1), (weights > 0).sum(1)
        unit = weight / count if priors == Priors() and tables[0].weights is not None else torch.ones_like(weight)
        kept = torch.isfinite(rows.sum((1, 2))) & (weight < LARGEST_WEIGHT)
        weights, total = weights / unit[:, None], weight / unit
        filled = rows if (weights > 0).all() else torch.where((weights > 0)[..., None], rows, torch.inf)
        origin, is_constant = _bulk(filled, weights, count, has_weights=tables[0].weights is not None)
        gaps = rows - origin if filled is rows else torch.where(filled < torch.inf, rows - origin, 0.0)
        mean = weights[:, None] @ gaps / total[:, None, None]  # (P, 1, d)
        variance = weights[:, None] @ (gaps - mean).square() / total[:, None, None]
        frame = Frame.of(origin, _frame_variance(variance, gaps, weights), torch.float64, one_scale=structure.one_scale)
        kept &= ~is_constant & (torch.isfinite(variance) & (variance >= torch.finfo(torch.float64).tiny)).all(2)[:, 0]
        rows = gaps / frame.scale
        update = Update(structure, priors.in_frame(frame))
        problems = cls(rows, weights, known, unit, frame, update, reg_covar, n_components).of_some(kept)
        places = kept.nonzero().flatten()
        enough = problems.n_distinct > max(n_components, rows.shape[2])
        return (problems, places) if enough.all() else (problems.of_some(enough), places[enough])

    def __len__(self) -> int:
        """Return how many there are."""
        return self.rows.shape[0]

    def of_some(self, index: Tensor) -> Problems:
        """Return some of the problems."""
        if index.dtype == torch.bool and index.all():
            return self
        some = replace(
            self,
            rows=self.rows[index],
            weights=self.weights[index],
            known=None if self.known is None else self.known[index],
            unit=self.unit[index],
            frame=Frame(self.frame.shift[index], self.frame.scale[index]),
            update=self.update.of_some(index),
        )
        if "start_rows" in vars(self):
            rows, weights = self.start_rows
            vars(some)["start_rows"] = (rows[index], weights[index])
        if "n_distinct" in vars(self):
            vars(some)["n_distinct"] = self.n_distinct[index]
        return some

    @property
    def structure(self) -> Structure:
        """The covariance structure."""
        return self.update.structure

    @property
    def regularisation(self) -> Regularisation:
        """What is added to variances; no feature is constant."""
        nowhere = torch.zeros_like(self.frame.scale[:, 0], dtype=torch.bool)
        return Regularisation(self.reg_covar, self.structure.one_scale, nowhere)

    @cached_property
    def kernel(self) -> OwnRows:
        """The kernel of the rows."""
        return OwnRows.of(self.rows, self.weights, self.structure.moment)

    @cached_property
    def start_rows(self) -> tuple[Tensor, Tensor]:
        """The different rows of each problem, (P, n, d), and their weights, (P, n), 0 where there are no more."""
        position = torch.where(self.weights > 0, projection(self.rows), torch.inf)
        order = torch.from_numpy(position.numpy().argsort(1))  # several times as fast as torch's
        rows, weights = _in_order(self.rows, order), self.weights.gather(1, order)
        repeats = torch.zeros_like(weights, dtype=torch.bool)
        repeats[:, 1:] = (rows[:, 1:] == rows[:, :-1]).all(2) & (weights[:, 1:] > 0)
        if not repeats.any():
            return rows, weights
        group = (~repeats).cumsum(1) - 1  # (P, n)
        weights = torch.zeros_like(weights).scatter_add_(1, group, weights)
        return _in_order(rows, repeats.to(torch.uint8).argsort(dim=1, stable=True)), weights

    @cached_property
    def n_distinct(self) -> Tensor:
        """How many different rows each has, (P,)."""
        real = self.weights > 0
        features = self.kernel.features[1 : 1 + self.rows.shape[2]]  # (d, P, n), along which sums are quick
        position = projection(features.permute(1, 2, 0))
        position = np.sort((position if real.all() else torch.where(real, position, torch.inf)).numpy(), axis=1)
        if ((position[:, 1:] == position[:, :-1]) & (position[:, 1:] < np.inf)).any():
            return (self.start_rows[1] > 0).sum(1)
        return real.sum(1)


def _side_by_side(tables: Sequence[Table], n_components: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return rows (P, n, d), weights (P, n) and responsibilities (P, K, n) of tables, filled up with 0."""
    sizes = [table.rows.shape[0] for table in tables]
    n_rows = max(sizes)
    if min(sizes) == n_rows:
        rows = torch.stack([table.rows for table in tables])
    else:
        rows = torch.nn.utils.rnn.pad_sequence([table.rows for table in tables], batch_first=True)
    weights = (torch.arange(n_rows) < torch.tensor(sizes)[:, None]).double()
    if tables[0].weights is not None:
        for own, table in zip(weights, tables, strict=True):
            assert table.weights is not None
            own[: len(table.weights)] = table.weights
    if tables[0].known is None:
        return rows, weights, None
    known = rows.new_zeros(len(tables), n_components, n_rows)
    for shares, table in zip(known, tables, strict=True):
        given = table.known
        assert given is not None
        if given.ndim == 1:
            shares[:, : len(given)].scatter_(0, given[None], 1.0)
        else:
            shares[:, : len(given)] = given.T
    return rows, weights, known


def _bulk(rows: Tensor, weights: Tensor, count: Tensor, *, has_weights: bool) -> tuple[Tensor, Tensor]:
    """Return the medians of the features of rows, (P, 1, d), and where any is constant, (P,).

    Rows that only fill up are infinite.
    """
    if has_weights:
        values, order = rows.sort(1)
        below = weights[..., None].expand_as(rows).gather(1, order).cumsum(1)
        place = (2 * below < below[:, -1:] * (1 - HALF)).sum(1, keepdim=True)  # (P, 1, d)
    else:
        values = torch.from_numpy(np.sort(rows.numpy(), axis=1))  # several times as fast as torch's
        place = ((count - 1) // 2)[:, None, None].expand(-1, 1, rows.shape[2])
    last = (count - 1)[:, None, None].expand_as(place)
    return values.gather(1, place), (values[:, :1] == values.gather(1, last)).any(2)[:, 0]


def _frame_variance(variance: Tensor, gaps: Tensor, weights: Tensor) -> Tensor:
    """Return `tgmm.data.summary.frame_variance` of each problem, (P, 1, d), from gaps (P, n, d) to where the bulk is.

    It is less than the variance of all rows only where a tenth of them have nearly all of that, which makes the
    kurtosis 10.
    """
    squares = gaps.square()
    second, fourth = weights[:, None] @ squares, weights[:, None] @ squares.square()  # (P, 1, d)
    heavy = (fourth * weights.sum(1)[:, None, None] > HEAVY * second.square()).any(2)[:, 0]
    if not heavy.any():
        return variance
    some = gaps[heavy]
    usual = bulk_variance(some, weights[heavy])[:, None]
    farthest = some.abs().amax(1, keepdim=True)
    return variance.index_put((heavy,), limited(variance[heavy], usual, farthest, torch.float64))


def _in_order(rows: Tensor, order: Tensor) -> Tensor:
    """Return the rows (P, n, d) of each problem in an order (P, n)."""
    return rows.gather(1, order[..., None].expand_as(rows))
