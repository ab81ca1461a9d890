"""Many small problems of one kind, set up together: the rows of each in its own frame, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from tgmm.runtime.devices import moved
from tgmm.runtime.frozen import replace
from tgmm.start.sample import projection

CPU = torch.device("cpu")
HEAVY = 9.0  # kurtosis below which no few rows have nearly all of the variance


class Table(NamedTuple):
    """What one problem is given, checked."""

    rows: Tensor  # (n, d)
    weights: Tensor | None  # (n,) float64, all positive
    known: Tensor | None  # (n,) or (n, K), the responsibilities to begin with


@dataclass(frozen=True)
class Problems:
    """Problems of as many features and components, before any start; see `tgmm.em.problem` for one alone.

    Parameters
    ----------
    kernel : OwnRows
        Of the rows, each in the frame of its problem, and their weights in units of ``unit``: 0 for rows that only fill
        up.
    differs : Tensor of bool, (P,)
        Where all rows are seen to differ.
    known : Tensor of shape (P, K, n), optional
        The responsibilities to begin with.
    unit : Tensor of shape (P,)
    frame : Frame
        (P, 1, d).
    update : Update
        With the priors in the frames, and no regularisation yet.
    reg_covar : float
    n_components : int
    dtype : torch.dtype
        Of the rows as they were given; all is computed in float64.
    """

    kernel: OwnRows
    differs: Tensor
    known: Tensor | None
    unit: Tensor
    frame: Frame
    update: Update
    reg_covar: float
    n_components: int
    dtype: torch.dtype = torch.float64

    @classmethod
    def of(
        cls,
        tables: Sequence[Table],
        structure: Structure,
        n_components: int,
        priors: Priors,
        reg_covar: float,
        device: torch.device = CPU,
    ) -> tuple[Problems, Tensor]:
        """Return the problems that tables pose, without those about which there is something to say, and their places.

        All their tensors are on the device, which has float64.

        Left out are those with a value that is not finite, or variances out of range, with features that are constant,
        or with so few different rows that variances rest on `reg_covar`.
        """
        rows, weights, known = _side_by_side(tables, n_components)
        weights, known = weights.to(device), None if known is None else known.to(device)
        features = OwnRows.begun(rows, structure.moment, device)
        n_features = rows.shape[2]
        z = features[:, 1 : 1 + n_features]  # (P, d, n)
        has_weights, dtype = tables[0].weights is not None, tables[0].rows.dtype
        weight, count = weights.sum(1), (weights > 0).sum(1)
        unit = weight / count if priors == Priors() and has_weights else torch.ones_like(weight)
        kept = torch.isfinite(z.sum((1, 2))) & (weight < LARGEST_WEIGHT)
        weights = weights / unit[:, None]
        bulk = Bulk.of(z, weights, count, has_weights=has_weights)
        z.sub_(bulk.median)
        if count.amin() < z.shape[2]:
            z.masked_fill_((weights == 0)[:, None], 0)
        variance, frame_variance = _variances(z, weights, dtype)
        frame = Frame.of(bulk.median.mT, frame_variance.mT, dtype, one_scale=structure.one_scale)
        limits = torch.finfo(dtype)
        kept &= ~bulk.is_constant & ((variance < limits.max) & (variance >= limits.tiny)).all(1)
        z.div_(frame.scale.mT)
        kernel = OwnRows.of(features, weights, n_features, structure.moment)
        update = Update(structure, moved(priors, z.device).in_frame(frame))
        problems = cls(kernel, bulk.differs, known, unit, frame, update, reg_covar, n_components, dtype).of_some(kept)
        places = kept.nonzero().flatten()
        enough = problems.n_distinct > max(n_components, n_features)
        return (problems, places) if enough.all() else (problems.of_some(enough), places[enough])

    def __len__(self) -> int:
        """Return how many there are."""
        return self.weights.shape[0]

    def of_some(self, index: Tensor) -> Problems:
        """Return some of the problems."""
        if index.dtype == torch.bool and index.all():
            return self
        some = replace(
            self,
            kernel=self.kernel.of_some(index),
            differs=self.differs[index],
            known=None if self.known is None else self.known[index],
            unit=self.unit[index],
            frame=self.frame.of_some(index),
            update=self.update.of_some(index),
        )
        if "start_rows" in vars(self):
            rows, weights = self.start_rows
            vars(some)["start_rows"] = (rows[index], weights[index])
        if "n_distinct" in vars(self):
            vars(some)["n_distinct"] = self.n_distinct[index]
        return some

    @property
    def rows(self) -> Tensor:
        """The rows, (P, n, d), each in the frame of its problem; 0 where they only fill up."""
        return self.kernel.rows

    @property
    def weights(self) -> Tensor:
        """The weights of the rows, (P, n)."""
        return self.kernel.weights

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
    def start_rows(self) -> tuple[Tensor, Tensor]:
        """The different rows of each problem, (P, n, d), and their weights, (P, n), 0 where there are no more."""
        position = torch.where(self.weights > 0, projection(self.rows), torch.inf)
        # NumPy is several times as fast as torch, on the CPU.
        order = torch.from_numpy(position.numpy().argsort(1)) if position.is_cpu else position.argsort(1)
        rows, weights = _in_order(self.rows, order).to(self.dtype).double(), self.weights.gather(1, order)
        if self.differs.all():
            return rows, weights
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
        weights = self.weights if self.differs.all() else self.start_rows[1]
        return (weights > 0).sum(1)


class Bulk(NamedTuple):
    """Where most rows of each problem are, and what is seen there."""

    median: Tensor  # of each feature, (P, d, 1)
    is_constant: Tensor  # (P,), whether any feature is
    differs: Tensor  # (P,), whether the values of any feature all differ

    @classmethod
    def of(cls, z: Tensor, weights: Tensor, count: Tensor, *, has_weights: bool) -> Bulk:
        """Return that of the features of rows, (P, d, n), of which so many, (P,), do not only fill up."""
        filled = z if count.amin() == z.shape[2] else torch.where((weights > 0)[:, None], z, torch.inf)
        if has_weights:
            values, order = filled.sort(2)
            below = weights[:, None].expand_as(z).gather(2, order).cumsum(2)
            place = (2 * below < below[..., -1:] * (1 - HALF)).sum(2, keepdim=True)  # (P, d, 1)
        else:
            values = torch.from_numpy(np.sort(filled.numpy(), axis=2)) if filled.is_cpu else filled.sort(2).values
            place = ((count - 1) // 2)[:, None, None].expand(-1, z.shape[1], 1)
        last = (count - 1)[:, None, None].expand_as(place)
        is_constant = (values[..., :1] == values.gather(2, last)).any(1)[:, 0]
        repeated = values[..., 1:] == values[..., :-1]
        if filled is not z:
            repeated &= values[..., 1:] < torch.inf
        return cls(values.gather(2, place), is_constant, ~repeated.any(2).all(1))


def _side_by_side(tables: Sequence[Table], n_components: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return rows (P, n, d), weights (P, n) and responsibilities (P, K, n) of tables, filled up with 0."""
    sizes = [table.rows.shape[0] for table in tables]
    n_rows = max(sizes)
    if min(sizes) == n_rows:
        rows = torch.stack([table.rows for table in tables])
    else:
        rows = torch.nn.utils.rnn.pad_sequence([table.rows for table in tables], batch_first=True)
    weights = (torch.arange(n_rows, device=CPU) < torch.tensor(sizes, device=CPU)[:, None]).double()
    if tables[0].weights is not None:
        for own, table in zip(weights, tables, strict=True):
            assert table.weights is not None
            own[: len(table.weights)] = table.weights
    if tables[0].known is None:
        return rows, weights, None
    known = weights.new_zeros(len(tables), n_components, n_rows)
    for shares, table in zip(known, tables, strict=True):
        given = table.known
        assert given is not None
        if given.ndim == 1:
            shares[:, : len(given)].scatter_(0, given[None].to(CPU), 1.0)
        else:
            shares[:, : len(given)] = given.T
    return rows, weights, known


