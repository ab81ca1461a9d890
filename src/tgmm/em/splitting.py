"""Splits of components in two, each refined within the rows of its component alone: those of many searches at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from tgmm.em.abreast import Request, side_by_side
from tgmm.kernels.assignment import soft
from tgmm.kernels.batched import Batched
from tgmm.kernels.own_rows import OwnRows
from tgmm.model.parameters import Parameters
from tgmm.model.statistics import Statistics
from tgmm.model.update import Update
from tgmm.runtime.frozen import replace
from tgmm.runtime.parts import parts

STEPS = 6  # EM steps of a split among the rows of its component
SHARE = 1e-6  # of all rows, that components have at least
LARGE = 4  # times d + 1 rows, from which on a component is split


@dataclass(frozen=True)
class Parts:
    """Sums over the rows of components, from which mixtures can be put together."""

    mass: Tensor  # (...)
    first: Tensor  # (..., d)
    second: Tensor  # (..., q)

    @classmethod
    def of(cls, statistics: Statistics) -> Parts:
        """Return the components of mixtures, (R, K)."""
        return cls(statistics.mass, statistics.first, statistics.second)

    @classmethod
    def joined(cls, several: Sequence[Parts], dim: int = 0) -> Parts:
        """Return the components of several."""
        return cls(*(torch.cat([getattr(each, field.name) for each in several], dim) for field in fields(cls)))

    def __getitem__(self, index: Any) -> Parts:
        """Return some of the components."""
        return Parts(*(getattr(self, field.name)[index] for field in fields(self)))

    def __add__(self, other: Parts) -> Parts:
        """Return components that are one of these and one of those."""
        return Parts(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    def apart(self) -> Parts:
        """Return each of components (...) as those of a mixture of its own, (..., 1)."""
        return Parts(self.mass[..., None], self.first[..., None, :], self.second[..., None, :])

    def flattened(self, n_dimensions: int) -> Parts:
        """Return the components with the first so many dimensions as one."""
        return Parts(*(getattr(self, field.name).flatten(0, n_dimensions - 1) for field in fields(self)))

    def unflattened(self, size: int) -> Parts:
        """Return the components with the first dimension as two, of which the second has this size."""
        return Parts(*(getattr(self, field.name).unflatten(0, (-1, size)) for field in fields(self)))

    def statistics(self, weight: Tensor) -> Statistics:
        """Return the statistics of mixtures of components (R, K)."""
        nothing = self.mass.new_zeros(self.mass.shape[0])
        centre = self.first.new_zeros(1, self.first.shape[-1])
        return Statistics(self.mass, self.first, self.second, nothing, nothing, weight, centre)


@dataclass(frozen=True)
class Local:
    """Mixtures of components that each have their own covariance, among some rows or each among its own.

    Parameters
    ----------
    kernel : Batched or OwnRows
    update : Update
    floor : Parts
        A tiny share of all rows, which keeps components from being singular, (1 or P, 1).
    """

    kernel: Batched | OwnRows
    update: Update
    floor: Parts

    @classmethod
    def of(cls, kernel: Batched | OwnRows, update: Update) -> Local:
        """Return the mixtures among the rows of a kernel."""
        weights = kernel.weights if kernel.weights.ndim == 2 else kernel.weights[None]
        return cls(kernel, update, Parts.of(kernel.of_shares(torch.full_like(weights, SHARE)[:, None])))

    def of_some(self, index: Tensor) -> Local:
        """Return those among the rows of some of the mixtures."""
        if isinstance(self.kernel, Batched):
            return self
        return replace(self, kernel=self.kernel.of_some(index), floor=self.floor[index])

    def mixtures(self, components: Parts) -> Parameters:
        """Return mixtures of components (..., K)."""
        return self.update((components + self.floor).statistics(self.kernel.weight))

    def sums(self, shares: Tensor) -> Parts:
        """Return the components that have shares of the rows, (k, K, m), or (K, m) of one mixture."""
        if shares.ndim == 2:
            return self.sums(shares[None])[0]
        return Parts.of(self.kernel.of_shares(shares))

    def total(self, values: Tensor) -> Tensor:
        """Return the weighted sums of values of rows (P, m), (P,)."""
        return (values * self.kernel.weights).sum(-1)


class Divided(NamedTuple):
    """Components, and splits of some of them."""

    whole: Parts  # (K,)
    component: Tensor  # (C,), which of them each split is of
    halves: Parts  # (C, 2)
    gain: Tensor  # (C,), of the likelihood of the component's own rows, by its split


@dataclass(frozen=True, eq=False)
class Splits(Request):
    """The splits of the components of one run.

    Parameters
    ----------
    local : Local
        Among the rows of the batch.
    rows_per_weight : float
        How many different rows a unit of weight is.
    """

    local: Local
    rows_per_weight: float

    @property
    def kind(self) -> Any:
        """The request itself where the features of its rows are not kept."""
        return None if self.local.kernel.features is not None else id(self)

    def answers(self, requests: Sequence[Splits]) -> list[Divided]:
        """Return the splits of each."""
        shares = [request.shares() for request in requests]  # (K, m)
        wholes = [each.local.sums(own) for each, own in zip(requests, shares, strict=True)]
        large = [each.large(whole) for each, whole in zip(requests, wholes, strict=True)]
        n_rows = max(own.shape[1] for own in shares)
        some = [pad(own[which], (0, n_rows - own.shape[1])) for own, which in zip(shares, large, strict=True)]
        owner = torch.arange(len(requests)).repeat_interleave(torch.tensor([len(which) for which in large]))
        components = Parts.joined([whole[which] for whole, which in zip(wholes, large, strict=True)])
        halves, gains = _split(_together(requests), owner, torch.cat(some), components)
        found = []
        for number, (whole, which) in enumerate(zip(wholes, large, strict=True)):
            mine = owner == number
            divided, gain = halves[mine].flattened(2), gains[mine].flatten()
            found.append(Divided(whole, which.repeat_interleave(gains.shape[1]), divided, gain))
        return found

    def shares(self) -> Tensor:
        """Return the shares of the rows that the components of the run have, (K, m)."""
        joint = self.batch.kernel.joint(self.runs.parameters)
        soft(joint)
        return joint[0]

    def large(self, whole: Parts) -> Tensor:
        """Return which components (K,) have rows enough to be split."""
        least = LARGE * (whole.first.shape[-1] + 1)
        return (whole.mass * self.rows_per_weight >= least).nonzero().flatten()


def _together(requests: Sequence[Splits]) -> Local:
    """Return the rows of several requests: those that all have, or those of each."""
    first = requests[0].local
    kernels = [each.local.kernel for each in requests if isinstance(each.local.kernel, Batched)]
    if all(kernel.rows is first.kernel.rows for kernel in kernels):
        return first
    return Local.of(side_by_side(kernels), first.update)


def _split(local: Local, owner: Tensor, mine: Tensor, whole: Parts) -> tuple[Parts, Tensor]:
    """Return the halves (k, W, 2) of components (k,), split in W ways, and what the splits gain, (k, W).

    They have shares (k, m) of rows, whose they are owner (k,) says.
    """
    n_ways, n_features = (3 if whole.first.shape[1] > 1 else 2), whole.first.shape[1]
    size = n_ways * mine.shape[1] * (n_features + whole.second.shape[1] + 8)
    found = [
        _split_some(local.of_some(owner[some]), mine[some], whole[some]) for some in parts(len(mine), size, mine.device)
    ]
    if not found:
        nothing = mine.new_zeros(0, n_ways, 2)
        return Parts(nothing, nothing[..., None], nothing[..., None]), nothing[..., 0]
    halves, gains = zip(*found, strict=True)
    return Parts.joined(halves), torch.cat(gains)


def _split_some(local: Local, mine: Tensor, whole: Parts) -> tuple[Parts, Tensor]:
    """Return the halves (k, W, 2) of components (k,) that have shares (k, m) of rows, and what they gain, (k, W)."""
    own = local.mixtures(whole.apart())  # (k, 1, ...)
    before, _ = soft(local.kernel.joint(own))  # (k, m)
    sides = _sides(local, mine, own)  # (k, W, m)
    again = torch.arange(len(mine)).repeat_interleave(sides.shape[1])  # (C,), C = k W
    local, mine, before = local.of_some(again), mine[again], before[again]
    joint = torch.stack([mine * sides.flatten(0, 1), mine * ~sides.flatten(0, 1)], 1)  # (C, 2, m)
    likelihood = before
    for _ in range(STEPS):
        joint = local.kernel.joint(local.mixtures(local.sums(joint)))
        likelihood, _ = soft(joint)
        joint.mul_(mine[:, None])
    gain = local.total(mine * (likelihood - before))
    return local.sums(joint).unflattened(sides.shape[1]), gain.view(-1, sides.shape[1])


def _sides(local: Local, mine: Tensor, own: Parameters) -> Tensor:
    """Return ways to divide the rows of components (k,) in two, (k, W, m).

    By the component's longest axis, by distance, and by the axis of least kurtosis of its rows.
    """
    n_features, kernel = own.n_features, local.kernel
    values, axes = torch.linalg.eigh(own.covariances.dense[:, 0])  # (k, d), (k, d, d)
    white = (kernel.rows - own.means) @ (axes / values.clamp(min=1e-12).sqrt()[:, None, :])  # (k, m, d)
    squares = white.square().sum(-1)  # (k, m)
    ways = [white[..., -1] > 0, squares > n_features]
    if n_features > 1:
        fourth = (white * (mine * squares * kernel.weights)[..., None]).mT @ white
        ways.append((white @ torch.linalg.eigh(fourth)[1][..., :1])[..., 0] > 0)
    return torch.stack(ways, 1)