def _variances(gaps: Tensor, weights: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the variances of features (P, d, n), and `tgmm.data.summary.frame_variance` of these, (P, d, 1) both.

    Gaps are those to the median, which is within one standard deviation of the mean: so their mean square is at most
    twice the variance, and what is left of it loses no digits. The variance of the frame is less only where a tenth of
    the rows have nearly all of that, which makes the kurtosis 10.
    """
    total, squares = weights.sum(1)[:, None, None], gaps.square()
    mean, second = (values @ weights[..., None] / total for values in (gaps, squares))
    fourth = squares.square_() @ weights[..., None] / total
    variance = (second - mean.square())[..., 0]  # (P, d)
    heavy = (fourth > HEAVY * second.square()).any(1)[:, 0]
    if not heavy.any():
        return variance, variance[..., None]
    some = gaps[heavy]
    usual, farthest = bulk_variance(some.mT, weights[heavy]), some.abs().amax(2)
    limit = limited(variance[heavy], usual, farthest, dtype)
    return variance, variance.index_put((heavy,), limit)[..., None]


def _in_order(rows: Tensor, order: Tensor) -> Tensor:
    """Return the rows (P, n, d) of each problem in an order (P, n)."""
    return rows.mT.gather(2, order[:, None].expand_as(rows.mT)).mT
